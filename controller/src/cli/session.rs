//! What every verb needs: the settings, and how answers are printed.

use pinion_proto::{exit::Exit, failure::Failure, outln};
use serde_json::Value;

use crate::{admin::protocol::Answer, config::Config};

/// What every verb needs: the settings, and how to print the answer.
pub(super) struct Session {
    pub(super) config: Config,
    pub(super) json: bool,
}

/// The daemon answered something else than was asked. Only the answer's kind is said: it may be a token.
pub(super) fn unexpected(answer: &Answer) -> Failure {
    let kind = match serde_json::to_value(answer) {
        Ok(Value::String(kind)) => kind,
        Ok(Value::Object(members)) => members.keys().next().cloned().unwrap_or_default(),
        _ => String::new(),
    };
    Failure::new(Exit::Internal, format!("the controller sent an answer to another question (`{kind}`)"))
        .remedy("if it runs another version, restart it (systemctl restart pinion); otherwise this is a bug")
}

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
