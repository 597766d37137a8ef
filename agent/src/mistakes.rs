//! Everything that is wrong with a TOML document at once, each with its place: agent.toml and recipes.
//!
//! Answers: which values are not understood, and what does the document say without them?
//! Invariant: the reader of the document is the judge; what it refuses is taken out and the rest is read again, so that
//! one mistake hides no other, and no second grammar can disagree with the first.

use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue, Deserializer};

/// A document has a few dozen values; where so many are wrong, the first ones are enough.
const MAX_MISTAKES: usize = 100;

/// One thing that is wrong: which bytes of the text it is about, and what the reader says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mistake {
    /// None when it is about the whole text.
    pub(crate) at: Option<Range<usize>>,
    /// In the reader's words, on one line.
    pub(crate) why: String,
}

impl Mistake {
    pub(crate) fn new(at: Option<Range<usize>>, why: &str) -> Self {
        Self { at, why: why.trim().replace('\n', ", ") }
    }
}

/// A document as far as it is understood.
#[derive(Debug)]
pub(crate) struct Understood<'t, T> {
    /// What it says without its mistakes.
    pub(crate) document: T,
    /// The table, for the places of its values; none where the text is no TOML at all.
    pub(crate) table: Option<toml::Spanned<DeTable<'t>>>,
    /// What is wrong.
    pub(crate) mistakes: Vec<Mistake>,
}

/// Reads a document, and what is wrong with it.
pub(crate) fn read<T: DeserializeOwned + Default>(text: &str) -> Understood<'_, T> {
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let mistakes = errors.iter().map(|error| Mistake::new(error.span(), error.message())).collect();
        return Understood { document: T::default(), table: None, mistakes };
    }
    let mut mistakes = Vec::new();
    let document = understood(table.clone(), &mut mistakes);
    Understood { document, table: Some(table), mistakes }
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
            mistakes.push(Mistake::new(Some(span.clone()), error.message()));
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
