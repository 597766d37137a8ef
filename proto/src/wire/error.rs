//! What comes off the wire malformed, and the parsers that say so.
//!
//! Invariant: the error names the field as the `.proto` files do.

use thiserror::Error;

/// A message that is not what the contract says.
#[derive(Debug, Error)]
#[error("malformed `{field}`: {why}")]
pub struct WireError {
    /// The field, as the `.proto` files name it.
    pub field: &'static str,
    /// The parser's reason.
    pub why: String,
}

pub(super) fn parse<T: std::str::FromStr>(field: &'static str, text: &str) -> Result<T, WireError>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|why| wrong(field, why))
}

pub(super) fn wrong(field: &'static str, why: impl std::fmt::Display) -> WireError {
    WireError { field, why: why.to_string() }
}

pub(super) fn missing(field: &'static str) -> WireError {
    wrong(field, "it is missing")
}

pub(super) fn at_most(field: &'static str, count: usize, max: usize) -> Result<(), WireError> {
    if count <= max { Ok(()) } else { Err(wrong(field, format!("{count} is more than {max}"))) }
}
