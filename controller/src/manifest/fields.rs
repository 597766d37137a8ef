//! The fields of an object: each known, each once.

use jsonc_parser::{
    ast::{Object, ObjectProp, Value},
    common::Ranged,
};
use pinion_proto::id::shown;

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
                node.findings.add(at, &path, unknown(name, known));
            } else if let Some(first) = object.properties.iter().take(index).find(|f| f.name.as_str() == name) {
                let line = node.findings.line(first.start());
                node.findings.add(at, &path, format_args!("the field appears already on line {line}: keep one"));
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

    /// The line of a byte.
    pub(super) fn line(&self, at: usize) -> usize {
        self.findings.line(at)
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

/// The message about a field that does not exist, with the one that was probably meant.
pub(crate) fn unknown(name: &str, known: &[&str]) -> String {
    // A third of the letters may be wrong; more is another word.
    let near = |candidate: &&&str| distance(name, candidate) <= (candidate.len() / 3).max(1);
    match known.iter().filter(near).min_by_key(|candidate| distance(name, candidate)) {
        Some(near) => format!("there is no field `{}` here; did you mean `{near}`?", shown(name)),
        None => format!("there is no field `{}` here; use {}", shown(name), known.join(", ")),
    }
}

/// The edit distance with neighbours swapped counted as one (optimal string alignment), letters without
/// case, `-` and `_` alike; texts far longer than a field's name are simply far.
fn distance(left: &str, right: &str) -> usize {
    let fold = |text: &str| -> Vec<char> {
        text.chars().take(64).map(|c| if c == '-' { '_' } else { c.to_ascii_lowercase() }).collect()
    };
    let (left, right) = (fold(left), fold(right));
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in right.iter().enumerate() {
            let cell = |row: &[usize], at: usize| row.get(at).copied().unwrap_or(usize::MAX - 1);
            let mut best = (cell(&above, j) + usize::from(a != b)).min(cell(&above, j + 1) + 1).min(cell(&row, j) + 1);
            let swapped = i > 0 && j > 0 && left.get(i - 1) == Some(b) && right.get(j - 1) == Some(a);
            if swapped {
                best = best.min(cell(&before, j - 1) + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
    }
    above.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_is_recognised() {
        let known = ["common_name", "sans", "placements", "recipe"];
        for (written, meant) in [
            ("commonName", "common_name"),
            ("common-name", "common_name"),
            ("sasn", "sans"),
            ("placement", "placements"),
            ("Recipe", "recipe"),
        ] {
            assert!(unknown(written, &known).ends_with(&format!("did you mean `{meant}`?")), "{written}");
        }
        assert!(unknown("post_renewal_command", &known).ends_with("use common_name, sans, placements, recipe"));
    }
}
