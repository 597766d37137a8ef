//! A text that is read as one type.
//!
//! Answers: which values are not understood, and what does the document say without them?
//! Invariant: the reader of the type is the judge; what it refuses is taken out and the rest is read again, so that
//! one mistake hides no other, and no second grammar can disagree with the first.

use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue, Deserializer};

use super::{mistake::Mistake, parse};

/// A document has a few dozen values; where so many are wrong, the first ones are enough.
const MAX_MISTAKES: usize = 100;

/// A document as far as it is understood.
#[derive(Debug)]
pub struct Whole<'t, T> {
    /// What it says without its mistakes.
    pub document: T,
    /// The table, for the places of its values; none where the text is no TOML at all.
    pub table: Option<toml::Spanned<DeTable<'t>>>,
    /// What is wrong.
    pub mistakes: Vec<Mistake>,
}

/// Reads a text as one type, and what is wrong with it. Nothing is understood of a text that is no TOML.
#[must_use]
pub fn read_whole<T: DeserializeOwned + Default>(text: &str) -> Whole<'_, T> {
    let (table, broken) = parse(text);
    if !broken.is_empty() {
        return Whole { document: T::default(), table: None, mistakes: broken };
    }
    let mut mistakes = Vec::new();
    let document = understood(table.clone(), &mut mistakes);
    Whole { document, table: Some(table), mistakes }
}

/// The document without what cannot be understood.
fn understood<T: DeserializeOwned + Default>(mut table: toml::Spanned<DeTable<'_>>, mistakes: &mut Vec<Mistake>) -> T {
    let mut removed: Vec<String> = Vec::new();
    for _ in 0..MAX_MISTAKES {
        let error = match T::deserialize(Deserializer::from(table.clone())) {
            Ok(document) => return document,
            Err(error) => error,
        };
        let span = error.span().unwrap_or_default();
        // What was taken out because it was wrong is not missing as well.
        let echo = removed.iter().any(|name| error.message().contains(&format!("missing field `{name}`")));
        if !echo {
            mistakes.push(Mistake::new(span.start, error.message()));
        }
        match take_out(table.get_mut(), &span) {
            Some(name) => removed.push(name),
            None => break,
        }
    }
    T::default()
}

/// Takes the innermost field that the span is about out of the table; its name.
fn take_out(table: &mut DeTable<'_>, span: &Range<usize>) -> Option<String> {
    let about = |range: Range<usize>| range.start <= span.start && span.end <= range.end;
    let name = table.iter().find(|(key, value)| about(key.span()) || about(value.span())).map(|(key, _)| key.clone());
    let name = name.or_else(|| {
        // A table under several headers has the span of one of them; what is inside is found by looking inside.
        let inside = |value: &DeValue<'_>| value.as_table().is_some_and(|inner| reaches(inner, span));
        table.iter().find(|(_, value)| inside(value.get_ref())).map(|(key, _)| key.clone())
    })?;
    if !about(name.span())
        && let Some(DeValue::Table(inner)) = table.get_mut(name.get_ref().as_ref()).map(toml::Spanned::get_mut)
        && let Some(taken) = take_out(inner, span)
    {
        // A table with nothing left in it would be wrong for that alone.
        if inner.is_empty() {
            table.remove(name.get_ref().as_ref());
        }
        return Some(taken);
    }
    table.remove(name.get_ref().as_ref()).map(|_| name.get_ref().to_string())
}

/// Whether the span is about something in the table.
fn reaches(table: &DeTable<'_>, span: &Range<usize>) -> bool {
    let about = |range: Range<usize>| range.start <= span.start && span.end <= range.end;
    table.iter().any(|(key, value)| {
        about(key.span()) || about(value.span()) || value.get_ref().as_table().is_some_and(|inner| reaches(inner, span))
    })
}
