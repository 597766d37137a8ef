//! `pinion events`.

use pinion_proto::{clock::Timestamp, exit::Exit, failure::Failure, outln, printable::Shown};

use super::{Conversation, Session, moment, print_json, unexpected};
use crate::{
    admin::protocol::{Answer, Ask, AskEvents},
    events::Event,
};

/// So many events are shown where nothing else is said.
const LAST: usize = 100;

/// Which events.
#[derive(Debug, clap::Args)]
pub(super) struct EventsArgs {
    /// Only events about this certificate (`docker`), placement (`docker@1001`) or guest.
    #[arg(value_name = "NAME")]
    pub(super) name: Option<String>,
    /// Only events since then: 2026-12-24T18:00Z, "2026-12-24 18:00" by this host's clock, or 8h for the last 8 hours.
    #[arg(long, value_name = "T", value_parser = moment::past)]
    pub(super) since: Option<Timestamp>,
    /// Keep running, and show events as they happen.
    #[arg(long, short)]
    pub(super) follow: bool,
    /// Show the last N events; 100 without `--since`, and with it all.
    #[arg(long, value_name = "N")]
    pub(super) last: Option<usize>,
}

/// Prints what happened, and goes on if it should.
pub(super) async fn events(session: &Session, args: EventsArgs) -> Result<Exit, Failure> {
    let EventsArgs { name, since, follow, last } = args;
    let last = last.unwrap_or(if since.is_some() { usize::MAX } else { LAST });
    let ask = Ask::Events(AskEvents { follow, last, name, since });
    let mut conversation = Conversation::start(session, &ask).await?;
    loop {
        match conversation.next().await? {
            Answer::Event(event) if session.json => print_json(&event),
            Answer::Event(event) => outln!("{}", line(&event)),
            Answer::End => return Ok(Exit::Reached),
            other => return Err(unexpected(&other)),
        }
    }
}

/// The last events about a name; none where they cannot be had.
pub(super) async fn last_of(session: &Session, name: &str, last: usize) -> Vec<Event> {
    those(session, AskEvents { last, name: Some(name.to_owned()), ..AskEvents::default() }).await
}

/// The last events; none where they cannot be had.
pub(super) async fn last(session: &Session, last: usize) -> Vec<Event> {
    those(session, AskEvents { last, ..AskEvents::default() }).await
}

async fn those(session: &Session, ask: AskEvents) -> Vec<Event> {
    let ask = Ask::Events(ask);
    let mut events = Vec::new();
    let Ok(mut conversation) = Conversation::start(session, &ask).await else { return events };
    while let Ok(Answer::Event(event)) = conversation.next().await {
        events.push(event);
    }
    events
}

/// An event as people read it.
pub(super) fn line(event: &Event) -> String {
    let mut line = format!("{}  {:<10}  {}", event.at, event.kind.as_str(), Shown(&event.text));
    if let Some(serial) = &event.serial {
        line += &format!(" (serial {serial})");
    }
    line
}
