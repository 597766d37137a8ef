//! Bytes to a JSON syntax tree that knows where everything stands.
//!
//! Invariant: what passes here is strict JSON (RFC 8259) in UTF-8, of bounded size and depth. Two parsers
//! look at it: `serde_json` is the strict judge and words the syntax errors, `jsonc-parser` keeps the places.

use jsonc_parser::{CollectOptions, ParseOptions, ast::Value};
use pinion_proto::text_position::line_and_column;
use serde::de::IgnoredAny;

use super::errors::ManifestErrors;

/// The version of the manifest's format that is read here.
pub const VERSION: u32 = 1;

/// A manifest of 100,000 placements with every field is smaller (bytes).
pub(super) const MAX_BYTES: usize = 16 * 1024 * 1024;

/// The format itself is eight levels deep; the rest is room for mistakes that are worth an exact message.
const MAX_DEPTH: usize = 32;

/// Checks what can be checked without a parser, and gives the text.
///
/// # Errors
/// Too large, empty, a byte order mark, not UTF-8, nested too deeply.
pub(super) fn text(bytes: &[u8]) -> Result<&str, ManifestErrors> {
    if bytes.len() > MAX_BYTES {
        return Err(too_large(bytes.len()));
    }
    if bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF]) {
        return Err(ManifestErrors::whole(1, 1, "the manifest is in UTF-16: save it as UTF-8"));
    }
    if bytes.starts_with(&[0xEF, 0xBB, 0xBF]) {
        let message = "the manifest starts with a byte order mark: save it as UTF-8 without BOM";
        return Err(ManifestErrors::whole(1, 1, message));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let good = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let (line, column) = line_and_column(&String::from_utf8_lossy(good), good.len());
        ManifestErrors::whole(line, column, "a byte here is not UTF-8: save the manifest as UTF-8")
    })?;
    if text.trim_start().is_empty() {
        return Err(ManifestErrors::whole(
            1,
            1,
            "the manifest is empty: the smallest manifest is {\"version\": 1, \"certificates\": []}",
        ));
    }
    too_deep(text)?;
    Ok(text)
}

/// What is said of a manifest of so many bytes.
pub(super) fn too_large(bytes: usize) -> ManifestErrors {
    let message = format!(
        "the manifest has {bytes} bytes, more than the {MAX_BYTES} that Pinion reads: put the right file there"
    );
    ManifestErrors::whole(1, 1, message)
}

/// Whether a text that [`text`] has passed is strict JSON.
///
/// # Errors
/// It is not.
pub(super) fn strict(text: &str) -> Result<(), ManifestErrors> {
    serde_json::from_str::<IgnoredAny>(text).map(drop).map_err(|error| syntax(&error, text))
}

/// The syntax tree of a text that is [`strict`].
///
/// # Errors
/// Not JSON.
pub(super) fn tree(text: &str) -> Result<Value<'_>, ManifestErrors> {
    let options = ParseOptions {
        allow_comments: false,
        allow_loose_object_property_names: false,
        allow_trailing_commas: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    };
    match jsonc_parser::parse_to_ast(text, &CollectOptions::default(), &options) {
        Ok(jsonc_parser::ParseResult { value: Some(value), .. }) => Ok(value),
        Ok(_) => Err(ManifestErrors::whole(1, 1, "the manifest is empty")),
        Err(error) => Err(ManifestErrors::whole(
            error.line_display(),
            error.column_display(),
            format!("not JSON: {}", error.kind().to_string().to_lowercase()),
        )),
    }
}

fn syntax(error: &serde_json::Error, text: &str) -> ManifestErrors {
    let whole = error.to_string();
    // serde_json appends the place, which stands at the front here.
    let message = whole.rsplit_once(" at line ").map_or(whole.as_str(), |(message, _)| message);
    let at = if error.is_eof() { text.len() } else { byte_of(text, error.line(), error.column()) };
    let (line, column) = line_and_column(text, at);
    let closes_object = text.as_bytes().get(at) == Some(&b'}');
    let message = if error.is_eof() {
        format!("the manifest ends too early ({message}): save the file again, or restore it from a backup")
    } else if message.starts_with("trailing comma") || (closes_object && message.starts_with("key must")) {
        "not JSON: remove the comma before this bracket".to_owned()
    } else if message.starts_with("key must be a string") {
        "not JSON: expected the name of a field in double quotes (comments are not allowed)".to_owned()
    } else {
        format!("not JSON: {message}")
    };
    ManifestErrors::whole(line, column, message)
}

/// The offset of a line and column of serde_json's, which counts bytes, from 1.
fn byte_of(text: &str, line: usize, column: usize) -> usize {
    let before: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    (before + column.saturating_sub(1)).min(text.len())
}

/// Parsers recurse; this does not.
fn too_deep(text: &str) -> Result<(), ManifestErrors> {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for (at, byte) in text.bytes().enumerate() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            let (line, column) = line_and_column(text, at);
            let message = format!("brackets are nested more than {MAX_DEPTH} deep here: a manifest needs fewer");
            return Err(ManifestErrors::whole(line, column, message));
        }
    }
    Ok(())
}
