//! `pinion token create`.

use pinion_proto::{errln, exit::Exit, outln};

use super::{Session, ask, print_json, unexpected};
use crate::admin::protocol::{Answer, Ask};

/// Prints a token.
pub(super) async fn create(session: &Session, guest: String) -> Exit {
    match ask(session, &Ask::Token(guest.clone())).await {
        Ok(Answer::Token(token)) if session.json => {
            print_json(&serde_json::json!({ "guest": guest, "token": token }));
            Exit::Reached
        }
        Ok(Answer::Token(token)) => {
            outln!("{token}");
            errln!(
                "this token works once, within ten minutes, for guest {guest}: pipe it into `pinion-agent \
                join` there"
            );
            Exit::Reached
        }
        Ok(other) => unexpected(&other),
        Err(exit) => exit,
    }
}
