//! `pinion discover`.

mod entries;
#[cfg(test)]
mod tests;

use pinion_proto::{
    clock::Timestamp,
    examination::{Listener, SeenCertificate, Subject},
    exit::Exit,
    failure::Failure,
    out, outln,
    printable::Shown,
    relative,
    stage::Validity,
    table::{self, Look, Row},
    verdict::Verdict,
};

use super::{Session, examination::ask_guests, print_json, wrap::wrap};
use crate::admin::protocol::ExaminedGuest;

/// Find TLS services and certificates in guests, and tell which of them Pinion manages.
///
/// Each agent lists who listens in its guest. Where the guest's agent.toml says `discover = true` under [allow], it also
/// shakes hands with each listener once (never with printers and other ports on which that may do harm), and looks at
/// certificates in the directories that it may write to. Needs an administrator, because guests connect to their services.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Examples:\n  pinion discover\n  pinion discover --guest 1001 --all\n  pinion discover --guest web --manifest > new.json\n  pinion discover --manifest --watch > watched.json"
)]
pub(super) struct DiscoverArgs {
    /// Only this guest: a VMID, a name, or `host`. You can repeat it. All that are linked if you name none.
    #[arg(long = "guest", value_name = "G")]
    guests: Vec<String>,
    /// Also list services without TLS.
    #[arg(long)]
    all: bool,
    /// Show every column, and everything in them, however wide the table gets.
    #[arg(long)]
    wide: bool,
    /// Print a manifest with an entry for each service whose certificate nobody manages, to paste from.
    ///
    /// `pinion manifest check` accepts it. Look at each entry before you use it: which files the service reads is for you
    /// to say, unless its recipe does.
    #[arg(long, conflicts_with_all = ["all", "wide"])]
    manifest: bool,
    /// With `--manifest`: entries that only watch. Pinion then reports when these certificates end, and changes nothing.
    #[arg(long, requires = "manifest")]
    watch: bool,
}

/// The columns that are cut, and how narrow they become.
const NARROWEST: [(usize, usize); 5] = [(6, 8), (1, 18), (2, 7), (5, 12), (1, 15)];

/// Asks the guests, and prints what they saw.
pub(super) async fn discover(session: &Session, args: DiscoverArgs) -> Result<Exit, Failure> {
    let DiscoverArgs { guests, all, wide, manifest, watch } = args;
    let found = ask_guests(session, guests, Subject::Discover).await?;
    if manifest {
        let entries = entries::of(&found, watch);
        outln!("{}", entries.text);
        for note in &entries.notes {
            pinion_proto::errln!("{}", Shown(note));
        }
    } else if session.json {
        print_json(&found);
    } else {
        out!("{}", words(&found, all, Look::of_stdout(wide)));
    }
    Ok(Exit::Reached)
}

/// What people read of it.
pub(super) fn words(found: &[ExaminedGuest], all: bool, look: Look) -> String {
    let mut rows = Vec::new();
    let mut without = 0;
    let mut notes = Vec::new();
    for guest in found {
        let number = guest.guest.to_string();
        notes.extend(guest.unanswered.as_ref().map(|why| format!("guest {number}: {why}")));
        let Some(examined) = &guest.examined else { continue };
        notes.extend(examined.left_out.iter().map(|left_out| format!("guest {number}: {left_out}")));
        for listener in &examined.listeners {
            let address = place(listener);
            match &listener.shows {
                Some(seen) => rows.push(row(&number, address, &listener.program, seen, look)),
                None if all => rows.push(bare(&number, address, listener)),
                None => without += 1,
            }
        }
        for file in &examined.certificates {
            rows.push(row(&number, file.path.to_string(), "", &file.holds, look));
        }
    }
    // The worst first, and what nobody manages before what Pinion does.
    rows.sort_by_key(|(is_managed, row)| (std::cmp::Reverse(row.verdict), *is_managed));
    let rows: Vec<_> = rows.into_iter().map(|(_, row)| row).collect();
    let mut out = String::new();
    if rows.is_empty() {
        out += "no certificate was seen\n";
    } else {
        let head = ["GUEST", "WHERE", "PROGRAM", "EXPIRES", "MANAGED", "NAMES", "ISSUER"];
        out += &table::table(&head, &rows, &NARROWEST, look);
    }
    let width = look.width.unwrap_or(100).min(100);
    let mut tell = |text: String| out += &format!("\n{}\n", wrap(&Shown(&text).to_string(), width, 2));
    if without > 0 {
        tell(format!("services that showed no certificate: {without}; `pinion discover --all` lists them"));
    }
    notes.into_iter().for_each(tell);
    out
}

fn place(listener: &Listener) -> String {
    match listener.starttls {
        Some(protocol) => format!("{} {}", listener.address, protocol.as_str()),
        None => listener.address.to_string(),
    }
}

fn row(guest: &str, place: String, program: &str, seen: &SeenCertificate, look: Look) -> (bool, Row) {
    let is_wide = look.width.is_none();
    let expires = if is_wide { seen.not_after.to_string() } else { relative::from_now(seen.not_after, look.now) };
    let names = match seen.names.as_slice() {
        [first, rest @ ..] if !is_wide && !rest.is_empty() => format!("{first} +{}", rest.len()),
        names => names.join(", "),
    };
    let managed = seen.managed.as_ref().map_or_else(|| "no".to_owned(), ToString::to_string);
    let issuer = if is_wide { seen.issuer.clone() } else { common_name(&seen.issuer) };
    let cells = vec![guest.into(), place, program.into(), expires, managed, names, issuer];
    (seen.managed.is_some(), Row { cells, verdict: Some(verdict(seen.not_after, look.now)) })
}

fn bare(guest: &str, place: String, listener: &Listener) -> (bool, Row) {
    let cells =
        vec![guest.into(), place, listener.program.clone(), String::new(), String::new(), listener.why_not.clone()];
    let cells = cells.into_iter().chain([String::new()]).collect();
    (true, Row { cells, verdict: Some(Verdict::Good) })
}

fn verdict(not_after: Timestamp, now: Timestamp) -> Verdict {
    Verdict::of(Some(Validity::at(now, not_after, false)), None, false)
}

/// The common name in a subject, which is what people know an issuer by; all of it if it has none.
fn common_name(subject: &str) -> String {
    let name = subject.split(", ").find_map(|part| part.strip_prefix("CN="));
    name.unwrap_or(subject).to_owned()
}
