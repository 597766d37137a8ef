//! What another version of this program has written into a document, kept when this one writes it.
//!
//! Invariant: a field that this program does not know stays as it is, at any depth, when a shared document is read,
//! changed and written back; nodes of several versions share them.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::document::VERSION;

/// A document with whatever else it has.
#[derive(Serialize, Deserialize)]
pub(super) struct Anything {
    #[serde(default)]
    version: u32,
    data: Value,
    #[serde(flatten)]
    more: Map<String, Value>,
}

/// The document of `data` with what the old one has beyond its type; none when that is nothing, or when the old one is
/// not understood and there is nothing to keep.
pub(super) fn with_unknown<T: Serialize + DeserializeOwned>(old: &[u8], data: &T) -> Option<Anything> {
    let old: Anything = serde_json::from_slice(old).ok()?;
    let known: T = T::deserialize(&old.data).ok()?;
    let known = serde_json::to_value(known).ok()?;
    let mut new = serde_json::to_value(data).ok()?;
    let grafted = graft(&mut new, &old.data, &known);
    (grafted || !old.more.is_empty()).then_some(Anything { version: VERSION, data: new, more: old.more })
}

/// Adds to `new` what `old` has and `known`, which is what this program reads of it, has not.
fn graft(new: &mut Value, old: &Value, known: &Value) -> bool {
    let (Value::Object(new), Value::Object(old), Value::Object(known)) = (new, old, known) else { return false };
    let mut grafted = false;
    for (name, value) in old {
        match (known.get(name), new.get_mut(name)) {
            (None, None) => {
                new.insert(name.clone(), value.clone());
                grafted = true;
            }
            (Some(known), Some(new)) => grafted |= graft(new, value, known),
            _ => {}
        }
    }
    grafted
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    #[derive(Serialize, Deserialize, Clone)]
    struct Outer {
        count: u32,
        #[serde(default)]
        inner: Inner,
        #[serde(default)]
        map: BTreeMap<String, u32>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        maybe: Option<u32>,
    }

    #[derive(Serialize, Deserialize, Clone, Default)]
    struct Inner {
        name: String,
    }

    #[test]
    fn unknown_fields_stay_at_every_depth_and_known_ones_are_the_new_ones() {
        let old = json!({ "version": 1, "by": "pve2", "data": {
            "count": 1, "home": "pve2", "inner": { "name": "a", "os": "debian" }, "map": { "gone": 1, "stays": 2 },
            "maybe": 7,
        }});
        let text = serde_json::to_vec(&old).expect("JSON");
        let old: Outer = serde_json::from_value(old["data"].clone()).expect("understood");
        let mut new = Outer { count: 2, maybe: None, ..old };
        new.inner.name = "b".into();
        new.map.remove("gone");
        let kept = with_unknown(&text, &new).expect("something unknown");
        assert_eq!(
            serde_json::to_value(kept).expect("JSON"),
            json!({ "version": 1, "by": "pve2", "data": {
                "count": 2, "home": "pve2", "inner": { "name": "b", "os": "debian" }, "map": { "stays": 2 },
            }})
        );
    }

    #[test]
    fn where_nothing_is_unknown_nothing_is_kept() {
        let new = Outer { count: 1, inner: Inner::default(), map: BTreeMap::new(), maybe: None };
        for old in [&br#"{"version":1,"data":{"count":1}}"#[..], b"", b"{", b"[]", br#"{"data":{"count":"x","y":1}}"#] {
            assert!(with_unknown(old, &new).is_none(), "{}", String::from_utf8_lossy(old));
        }
    }
}
