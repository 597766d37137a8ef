//! `pinion explain`.

mod document;
mod otlp;
mod since;
mod story;
mod timing;
#[cfg(test)]
mod tests;

use pinion_proto::{clock::Timestamp, exit::Exit, failure::Failure, out, printable::Shown, table::Look};

pub(super) use document::Explained;
use document::{Explanation, moment};
use otlp::TraceRequest;
pub(super) use timing::Timings;

use super::{Session, ask, events, print_json, unexpected, wrap::wrap};
use crate::{
    admin::protocol::{Answer, Ask, AskShow, GuestStatus, Selection, Status},
    manifest::first_problem,
};

/// Tell the story of a certificate, a placement or a guest.
///
/// For each placement: what the manifest asks for, what is there, why it is so and since when, what comes next, and what
/// you can do. With `--timing`, shows instead where the time of the last renewal went; with `--otlp` as a trace, which Jaeger
/// and other viewers open.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Examples:\n  pinion explain docker@1001\n  pinion explain docker\n  pinion explain 1001\n  pinion explain docker --timing\n  pinion explain docker --timing --otlp > docker.json"
)]
pub(super) struct ExplainArgs {
    /// A certificate (`docker`), a placement (`docker@1001`), or a guest (a VMID, a name, or `host`).
    #[arg(value_name = "NAME")]
    name: String,
    /// Show each step of the last renewal since the controller started, and how long it took.
    #[arg(long)]
    timing: bool,
    /// Print these steps as a trace: a request of OTLP, OpenTelemetry's protocol, in JSON.
    #[arg(long, requires = "timing")]
    otlp: bool,
}

/// More placements than this are a table's affair.
const MAX_EXPLAINED: usize = 20;

/// So many of a placement's last events are searched for the moment since when it is as it is.
const EVENTS: usize = 200;

/// The widest lines that are still easy to read.
const MAX_WIDTH: usize = 100;

/// Prints the story of a name.
pub(super) async fn explain(session: &Session, args: ExplainArgs) -> Result<Exit, Failure> {
    let ExplainArgs { name, timing, otlp } = args;
    let shown = match ask(session, &Ask::Show(AskShow { name, from: 0, count: MAX_EXPLAINED })).await? {
        Answer::Shown(shown) => *shown,
        other => return Err(unexpected(&other)),
    };
    if otlp {
        print_json(&TraceRequest::of(&shown.placements));
        return Ok(Exit::Reached);
    }
    if timing {
        let timings = Timings::of(shown);
        if session.json {
            print_json(&timings);
        } else {
            out!("{}", timings.words());
        }
        return Ok(Exit::Reached);
    }
    // All guests and what concerns everything, whatever is asked about: the guests' numbers are in the placements.
    let names = shown.placements.iter().map(|placement| placement.placement.clone()).collect();
    let status = match ask(session, &Ask::Status(Selection::new(names, Vec::new()))).await? {
        Answer::Status(status) => *status,
        other => return Err(unexpected(&other)),
    };
    let look = Look::of_stdout(false);
    let mut placements = Vec::new();
    for placement in shown.placements {
        let guest = status.guests.iter().find(|guest| Some(guest.guest) == placement.guest);
        let events = events::last_of(session, &placement.placement, EVENTS).await;
        placements.push(story::of(placement, guest, &events, look.now));
    }
    let explained = Explained { guest: shown.guest, total: shown.total, notes: notes(&status), placements };
    if session.json {
        print_json(&explained);
    } else {
        out!("{}", words(&explained, look));
    }
    Ok(Exit::Reached)
}

/// What concerns everything.
fn notes(status: &Status) -> Vec<String> {
    let manifest = status.manifest.problem.as_ref().map(|problem| {
        let since =
            status.manifest.since.map(|since| format!(" Pinion uses the manifest of {since}.")).unwrap_or_default();
        let first = first_problem(problem);
        format!("The manifest on disk is not in force: {first}.{since} `pinion manifest check` lists all mistakes.")
    });
    let host = status.troubles.iter().map(|trouble| format!("This host: {trouble}."));
    manifest.into_iter().chain(host).collect()
}

/// What people read of it.
pub(super) fn words(explained: &Explained, look: Look) -> String {
    let width = look.width.unwrap_or(MAX_WIDTH).min(MAX_WIDTH);
    let mut out = String::new();
    for note in &explained.notes {
        out += &format!("{}\n\n", wrap(&Shown(note).to_string(), width, 0));
    }
    if let Some(guest) = &explained.guest {
        out += &format!("{}\n", wrap(&Shown(&guest_words(guest, look.now)).to_string(), width, 2));
    }
    for (index, placement) in explained.placements.iter().enumerate() {
        if index > 0 || explained.guest.is_some() {
            out.push('\n');
        }
        out += &one(placement, width, look.now);
    }
    let more = explained.total.saturating_sub(explained.placements.len());
    if more > 0 {
        out += &format!("\n{more} more placements; name one of them, or see `pinion status`\n");
    }
    out
}

fn guest_words(guest: &GuestStatus, now: Timestamp) -> String {
    let name = guest.name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
    let presence = Some(guest.presence.words()).filter(|words| !words.is_empty());
    let presence = presence.map(|words| format!(", {words}")).unwrap_or_default();
    let agent = guest.agent_version.as_ref().map(|version| format!(" Its agent is {version}.")).unwrap_or_default();
    let link = match (guest.linked, guest.since) {
        (true, Some(since)) => format!("linked since {}", moment(since, now)),
        (false, Some(since)) => format!("away since {}", moment(since, now)),
        (_, None) => "never linked".to_owned(),
    };
    let number = if guest.guest == pinion_proto::id::Guest::Host {
        "This host".into()
    } else {
        format!("Guest {}", guest.guest)
    };
    format!("{number}{name}{presence}, is {link}.{agent}")
}

fn one(explanation: &Explanation, width: usize, now: Timestamp) -> String {
    let since = explanation.since.map(|since| format!(" since {}", moment(since, now))).unwrap_or_default();
    let mut out = format!("{} {}{since}\n", Shown(&explanation.placement), explanation.state.words());
    let parts = [
        ("wanted", &explanation.wanted),
        ("there is", &explanation.found),
        ("why", &explanation.why),
        ("next", &explanation.next),
        ("you can", &explanation.options),
    ];
    for (part, sentences) in parts {
        for (index, sentence) in sentences.iter().enumerate() {
            let label = if index == 0 { part } else { "" };
            let line = format!("{}", Shown(sentence));
            out +=
                &format!("  {label:<10}{}\n", wrap(&line, width.saturating_sub(INDENT), 0).replace('\n', &continued()));
        }
    }
    out
}

/// Where sentences begin.
const INDENT: usize = 12;

fn continued() -> String {
    format!("\n{:INDENT$}", "")
}
