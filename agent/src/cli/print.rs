//! How answers are printed.

use pinion_proto::{failure::Failure, outln};

/// Prints a document on stdout as JSON.
pub(super) fn print_json(document: &impl serde::Serialize) {
    match serde_json::to_string(document) {
        Ok(text) => outln!("{}", pinion_proto::printable::json(&text)),
        Err(error) => outln!("{}", serde_json::json!({ "error": { "message": error.to_string(), "exit_code": 1 } })),
    }
}

/// Prints a document whose command fails, with the failure in it.
pub(super) fn print_failed(document: &impl serde::Serialize, failure: &Failure) {
    print_json(&failure.within(document));
}
