//! A value of the file with its place, and the collector of everything that is wrong.
//!
//! Invariant: reading goes on after a problem, so that one look at a file finds all of them; a value that
//! could not be read is `None`, and is never complained about a second time.

use std::{cell::RefCell, fmt, str::FromStr};

use jsonc_parser::{ast::Value, common::Ranged};
use pinion_proto::id::shown;

use super::{
    errors::{ManifestErrors, Problem},
    texts::Positions,
};

/// Nobody reads more, and an enormous file of mistakes must not become an enormous answer.
pub(super) const MAX_PROBLEMS: usize = 200;

/// Collects what is wrong.
pub(super) struct Findings<'t> {
    positions: Positions<'t>,
    /// Byte offset, path, message.
    found: RefCell<Vec<(usize, String, String)>>,
    omitted: std::cell::Cell<usize>,
}

impl<'t> Findings<'t> {
    pub(super) fn new(positions: Positions<'t>) -> Self {
        Self { positions, found: RefCell::default(), omitted: std::cell::Cell::new(0) }
    }

    /// Notes a problem at a byte of the file.
    pub(super) fn add(&self, at: usize, path: &Path<'_>, message: impl fmt::Display) {
        let mut found = self.found.borrow_mut();
        if found.len() < MAX_PROBLEMS {
            found.push((at, path.to_string(), message.to_string()));
        } else {
            self.omitted.set(self.omitted.get() + 1);
        }
    }

    /// Whether no more problems are kept.
    pub(super) fn full(&self) -> bool {
        self.found.borrow().len() >= MAX_PROBLEMS
    }

    /// The line of a byte, for a message about the byte `from`: `line 3`, or `line 3 of FILE`.
    pub(super) fn line(&self, at: usize, from: usize) -> String {
        // Counting lines for messages that nobody will see would make a file of mistakes slow.
        if self.full() { String::new() } else { self.positions.line_from(at, from) }
    }

    /// All problems in the order of the files, if there are any.
    pub(super) fn into_errors(self) -> Option<ManifestErrors> {
        let mut found = self.found.into_inner();
        if found.is_empty() {
            return None;
        }
        found.sort_by_key(|(at, ..)| *at);
        let problems = found.into_iter().map(|(at, path, message)| {
            let (file, line, column) = self.positions.of(at);
            Problem { file: file.map(Into::into), line, column, path, message }
        });
        Some(ManifestErrors { problems: problems.collect(), omitted: self.omitted.get() })
    }
}

/// How a value is reached from the top.
#[derive(Clone, Copy)]
pub(super) enum Path<'p> {
    /// The root of the path: the whole file.
    Root,
    /// A field of an object.
    Field(&'p Path<'p>, &'p str),
    /// An element of an array.
    Index(&'p Path<'p>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Field(Path::Root, name) => f.write_str(&shown(name)),
            Self::Field(parent, name) => write!(f, "{parent}.{}", shown(name)),
            Self::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// A value, its path, and where to complain.
#[derive(Clone, Copy)]
pub(super) struct Node<'n> {
    pub(super) value: &'n Value<'n>,
    pub(super) path: &'n Path<'n>,
    pub(super) findings: &'n Findings<'n>,
}

impl<'n> Node<'n> {
    /// Where the value starts: a byte offset.
    pub(super) fn at(self) -> usize {
        self.value.start()
    }

    /// Notes a problem with this value.
    pub(super) fn problem(self, message: impl fmt::Display) {
        self.findings.add(self.at(), self.path, message);
    }

    /// Notes that the value is of the wrong kind.
    pub(super) fn expected<T>(self, what: &str) -> Option<T> {
        self.problem(format_args!("expected {what}, found {}", kind(self.value)));
        None
    }

    /// The node as text; otherwise notes what was expected.
    pub(super) fn text(self, what: &str) -> Option<&'n str> {
        match self.value {
            Value::StringLit(text) => Some(text.value.as_ref()),
            _ => self.expected(what),
        }
    }

    /// Whether it is exactly this text.
    pub(super) fn text_is(self, text: &str) -> bool {
        matches!(self.value, Value::StringLit(literal) if literal.value == text)
    }

    /// A text that is parsed further; its parser words the problem.
    pub(super) fn parsed<T: FromStr<Err: fmt::Display>>(self, what: &str) -> Option<T> {
        self.text(what)?.parse().map_err(|error| self.problem(error)).ok()
    }

    /// The node as `true` or `false`; otherwise notes what was expected.
    pub(super) fn boolean(self) -> Option<bool> {
        match self.value {
            Value::BooleanLit(literal) => Some(literal.value),
            _ => self.expected("true or false"),
        }
    }

    /// Calls `read` with each element of an array; what was read, or none if one could not be.
    pub(super) fn each<T>(self, what: &str, mut read: impl FnMut(Node<'_>) -> Option<T>) -> Option<Vec<T>> {
        let Value::Array(array) = self.value else { return self.expected(what) };
        let mut all = Some(Vec::with_capacity(array.elements.len()));
        for (index, value) in array.elements.iter().enumerate() {
            let path = Path::Index(self.path, index);
            match (read(Node { value, path: &path, findings: self.findings }), &mut all) {
                (Some(item), Some(items)) => items.push(item),
                _ => all = None,
            }
        }
        all
    }
}

/// What a person calls a JSON value.
fn kind(value: &Value<'_>) -> &'static str {
    match value {
        Value::StringLit(_) => "text",
        Value::NumberLit(_) => "a number",
        Value::BooleanLit(_) => "true or false",
        Value::Object(_) => "an object",
        Value::Array(_) => "a list",
        Value::NullKeyword(_) => "null",
    }
}
