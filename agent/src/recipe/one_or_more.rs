//! A field of a recipe that has one value or a list of them.
//!
//! Invariant: a list has one value at least; a mistake in a value is told at that value's place.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{
        Error, IntoDeserializer, MapAccess, SeqAccess, Visitor,
        value::{MapAccessDeserializer, StrDeserializer},
    },
};

/// Reads the field.
pub(super) fn read<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    deserializer.deserialize_any(OneOrMore(PhantomData))
}

struct OneOrMore<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for OneOrMore<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value or a list of values")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Vec<T>, E> {
        let text: StrDeserializer<'_, E> = text.into_deserializer();
        T::deserialize(text).map(|one| vec![one])
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Vec<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(|one| vec![one])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
        let mut all = Vec::new();
        while let Some(one) = list.next_element()? {
            all.push(one);
        }
        if all.is_empty() { Err(A::Error::custom("the list is empty")) } else { Ok(all) }
    }
}

#[cfg(test)]
mod tests {
    use pinion_proto::spec::Reload;

    #[derive(Debug, serde::Deserialize)]
    struct Document {
        #[serde(default, deserialize_with = "super::read")]
        reload: Vec<Reload>,
    }

    #[test]
    fn one_value_and_a_list_are_read_alike() {
        for (text, count) in [
            ("", 0),
            ("reload = \"nothing\"", 1),
            ("reload = { reload = \"a.service\" }", 1),
            ("reload = [{ reload = \"a.service\" }, { restart = \"b.service\" }]", 2),
        ] {
            let document: Document = toml::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(document.reload.len(), count, "{text}");
        }
        for text in ["reload = []", "reload = 3", "reload = [\"never\"]", "reload = { reload = \"b\" }"] {
            assert!(toml::from_str::<Document>(text).is_err(), "{text}");
        }
        let error = toml::from_str::<Document>("reload = [{ reload = \"a.service\" }, { reload = \"b\" }]");
        let span = error.expect_err("no unit").span().expect("it has a place");
        assert!(span.start > 30, "{span:?}");
    }
}
