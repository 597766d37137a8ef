//! A TOML file of settings, with everything that is wrong with it at once.
//!
//! Answers: what does the file say, and what exactly is wrong where?
//! Invariant: reading goes on after a mistake, so that one mistake hides no other and one look finds all of them. Which
//! settings there are is not known here: a program reads them field by field ([`read`]), or as one type whose own reader is the
//! judge ([`read_whole`]).

mod fields;
mod mistake;
mod setting;
mod whole;

use toml::{Spanned, de::DeTable};

pub use fields::Fields;
use mistake::Findings;
pub use mistake::Mistake;
pub use setting::{Otherwise, Setting, Table, setting};
pub use whole::{Whole, read_whole};

/// Reads a text by `read`, which is given the fields at its top and goes on after what it complained about.
///
/// # Errors
/// Everything that is wrong, in the order of the text: with the text as TOML, and what `read` complained about.
pub fn read<T>(text: &str, read: impl FnOnce(&Fields<'_>) -> T) -> Result<T, Vec<Mistake>> {
    let (table, broken) = parse(text);
    let is_broken = !broken.is_empty();
    let findings = Findings::of(broken);
    // What could be read of a file that is no TOML is looked at too: its other mistakes are reported at once.
    let value = read(&Fields::top(table.get_ref(), &findings, is_broken));
    let found = findings.in_order();
    if found.is_empty() { Ok(value) } else { Err(found) }
}

/// The text as TOML, as far as it is that.
fn parse(text: &str) -> (Spanned<DeTable<'_>>, Vec<Mistake>) {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mistake = |error: &toml::de::Error| Mistake::new(error.span().map_or(0, |span| span.start), error.message());
    let mistakes = errors.iter().map(mistake).collect();
    (table, mistakes)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Document {
        port: Option<u16>,
        names: Vec<String>,
        retry: Retry,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Retry {
        max: Option<u8>,
        on: Option<bool>,
    }

    fn field_by_field(top: &Fields<'_>) -> Document {
        top.known(&["port", "names", "retry"]);
        let retry = top.table("retry").map(|retry| {
            retry.known(&["max", "on"]);
            Retry { max: retry.optional("max"), on: retry.optional("on") }
        });
        Document {
            port: top.optional("port"),
            names: top.optional("names").unwrap_or_default(),
            retry: retry.unwrap_or_default(),
        }
    }

    #[test]
    fn both_ways_find_every_mistake_at_its_place_and_understand_the_rest() {
        let places = |text: &str, mistakes: &[Mistake]| -> Vec<_> {
            let mut places: Vec<_> = mistakes.iter().map(|mistake| mistake.place(text)).collect();
            places.sort_unstable();
            places
        };
        for (text, expected) in [
            ("port = 1\nnames = [\"a\"]\n[retry]\non = true\n", vec![]),
            ("port = 70000\nname = \"a\"\n", vec![(1, 8), (2, 1)]),
            ("names = [\"a\", 3]\n[retry]\nmax = -1\non = 1\n", vec![(1, 15), (3, 7), (4, 6)]),
            ("\"ü\" = 1\nnames = [\"ü\", 3]\n", vec![(1, 1), (2, 15)]),
            ("port = 1\nport = 2\n", vec![(2, 1)]),
        ] {
            let whole = read_whole::<Document>(text);
            assert_eq!(places(text, &whole.mistakes), expected, "{text}: {:?}", whole.mistakes);
            let fields = read(text, field_by_field);
            match fields {
                Ok(document) => assert_eq!((document, expected.len()), (whole.document, 0), "{text}"),
                Err(mistakes) => {
                    assert_eq!(places(text, &mistakes), expected, "{text}: {mistakes:?}");
                    assert!(mistakes.is_sorted_by_key(|mistake| mistake.at), "{mistakes:?}");
                }
            }
        }
        let partly = read_whole::<Document>("port = 7\nnames = 3\n[retry]\nmax = 5\nmaxx = 6\n");
        let expected = Document { port: Some(7), retry: Retry { max: Some(5), on: None }, ..Document::default() };
        assert_eq!((partly.document, partly.mistakes.len()), (expected, 2), "{:?}", partly.mistakes);
    }
}
