//! `pinion purge`.

use std::{collections::BTreeSet, time::Duration};

use pinion_proto::{errln, exit::Exit, failure::Failure, outln, printable::Shown};
use tokio::time::timeout;

use super::{Conversation, Session, ask, documents::Purged, print_failed, print_json, unexpected};
use crate::{
    admin::{
        protocol::{Answer, Ask, AskEvents},
        purge::{AskPurge, Purging},
    },
    events::{Event, Kind},
};

/// An agent removes files within a second; one whose disk hangs is not waited for.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// Has files of placements removed, and says what came of it in guests that are linked.
pub(super) async fn purge(session: &Session, purge: AskPurge) -> Result<Exit, Failure> {
    let names = purge.names.clone();
    // What happens is listened to before it can.
    let events = Conversation::start(session, &Ask::Events(AskEvents { follow: true, ..AskEvents::default() })).await;
    let purging = match ask(session, &Ask::Purge(purge)).await? {
        Answer::Purging(purging) => purging,
        other => return Err(unexpected(&other)),
    };
    let (awaited, mut told) = (purging.at_once.iter().cloned().collect(), Vec::new());
    if let Ok(mut events) = events {
        // Who does not answer in time is told of below.
        timeout(ANSWER_TIME, listen(&mut events, awaited, &mut told)).await.ok();
    }
    let refused: Vec<_> =
        told.iter().filter(|event| event.kind == Kind::Refused).map(|event| event.text.as_str()).collect();
    let exit = if refused.is_empty() { Exit::Reached } else { Exit::Blocked };
    let document = || {
        let texts: Vec<_> = told.iter().map(|event| event.text.as_str()).collect();
        Purged { purging: &names, results: texts }
    };
    match (session.json, exit) {
        (false, _) => print(&purging, &told),
        (true, Exit::Reached) => print_json(&document()),
        (true, _) => {
            let failure = Failure::new(exit, format!("an agent refused to purge {}", names.join(", ")));
            print_failed(&document(), &failure.cause(refused.join("; ")));
        }
    }
    Ok(exit)
}

/// Takes the events of these until each of them has one.
async fn listen(events: &mut Conversation, mut awaited: BTreeSet<String>, told: &mut Vec<Event>) {
    while !awaited.is_empty() {
        let Ok(Answer::Event(event)) = events.next().await else { return };
        let (Some(certificate), Some(guest)) = (&event.certificate, event.guest) else { continue };
        if matches!(event.kind, Kind::Purged | Kind::Refused) && awaited.remove(&format!("{certificate}@{guest}")) {
            told.push(event);
        }
    }
}

fn print(purging: &Purging, told: &[Event]) {
    for event in told {
        outln!("{}", Shown(&event.text));
    }
    if told.len() < purging.at_once.len() {
        errln!("the agents are still removing files; `pinion events` shows when it is done");
    }
    if !purging.later.is_empty() {
        errln!(
            "not linked: {}; their agents remove the files as soon as they link, and `pinion events` shows when it is done",
            purging.later.join(", ")
        );
    }
}
