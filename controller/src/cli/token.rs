//! `pinion token create`.

use pinion_proto::{errln, exit::Exit, failure::Failure, outln};

use super::{Session, ask, documents::Token, print_json, unexpected};
use crate::admin::protocol::{Answer, Ask};

/// Prints a token.
pub(super) async fn create(session: &Session, guest: String) -> Result<Exit, Failure> {
    match ask(session, &Ask::Token(guest.clone())).await? {
        Answer::Token(token) if session.json => {
            print_json(&Token { guest: &guest, token: &token });
            Ok(Exit::Reached)
        }
        Answer::Token(token) => {
            outln!("{token}");
            errln!(
                "this token works once, within ten minutes, for guest {guest}: pipe it into `pinion-agent \
                join` there"
            );
            Ok(Exit::Reached)
        }
        other => Err(unexpected(&other)),
    }
}
