//! Letting the agent in a guest join, with a token on its standard input.
//!
//! Invariant: the token is in no argument, environment, file or message: it goes through pipes, and what the guest says
//! is searched for it.

use std::time::Duration;

use super::{
    look::AGENT,
    protocol::{Cause, Failure, Secret},
    reach::{NOT_FOUND, Reach},
};

/// The agent dials each of up to 16 addresses in turn.
const JOIN_TIME: Duration = Duration::from_secs(75);

/// Hands the token to `pinion-agent join`; its exit codes are those of both programs.
pub(super) async fn join(reach: &impl Reach, token: &Secret) -> Result<(), Failure> {
    let joined = reach.run(&[AGENT, "join"], token.reveal().as_bytes(), JOIN_TIME).await;
    let output = joined.map_err(|failure| Failure::new(failure.cause, without(&failure.text, token)))?;
    let cause = match output.code {
        0 => return Ok(()),
        // The daemon that cannot be reached is the controller's.
        5 => Cause::NoWayBack,
        _ => Cause::Refused,
    };
    let guest = reach.guest();
    let why = match output.code {
        NOT_FOUND => "there is no pinion-agent in it; install it first".to_owned(),
        code => format!("exit code {code}: {}", without(&output.complaint(), token)),
    };
    Err(Failure::new(cause, format!("the agent in {guest} did not join: {why}")))
}

/// A guest that repeats what was sent to it must not have it logged. Texts are shortened before they come here, so a part
/// of the token is looked for and not only the whole.
fn without(text: &str, token: &Secret) -> String {
    let mut text = text.to_owned();
    let token = token.reveal().trim_ascii();
    let bytes: Vec<&str> = (0..token.len()).step_by(STEP).filter_map(|at| token.get(at..at + STEP)).collect();
    for part in bytes {
        if text.contains(part) {
            text = text.replace(part, "…");
        }
    }
    text
}

/// So many letters of base64 in a row are no accident, and too few to be of use.
const STEP: usize = 12;
