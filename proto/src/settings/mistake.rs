//! One thing that is wrong with a text, and the collector of such.

use std::{cell::RefCell, fmt};

use crate::text_position::line_and_column;

/// One thing that is wrong with a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Where, in bytes from the text's begin.
    pub at: usize,
    /// Which value, for example `retry.max`; empty where the place says it.
    pub path: String,
    /// What is wrong there, in the words of whoever found it.
    pub why: String,
}

impl Mistake {
    /// A mistake that is known by its place alone.
    pub fn new(at: usize, why: impl fmt::Display) -> Self {
        Self { at, path: String::new(), why: why.to_string() }
    }

    /// Its line and column in the text, both from 1.
    #[must_use]
    pub fn place(&self, text: &str) -> (usize, usize) {
        line_and_column(text, self.at)
    }
}

/// Collects what is wrong.
#[derive(Debug)]
pub(super) struct Findings(RefCell<Vec<Mistake>>);

impl Findings {
    /// Begins with these.
    pub(super) fn of(mistakes: Vec<Mistake>) -> Self {
        Self(RefCell::new(mistakes))
    }

    pub(super) fn add(&self, at: usize, path: &str, why: impl fmt::Display) {
        self.0.borrow_mut().push(Mistake { path: path.to_owned(), ..Mistake::new(at, why) });
    }

    /// All of them once, in the order of the text.
    pub(super) fn in_order(self) -> Vec<Mistake> {
        let mut found = self.0.into_inner();
        found.sort_by_key(|mistake| mistake.at);
        found.dedup();
        found
    }
}
