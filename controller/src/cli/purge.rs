//! `pinion purge`.

use pinion_proto::exit::Exit;

use super::{Session, ask, print_json, unexpected};
use crate::admin::protocol::{Answer, Ask};

/// Has the files of retired placements removed.
pub(super) async fn purge(session: &Session, names: Vec<String>) -> Exit {
    match ask(session, &Ask::Purge(names.clone())).await {
        Ok(Answer::End) => {
            if session.json {
                print_json(&serde_json::json!({ "purging": names }));
            } else {
                eprintln!(
                    "the agents are removing the files, in guests that are not linked as soon as they link; `pinion \
                     events` shows when it is done"
                );
            }
            Exit::Reached
        }
        Ok(other) => unexpected(&other),
        Err(exit) => exit,
    }
}
