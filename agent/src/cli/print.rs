//! How answers are printed.

/// Prints a document on stdout as JSON.
pub(super) fn print_json(document: &impl serde::Serialize) {
    match serde_json::to_string(document) {
        Ok(text) => println!("{}", pinion_proto::printable::json(&text)),
        Err(error) => eprintln!("pinion-agent: cannot print the answer: {error}"),
    }
}
