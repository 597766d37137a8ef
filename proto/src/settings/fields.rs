//! The fields of a table, each read by itself.

use std::fmt;

use serde::de::DeserializeOwned;
use toml::{
    Spanned,
    de::{DeString, DeTable, DeValue, ValueDeserializer},
};

use super::mistake::Findings;
use crate::{field_names, id::shown};

/// The fields of a table. What is wrong with one is noted, and is `None` to the reader.
#[derive(Debug)]
pub struct Fields<'n> {
    table: &'n DeTable<'n>,
    /// Where the table begins (bytes).
    at: usize,
    path: String,
    findings: &'n Findings,
    /// The file is no TOML as a whole: what is missing may be in what could not be read.
    partial: bool,
}

impl<'n> Fields<'n> {
    pub(super) fn top(table: &'n DeTable<'n>, findings: &'n Findings, partial: bool) -> Self {
        Self { table, at: 0, path: String::new(), findings, partial }
    }

    /// Complains of fields that are not among these.
    pub fn known(&self, known: &[&str]) {
        for (key, _) in self.table {
            let name: &str = key.get_ref();
            if !known.contains(&name) {
                self.findings.add(key.span().start, &self.path_of(name), field_names::unknown(name, known));
            }
        }
    }

    /// The names of all fields.
    pub fn names(&self) -> impl Iterator<Item = &'n str> {
        self.table.keys().map(|key| -> &str { key.get_ref() })
    }

    /// A field that may be absent.
    pub fn optional<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        let (_, value) = self.find(name)?;
        match T::deserialize(ValueDeserializer::from(value.clone())) {
            Ok(read) => Some(read),
            Err(error) => {
                let at = error.span().map_or(value.span().start, |span| span.start);
                self.findings.add(at, &self.path_of(name), error.message());
                None
            }
        }
    }

    /// A field that must be there.
    pub fn required<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        if self.find(name).is_none() && !self.partial {
            self.findings.add(self.at, &self.path, format_args!("the field \"{name}\" is missing"));
        }
        self.optional(name)
    }

    /// A table that may be absent.
    #[must_use]
    pub fn table(&self, name: &str) -> Option<Self> {
        let (key, value) = self.find(name)?;
        match value.get_ref() {
            DeValue::Table(table) => {
                let at = if value.span().is_empty() { key.span().start } else { value.span().start };
                Some(Self { table, at, path: self.path_of(name), findings: self.findings, partial: self.partial })
            }
            other => {
                let message = format!("expected a table, found {}", other.type_str());
                self.findings.add(value.span().start, &self.path_of(name), message);
                None
            }
        }
    }

    /// Notes a mistake in a field's value.
    pub fn problem(&self, name: &str, message: impl fmt::Display) {
        let at = self.find(name).map_or(self.at, |(_, value)| value.span().start);
        self.findings.add(at, &self.path_of(name), message);
    }

    /// Notes a mistake in a field's name.
    pub fn problem_with_name(&self, name: &str, message: impl fmt::Display) {
        let at = self.find(name).map_or(self.at, |(key, _)| key.span().start);
        self.findings.add(at, &self.path_of(name), message);
    }

    fn find(&self, name: &str) -> Option<(&'n Spanned<DeString<'n>>, &'n Spanned<DeValue<'n>>)> {
        self.table.iter().find(|(key, _)| key.get_ref() == name)
    }

    fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { shown(name) } else { format!("{}.{}", self.path, shown(name)) }
    }
}
