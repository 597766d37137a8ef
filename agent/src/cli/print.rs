//! How answers are printed.

use pinion_proto::{errln, outln};
/// Prints a document on stdout as JSON.
pub(super) fn print_json(document: &impl serde::Serialize) {
    match serde_json::to_string(document) {
        Ok(text) => outln!("{}", pinion_proto::printable::json(&text)),
        Err(error) => errln!("pinion-agent: cannot print the answer: {error}"),
    }
}
