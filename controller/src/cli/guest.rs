//! `pinion guest list`, `unlock` and `forget`.

use pinion_proto::exit::Exit;

use super::{Session, ask, print_json, table::table, unexpected};
use crate::admin::protocol::{Answer, Ask, IdentityStatus};

/// Prints every guest that has an identity.
pub(super) async fn list(session: &Session) -> Exit {
    match ask(session, &Ask::Guests).await {
        Ok(Answer::Guests(guests)) => {
            if session.json {
                print_json(&guests);
            } else {
                let rows: Vec<_> = guests.into_iter().map(row).collect();
                print!("{}", table(["GUEST", "NAME", "HOSTNAME", "JOINED", "IDENTITY", "RENEWED", "LOCKED"], &rows));
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

fn row(guest: IdentityStatus) -> [String; 7] {
    [
        guest.guest.to_string(),
        guest.name.unwrap_or_default(),
        guest.hostname,
        guest.joined_at.to_string(),
        format!("number {}", guest.generation),
        guest.issued_at.to_string(),
        guest.locked.unwrap_or_default(),
    ]
}
