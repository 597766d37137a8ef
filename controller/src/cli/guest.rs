//! `pinion guest list`, `unlock` and `forget`.

use pinion_proto::{clock::Timestamp, exit::Exit};

use super::{Session, ask, print_json, table::table, unexpected};
use crate::admin::protocol::{Answer, Ask, IdentityStatus};

/// Prints every guest that the manifest names or that has an identity.
pub(super) async fn list(session: &Session) -> Exit {
    match ask(session, &Ask::Guests).await {
        Ok(Answer::Guests(guests)) => {
            if session.json {
                print_json(&guests);
            } else {
                let rows: Vec<_> = guests.into_iter().map(row).collect();
                let head = ["GUEST", "NAME", "KIND", "STATE", "HOSTNAME", "JOINED", "IDENTITY", "RENEWED", "LOCKED"];
                print!("{}", table(head, &rows));
            }
            Exit::Reached
        }
        Ok(other) => unexpected(&other),
        Err(exit) => exit,
    }
}

/// Lets a locked guest join again.
pub(super) async fn unlock(session: &Session, guest: String) -> Exit {
    let done =
        format!("guest {guest} is unlocked: `pinion token create --guest {guest}` and `pinion-agent join` let it in");
    tell(session, ask(session, &Ask::Unlock(guest)).await, &done)
}

/// Forgets a guest.
pub(super) async fn forget(session: &Session, guest: String) -> Exit {
    let done = format!("guest {guest} is forgotten; what its agent installed stays where it is");
    tell(session, ask(session, &Ask::Forget(guest)).await, &done)
}

fn tell(session: &Session, answer: Result<Answer, Exit>, done: &str) -> Exit {
    match answer {
        Ok(Answer::End) => {
            if session.json {
                print_json(&serde_json::json!({ "done": done }));
            } else {
                eprintln!("{done}");
            }
            Exit::Reached
        }
        Ok(other) => unexpected(&other),
        Err(exit) => exit,
    }
}

fn row(guest: IdentityStatus) -> [String; 9] {
    let moment = |at: Option<Timestamp>| at.map(|at| at.to_string()).unwrap_or_default();
    let identity = if guest.generation == 0 { "none".to_owned() } else { format!("number {}", guest.generation) };
    [
        guest.guest.to_string(),
        guest.name.unwrap_or_default(),
        guest.presence.kind.map(|kind| kind.to_string()).unwrap_or_default(),
        guest.presence.words(),
        guest.hostname,
        moment(guest.joined_at),
        identity,
        moment(guest.issued_at),
        guest.locked.unwrap_or_default(),
    ]
}
