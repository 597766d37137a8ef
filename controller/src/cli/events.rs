//! `pinion events`.

use pinion_proto::{exit::Exit, printable::Shown};

use super::{Conversation, Session, print_json, unexpected};
use crate::{
    admin::protocol::{Answer, Ask},
    events::Event,
};

/// Prints what happened, and goes on if it should.
pub(super) async fn events(session: &Session, follow: bool, last: usize) -> Exit {
    let mut conversation = match Conversation::start(session, &Ask::Events { follow, last }).await {
        Ok(conversation) => conversation,
        Err(exit) => return exit,
    };
    loop {
        match conversation.next().await {
            Ok(Answer::Event(event)) if session.json => print_json(&event),
            Ok(Answer::Event(event)) => println!("{}", line(&event)),
            Ok(Answer::End) => return Exit::Reached,
            Ok(other) => return unexpected(&other),
            Err(exit) => return exit,
        }
    }
}

/// An event as people read it.
pub(super) fn line(event: &Event) -> String {
    let mut line = format!("{}  {:<10}  {}", event.at, event.kind.as_str(), Shown(&event.text));
    if let Some(serial) = &event.serial {
        line += &format!(" (serial {serial})");
    }
    line
}
