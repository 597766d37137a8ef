//! The fields of an object: each known, each once.

use jsonc_parser::{
    ast::{Object, ObjectProp, Value},
    common::Ranged,
};
use pinion_proto::field_names;

use super::node::{Findings, Node, Path};

/// An object whose unknown and repeated fields have been complained about.
pub(super) struct Fields<'n> {
    object: &'n Object<'n>,
    path: &'n Path<'n>,
    findings: &'n Findings<'n>,
}

impl<'n> Fields<'n> {
    /// The fields of `node`, which may have those of `known` and no others.
    pub(super) fn of(node: Node<'n>, what: &str, known: &[&str]) -> Option<Self> {
        let Value::Object(object) = node.value else { return node.expected(what) };
        for (index, field) in object.properties.iter().enumerate() {
            let name = field.name.as_str();
            let path = Path::Field(node.path, name);
            let at = field.start();
            if node.findings.full() {
                break;
            }
            if !known.contains(&name) {
                node.findings.add(at, &path, field_names::unknown(name, known));
            } else if let Some(first) = object.properties.iter().take(index).find(|f| f.name.as_str() == name) {
                let line = node.findings.line(first.start(), at);
                node.findings.add(at, &path, format_args!("the field appears already on {line}: keep one"));
            }
        }
        Some(Self { object, path: node.path, findings: node.findings })
    }

    /// Whether a field is there.
    pub(super) fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// Whether there are fields and none of `known`, which has been complained about.
    pub(super) fn has_only_unknown(&self, known: &[&str]) -> bool {
        !self.object.properties.is_empty() && !known.iter().any(|name| self.has(name))
    }

    /// Whether a field is exactly this text.
    pub(super) fn text_is(&self, name: &str, text: &str) -> bool {
        let value = self.find(name).and_then(|field| field.value.as_string_lit());
        value.is_some_and(|literal| literal.value == text)
    }

    /// The byte offset of a field's value, or else of the object.
    pub(super) fn at(&self, name: &str) -> usize {
        self.find(name).map_or(self.object.start(), |field| field.value.start())
    }

    /// Notes a problem with the object as a whole.
    pub(super) fn problem(&self, message: impl std::fmt::Display) {
        self.findings.add(self.object.start(), self.path, message);
    }

    /// Notes a problem with a field's value.
    pub(super) fn problem_with(&self, name: &str, message: impl std::fmt::Display) {
        self.findings.add(self.at(name), &Path::Field(self.path, name), message);
    }

    /// Notes a problem with the path of a part of `files`.
    pub(super) fn problem_with_part(&self, part: &str, message: impl std::fmt::Display) {
        let found = self.optional("files", |files| {
            let parts = Fields::of_known(files)?;
            parts.optional(part, |file| {
                let file = Fields::of_known(file)?;
                file.problem_with("path", &message);
                Some(())
            })
        });
        if !matches!(found, Some(Some(Some(())))) {
            self.problem_with("files", &message);
        }
    }

    /// The line of a byte, for a message about the byte `from`.
    pub(super) fn line(&self, at: usize, from: usize) -> String {
        self.findings.line(at, from)
    }

    /// The fields of an object that has been looked at already.
    fn of_known(node: Node<'n>) -> Option<Self> {
        let Value::Object(object) = node.value else { return None };
        Some(Self { object, path: node.path, findings: node.findings })
    }

    /// A field that may be absent: whether what is there could be read, and what was.
    pub(super) fn optional<T>(&self, name: &str, read: impl FnOnce(Node<'_>) -> Option<T>) -> Option<Option<T>> {
        let Some(field) = self.find(name) else { return Some(None) };
        let path = Path::Field(self.path, name);
        read(Node { value: &field.value, path: &path, findings: self.findings }).map(Some)
    }

    /// A field that may be absent and has a default then.
    pub(super) fn or<T>(&self, name: &str, default: T, read: impl FnOnce(Node<'_>) -> Option<T>) -> Option<T> {
        self.optional(name, read).map(|value| value.unwrap_or(default))
    }

    /// A field that must be there.
    pub(super) fn required<T>(&self, name: &str, read: impl FnOnce(Node<'_>) -> Option<T>) -> Option<T> {
        if !self.has(name) {
            self.problem(format_args!("the field \"{name}\" is missing"));
        }
        self.optional(name, read)?
    }

    fn find(&self, name: &str) -> Option<&'n ObjectProp<'n>> {
        self.object.properties.iter().find(|field| field.name.as_str() == name)
    }
}
