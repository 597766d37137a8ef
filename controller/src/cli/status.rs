//! `pinion status`.

use pinion_proto::{exit::Exit, failure::Failure, out, printable::Shown, relative, table::Look};

use super::{Session, ask, placements, print_json, table::table, unexpected};
use crate::admin::{
    presence::Presence,
    protocol::{Answer, Ask, GuestStatus, Selection, Status},
};

/// Show every placement, the worst first: validity, stage, expiry, next renewal, names, and what is wrong.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Examples:\n  pinion status\n  pinion status docker@1001\n  pinion status --guest 1001 --json\n  pinion status --watch\n  pinion status --check"
)]
pub(super) struct StatusArgs {
    /// Certificates (`docker`) or placements (`docker@1001`); all if you name none.
    #[arg(value_name = "NAME")]
    pub(super) names: Vec<String>,
    /// Only placements in this guest: a VMID, a name, or `host`. You can repeat it.
    #[arg(long = "guest", value_name = "G")]
    pub(super) guests: Vec<String>,
    /// Print one line, for monitoring, and exit by the worst placement.
    ///
    /// Exits with 4 if a placement is blocked or expired, with 2 if the manifest on disk cannot be used, with 3 if
    /// something that is due is waiting, with 5 if the controller can't be reached, and with 0 otherwise.
    #[arg(long, conflicts_with_all = ["wide", "watch"])]
    pub(super) check: bool,
    /// Keep running: draw the status again as it changes, until you press Ctrl-C.
    ///
    /// Into a pipe or a file, prints a block at each change, which begins with the time; with `--json` a document on a line
    /// of its own. Waits for a controller that is being restarted.
    #[arg(long, short)]
    pub(super) watch: bool,
    /// Show every column, all names, and exact times, however wide the table gets.
    #[arg(long)]
    pub(super) wide: bool,
}

/// Prints how everything is.
pub(super) async fn status(session: &Session, selection: Selection, is_wide: bool) -> Result<Exit, Failure> {
    match ask(session, &Ask::Status(selection)).await? {
        Answer::Status(status) => {
            if session.json {
                print_json(&status);
            } else {
                out!("{}", words(&status, Look::of_stdout(is_wide)));
            }
            Ok(Exit::Reached)
        }
        other => Err(unexpected(&other)),
    }
}

/// What people read of it.
pub(super) fn words(status: &Status, look: Look) -> String {
    // What concerns everything comes before the many lines.
    let mut out = String::new();
    for note in &status.notes {
        out += &format!("note: {}\n\n", Shown(note));
    }
    for trouble in &status.troubles {
        out += &format!("host: {trouble}\n\n");
    }
    let placements = placements::worst_first(&status.placements);
    out += &placements::table(&placements, look);
    for placement in placements {
        if let Some(trouble) = &placement.trouble {
            out += &format!("\n{}: {trouble}\n", placement.placement);
        }
        if let Some(warning) = &placement.warning {
            out += &format!("\n{}: warning: {warning}\n", placement.placement);
        }
        if !placement.left_behind.is_empty() {
            let files = Shown(&placement.left_behind.join(", ")).to_string();
            out += &format!("\n{}: files at earlier paths stay until you purge them: {files}\n", placement.placement);
        }
    }
    if !status.guests.is_empty() {
        out.push('\n');
        let link = |guest: &GuestStatus| match (guest.linked, guest.since) {
            (true, Some(since)) if look.width.is_none() => format!("linked since {since}"),
            (false, Some(since)) if look.width.is_none() => format!("away since {since}"),
            (true, Some(since)) => format!("linked for {}", relative::ago(since, look.now)),
            (false, Some(since)) => format!("away for {}", relative::ago(since, look.now)),
            (_, None) => "never linked".to_owned(),
        };
        let common = |guest: &GuestStatus| {
            (
                guest.guest.to_string(),
                guest.name.clone().unwrap_or_default(),
                guest.agent_version.clone().unwrap_or_default(),
            )
        };
        // Without Proxmox there is nothing to say of kinds and states.
        if status.guests.iter().any(|guest| guest.presence != Presence::default()) {
            let row = |guest: &GuestStatus| {
                let (number, name, agent) = common(guest);
                let kind = guest.presence.kind.map(|kind| kind.to_string()).unwrap_or_default();
                [number, name, kind, guest.presence.words(), agent, link(guest)]
            };
            let rows: Vec<_> = status.guests.iter().map(row).collect();
            out += &table(["GUEST", "NAME", "KIND", "STATE", "AGENT", "LINK"], &rows);
        } else {
            let row = |guest: &GuestStatus| {
                let (number, name, agent) = common(guest);
                [number, name, agent, link(guest)]
            };
            let rows: Vec<_> = status.guests.iter().map(row).collect();
            out += &table(["GUEST", "NAME", "AGENT", "LINK"], &rows);
        }
    }
    for guest in status.guests.iter().filter(|guest| guest.since.is_none()) {
        let remedy = if guest.presence.kind.is_some() {
            format!("run `pinion guest enroll {}`", guest.guest)
        } else {
            format!("run `pinion token create --guest {}` here and `pinion-agent join` there", guest.guest)
        };
        out += &format!("\nguest {} was never linked: {remedy}\n", guest.guest);
    }
    for guest in status.guests.iter().filter(|guest| guest.unlisted > 0) {
        out += &format!(
            "\nguest {0}: {1} more placements that the manifest does not name; `pinion show {0}` lists them\n",
            guest.guest, guest.unlisted
        );
    }
    out
}
