//! The manifest's documents, joined so that they are read as one.
//!
//! Answers: in which file, line and column is this byte?
//! Invariant: a byte offset is that of the joined text, so that what reads a value need not know in which file it is.

use std::path::{Path, PathBuf};

use jsonc_parser::{
    ast::{Object, Value},
    common::Ranged,
};
use pinion_proto::text_position::line_and_column;

use super::{
    document::{self, MAX_BYTES},
    errors::ManifestErrors,
};

/// One whole document of the manifest.
#[derive(Debug, Clone, Copy)]
pub struct Document<'d> {
    /// The file that it is from; none if there is only one, which messages need not name.
    pub file: Option<&'d Path>,
    /// What the file contains.
    pub bytes: &'d [u8],
}

/// Documents as the elements of one JSON list.
#[derive(Debug)]
pub(super) struct Joined<'d> {
    text: String,
    /// The file of each element and the offset of its first byte, in their order.
    starts: Vec<(usize, Option<&'d Path>)>,
}

impl<'d> Joined<'d> {
    /// Joins the documents that are JSON; and what is wrong with each of the others.
    pub(super) fn of(documents: &[Document<'d>]) -> (Self, Vec<ManifestErrors>) {
        let (mut joined, mut broken, mut bytes) = (Self { text: "[".into(), starts: Vec::new() }, Vec::new(), 0);
        for Document { file, bytes: content } in documents {
            bytes += content.len();
            let is_one_too_much = bytes > MAX_BYTES && content.len() <= MAX_BYTES;
            let strict = match is_one_too_much {
                true => Err(document::too_large(bytes)),
                false => document::text(content).and_then(|text| document::strict(text).map(|()| text)),
            };
            match strict {
                Ok(text) => {
                    if !joined.starts.is_empty() {
                        joined.text.push(',');
                    }
                    joined.starts.push((joined.text.len(), *file));
                    joined.text.push_str(text);
                }
                Err(errors) => broken.push(errors.in_file(*file)),
            }
            if bytes > MAX_BYTES {
                break;
            }
        }
        joined.text.push(']');
        (joined, broken)
    }

    /// The list's syntax tree.
    ///
    /// # Errors
    /// Not strict JSON, which each document is.
    pub(super) fn tree(&self) -> Result<Value<'_>, ManifestErrors> {
        document::tree(&self.text)
    }

    /// Where its bytes are.
    pub(super) fn positions(&self) -> Positions<'_> {
        Positions { text: &self.text, starts: &self.starts }
    }
}

/// Where the bytes of a text are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Positions<'t> {
    text: &'t str,
    starts: &'t [(usize, Option<&'t Path>)],
}

impl<'t> Positions<'t> {
    /// Of a text that is a document of its own.
    pub(super) fn of_one(text: &'t str) -> Self {
        Self { text, starts: &[] }
    }

    /// The file of a byte, its line and its column.
    pub(super) fn of(self, at: usize) -> (Option<&'t Path>, usize, usize) {
        let (start, file) = self.document(at);
        let (line, column) = line_and_column(self.text.get(start..).unwrap_or_default(), at.saturating_sub(start));
        (file, line, column)
    }

    /// The line of a byte, for a message about the byte `from`: with its file if that is another one.
    pub(super) fn line_from(self, at: usize, from: usize) -> String {
        let (file, line, _) = self.of(at);
        match file {
            Some(file) if self.document(from).1 != Some(file) => format!("line {line} of {}", file.display()),
            _ => format!("line {line}"),
        }
    }

    /// Where the document of a byte begins, and its file.
    fn document(self, at: usize) -> (usize, Option<&'t Path>) {
        let after = self.starts.partition_point(|(start, _)| *start <= at);
        after.checked_sub(1).and_then(|index| self.starts.get(index)).copied().unwrap_or((0, None))
    }
}

/// A file of the manifest with what it contains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileText {
    pub(super) path: PathBuf,
    pub(super) bytes: Vec<u8>,
}

impl FileText {
    pub(super) fn document(&self) -> Document<'_> {
        Document { file: Some(&self.path), bytes: &self.bytes }
    }
}

/// The text of one document that means what these mean together; they are good.
///
/// # Errors
/// One of them is not JSON.
pub(super) fn as_one(documents: &[Document<'_>]) -> Result<String, ManifestErrors> {
    if let [only] = documents {
        return document::text(only.bytes).map(ToOwned::to_owned);
    }
    let (joined, broken) = Joined::of(documents);
    if let Some(errors) = broken.into_iter().next() {
        return Err(errors);
    }
    let tree = joined.tree()?;
    let objects = || tree.as_array().into_iter().flat_map(|list| &list.elements).filter_map(Value::as_object);
    let all = |field| objects().filter_map(|object| inside(&joined.text, object, field)).collect::<Vec<_>>();
    let (defaults, certificates) = (all("defaults").join(","), all("certificates").join(",\n"));
    Ok(format!(
        "{{\"version\": {}, \"defaults\": {{{defaults}}}, \"certificates\": [\n{certificates}\n]}}\n",
        document::VERSION
    ))
}

/// What is between the brackets of a field's value, if anything is.
fn inside<'t>(text: &'t str, object: &Object<'_>, field: &str) -> Option<&'t str> {
    let range = object.get(field)?.value.range();
    let inner = text.get(range.start.saturating_add(1)..range.end.saturating_sub(1))?.trim();
    Some(inner).filter(|inner| !inner.is_empty())
}
