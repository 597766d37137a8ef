//! `pinion freeze`.

use pinion_proto::{clock::Timestamp, exit::Exit, failure::Failure, outln};

use super::{Session, ask, print_json, unexpected};
use crate::admin::protocol::{Answer, Ask, AskFreeze, Selection};

/// Freezes something, or lifts freezes, and prints what is frozen then.
pub(super) async fn freeze(
    session: &Session,
    selection: Selection,
    until: Option<Timestamp>,
    lift: bool,
) -> Result<Exit, Failure> {
    match ask(session, &Ask::Freeze(AskFreeze { selection, until, lift })).await? {
        Answer::Frozen(frozen) => {
            if session.json {
                print_json(&frozen);
            } else {
                if frozen.freezes.is_empty() {
                    outln!("nothing is frozen");
                }
                for note in &frozen.notes {
                    outln!("{note}");
                }
            }
            Ok(Exit::Reached)
        }
        other => Err(unexpected(&other)),
    }
}
