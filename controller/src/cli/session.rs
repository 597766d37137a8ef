//! What every verb needs: the settings, and how answers are printed.

use pinion_proto::{errln, exit::Exit, outln};

use crate::{admin::protocol::Answer, config::Config};

/// What every verb needs: the settings, and how to print the answer.
pub(super) struct Session {
    pub(super) config: Config,
    pub(super) json: bool,
}

/// Says that the daemon answered something else than was asked.
pub(super) fn unexpected(answer: &Answer) -> Exit {
    errln!("pinion: the controller sent an unexpected answer: {answer:?}; this is a bug");
    Exit::Internal
}

/// Prints a document on stdout as JSON.
pub(super) fn print_json(document: &impl serde::Serialize) {
    match serde_json::to_string(document) {
        Ok(text) => outln!("{}", pinion_proto::printable::json(&text)),
        Err(error) => errln!("pinion: cannot print the answer: {error}"),
    }
}
