//! Asking guests' agents what they see.

use pinion_proto::{examination::Subject, failure::Failure};

use super::{Conversation, Session, unexpected};
use crate::admin::protocol::{Answer, Ask, AskExamine, ExaminedGuest};

/// What each of these guests answers, by number; all that are linked if none is named.
pub(super) async fn ask_guests(
    session: &Session,
    guests: Vec<String>,
    subject: Subject,
) -> Result<Vec<ExaminedGuest>, Failure> {
    let mut conversation = Conversation::start(session, &Ask::Examine(AskExamine { guests, subject })).await?;
    let mut all = Vec::new();
    loop {
        match conversation.next().await? {
            Answer::Examined(examined) => all.push(*examined),
            Answer::End => break,
            other => return Err(unexpected(&other)),
        }
    }
    all.sort_by_key(|examined| examined.guest);
    Ok(all)
}
