//! Which guests stay evicted after a restoration.
//!
//! Invariant: restoring lets nobody in. A guest stays evicted if the backup or the replaced state says so, or the person who
//! restores.

use std::{collections::BTreeSet, path::Path};

use pinion_proto::{clock::Timestamp, document, id::Guest, users::LocalUsers};
use rustix::process::geteuid;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use zeroize::Zeroizing;

use super::{Entries, Entry};
use crate::caller::Caller;

/// The list, in both areas. The local one is the later one wherever it is there.
pub(super) const PATHS: [&str; 2] = ["local/evictions.json", "shared/evictions.json"];

/// The form of the list.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Document {
    version: u32,
    data: List,
}

/// As `reconcile/evictions` writes it; what belongs to an eviction is kept as it is.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
struct List {
    guests: Vec<Eviction>,
    #[serde(default)]
    rekey: BTreeSet<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Eviction {
    guest: Guest,
    #[serde(flatten)]
    more: serde_json::Map<String, Value>,
}

/// Adds to the list in `entries` the guests of `present`, the list of before, and those in `named`. Returns all that stay
/// evicted; the error says in words why the lists cannot be read.
pub(super) fn keep(
    entries: &mut Entries,
    present: Option<&[u8]>,
    named: &[Guest],
    root: &Path,
    now: Timestamp,
) -> Result<Vec<Guest>, String> {
    let in_backup = PATHS.iter().find_map(|path| Some((*path, entries.get(*path)?)));
    let mut list = match in_backup {
        Some((path, entry)) => read(&entry.content).map_err(|why| format!("{path} in the backup: {why}"))?,
        None => List::default(),
    };
    let before = present.map(read).transpose();
    let before = before.map_err(|why| format!("the list of evicted guests that is there now: {why}"))?;
    let before = before.unwrap_or_default();
    let user = geteuid().as_raw();
    let name = LocalUsers::read(root).ok().and_then(|users| users.name(user).map(ToOwned::to_owned));
    let by = Caller { uid: user, name };
    let named = named.iter().map(|guest| evict(*guest, &by, now));
    for eviction in before.guests.into_iter().chain(named) {
        if list.guests.iter().all(|known| known.guest != eviction.guest) {
            list.guests.push(eviction);
        }
    }
    list.rekey.extend(before.rekey);
    let mut evicted: Vec<_> = list.guests.iter().map(|eviction| eviction.guest).collect();
    evicted.sort_unstable();
    if in_backup.is_some() || !evicted.is_empty() {
        let text = serde_json::to_vec(&Document { version: VERSION, data: list }).map_err(|error| error.to_string())?;
        entries.insert(PATHS[0].into(), Entry { mode: 0o600, content: Zeroizing::new(text) });
    }
    Ok(evicted)
}

fn read(text: &[u8]) -> Result<List, String> {
    document::parse(text, VERSION).map(|Document { data, .. }| data).map_err(|error| error.to_string())
}

fn evict(guest: Guest, by: &Caller, now: Timestamp) -> Eviction {
    let more = serde_json::json!({ "since": now, "by": by, "compromised": false });
    let Value::Object(more) = more else { return Eviction { guest, more: serde_json::Map::new() } };
    Eviction { guest, more }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

    fn list(guests: &[&str]) -> Vec<u8> {
        let guests: Vec<_> = guests
            .iter()
            .map(|guest| evict(guest.parse().expect("a guest"), &Caller { uid: 0, name: None }, NOW))
            .collect();
        serde_json::to_vec(&Document { version: VERSION, data: List { guests, rekey: BTreeSet::new() } }).expect("text")
    }

    #[test]
    fn whoever_is_evicted_anywhere_stays_so() {
        let named: Vec<Guest> = vec!["104".parse().expect("a guest")];
        for (what, backup, present, named, expected) in [
            ("nobody", None, None, &[][..], &[][..]),
            ("in the backup", Some((PATHS[0], &["101"][..])), None, &[], &["101"]),
            ("in its copy alone", Some((PATHS[1], &["101"])), None, &[], &["101"]),
            ("since the backup", None, Some(&["102"][..]), &[], &["102"]),
            ("in both", Some((PATHS[0], &["101"])), Some(&["101", "102"]), &[], &["101", "102"]),
            ("named", Some((PATHS[0], &["101"])), Some(&["102"]), &named, &["101", "102", "104"]),
        ] {
            let mut entries = Entries::new();
            if let Some((path, guests)) = backup {
                entries.insert(path.into(), Entry { mode: 0o600, content: Zeroizing::new(list(guests)) });
            }
            let present = present.map(list);
            let kept = keep(&mut entries, present.as_deref(), named, Path::new("/"), NOW).expect(what);
            assert_eq!(kept.iter().map(ToString::to_string).collect::<Vec<_>>(), expected, "{what}");
            let written = entries.get(PATHS[0]).map(|entry| read(&entry.content).expect(what).guests.len());
            assert_eq!(written, (!expected.is_empty()).then_some(expected.len()), "{what}");
        }
        let damaged = keep(&mut Entries::new(), Some(b"{"), &[], Path::new("/"), NOW).expect_err("damaged");
        assert!(damaged.contains("that is there now"), "{damaged}");
    }
}
