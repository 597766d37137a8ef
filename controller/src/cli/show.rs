//! `pinion show`.

use std::fmt::Write as _;

use pinion_proto::{exit::Exit, failure::Failure, out, outln, printable::Shown, report::Details, stage::Stage};

use super::{Session, ask, events, print_json, unexpected};
use crate::admin::protocol::{Answer, Ask, AskShow, GuestStatus, PlacementStatus, ShownPage};

/// Prints a guest with its placements, or placements whole, from one on.
pub(super) async fn show(session: &Session, name: String, from: usize, count: usize) -> Result<Exit, Failure> {
    match ask(session, &Ask::Show(AskShow { name: name.clone(), from, count })).await? {
        Answer::Shown(shown) => {
            if session.json {
                print_json(&shown);
            } else {
                out!("{}", words(&name, &shown));
                if shown.guest.is_none() && shown.total <= MAX_WITH_EVENTS {
                    print_events(session, &shown).await;
                }
            }
            Ok(Exit::Reached)
        }
        other => Err(unexpected(&other)),
    }
}

/// More placements than this are shown without what happened to them.
const MAX_WITH_EVENTS: usize = 3;

/// So many of the last events are shown of a placement.
const LAST_EVENTS: usize = 8;

async fn print_events(session: &Session, shown: &ShownPage) {
    for placement in &shown.placements {
        let events = events::last_of(session, &placement.placement, LAST_EVENTS).await;
        if !events.is_empty() {
            outln!("\nlast events of {}", Shown(&placement.placement));
        }
        for event in &events {
            outln!("  {}", events::line(event));
        }
    }
}

/// What people read of it.
pub(super) fn words(name: &str, shown: &ShownPage) -> String {
    let mut out = shown.guest.as_ref().map(guest).unwrap_or_default();
    for placement in &shown.placements {
        if !out.is_empty() {
            out.push('\n');
        }
        out += &one(placement);
    }
    let next = shown.from + shown.placements.len();
    if shown.from > 0 || next < shown.total {
        out += &format!("\nplacements {} to {next} of {}", shown.from + 1, shown.total);
        if next < shown.total {
            out += &format!("; for the next ones run: pinion show {} --from {next}", Shown(name));
        }
        out.push('\n');
    }
    out
}

fn guest(guest: &GuestStatus) -> String {
    let mut lines = Lines::new(format!("guest {}", guest.guest));
    lines.add("name", guest.name.as_deref());
    lines.add("kind", guest.presence.kind.map(|kind| kind.to_string()).as_deref());
    lines.add("state", Some(guest.presence.words().as_str()).filter(|words| !words.is_empty()));
    lines.add("agent", guest.agent_version.as_deref());
    let link = match (guest.linked, guest.since) {
        (true, Some(since)) => format!("linked since {since}"),
        (false, Some(since)) => format!("away since {since}"),
        (_, None) => "never seen".to_owned(),
    };
    lines.add("link", Some(&link));
    lines.0
}

fn one(placement: &PlacementStatus) -> String {
    let moment = |at: Option<pinion_proto::clock::Timestamp>| at.map(|at| at.to_string());
    let mut lines = Lines::new(placement.placement.clone());
    lines.add("guest", placement.guest_name.as_deref());
    let stage = if placement.retired { "retired".to_owned() } else { placement.stage.to_string() };
    lines.add("validity", placement.validity.map(pinion_proto::stage::Validity::as_str));
    lines.add("stage", Some(&stage));
    lines.add("goal", Some(placement.goal.as_str()).filter(|_| !placement.retired));
    lines.add("generation", placement.generation.map(|number| number.to_string()).as_deref());
    lines.add("incoming", placement.incoming.map(|number| number.to_string()).as_deref());
    lines.add("serial", placement.serial.as_deref());
    let names =
        placement.names.as_ref().map(|names| names.iter().map(|name| name.plain()).collect::<Vec<_>>().join(", "));
    lines.add("names", names.as_deref());
    lines.add("valid from", moment(placement.not_before).as_deref());
    lines.add("valid until", moment(placement.not_after).as_deref());
    lines.add("renews", moment(placement.renew_at).as_deref());
    lines.add("issuer", Some(placement.issuer.as_str()).filter(|issuer| !issuer.is_empty()));
    let details = placement.details.as_deref().cloned().unwrap_or_default();
    for authority in &details.chain {
        lines.add("chain", Some(authority));
    }
    lines.add("root", placement.root.map(|root| root.to_string()).as_deref());
    lines.add("key", placement.key.as_deref());
    lines.add("recipe", placement.recipe.as_deref());
    for file in &details.files {
        lines.add("file", Some(file));
    }
    for service in &details.services {
        lines.add("service", Some(service));
    }
    lines.add("served", served(placement, &details).as_deref());
    lines.add("window", placement.window.as_deref());
    lines.add("frozen", placement.frozen.as_ref().map(crate::freeze::Freeze::end).as_deref());
    for root in &placement.roots {
        lines.add("trusts", Some(&root.to_string()));
    }
    for file in &placement.left_behind {
        lines.add("left behind", Some(file));
    }
    lines.add("trouble", placement.trouble.as_ref().map(ToString::to_string).as_deref());
    lines.add("warning", placement.warning.as_deref());
    lines.0
}

/// What a service was last seen to serve; the trouble has the rest.
fn served(placement: &PlacementStatus, details: &Details) -> Option<String> {
    let at = details.probes.join(", ");
    placement.serial.as_ref()?;
    Some(match (placement.retired, placement.stage >= Stage::Served, at.is_empty()) {
        (true, ..) => return None,
        (_, true, false) => format!("this certificate, at {at}"),
        (_, true, true) => "this certificate".to_owned(),
        (_, false, false) => format!("not this certificate yet, at {at}"),
        (_, false, true) => "not probed".to_owned(),
    })
}

/// A head, and what belongs to it, one a line.
struct Lines(String);

impl Lines {
    fn new(head: String) -> Self {
        Self(format!("{}\n", Shown(&head)))
    }

    fn add(&mut self, what: &str, value: Option<&str>) {
        if let Some(value) = value {
            // Writing to a String cannot fail.
            writeln!(self.0, "  {what:<12} {}", Shown(value)).ok();
        }
    }
}
