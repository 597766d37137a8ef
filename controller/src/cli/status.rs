//! `pinion status`.

use pinion_proto::{exit::Exit, printable::Shown};

use super::{Session, ask, print_json, table::table, unexpected};
use crate::admin::{
    presence::Presence,
    protocol::{Answer, Ask, GuestStatus, PlacementStatus, Selection, Status},
};

/// Prints how everything is.
pub(super) async fn status(session: &Session, selection: Selection) -> Exit {
    match ask(session, &Ask::Status(selection)).await {
        Ok(Answer::Status(status)) => {
            if session.json {
                print_json(&status);
            } else {
                print!("{}", words(&status));
            }
            Exit::Reached
        }
        Ok(other) => unexpected(&other),
        Err(exit) => exit,
    }
}

/// What people read of it.
pub(super) fn words(status: &Status) -> String {
    // What concerns everything comes before the many lines.
    let mut out = String::new();
    for note in &status.notes {
        out += &format!("note: {}\n\n", Shown(note));
    }
    for trouble in &status.troubles {
        out += &format!("host: {trouble}\n\n");
    }
    let rows: Vec<_> = status.placements.iter().map(row).collect();
    out += &table(["VALIDITY", "PLACEMENT", "STAGE", "EXPIRES", "RENEWS", "SERIAL", "NAMES"], &rows);
    for placement in &status.placements {
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
            (true, Some(since)) => format!("linked since {since}"),
            (false, Some(since)) => format!("away since {since}"),
            (_, None) if guest.presence.kind.is_some() => {
                format!("never linked: run `pinion guest enroll {}`", guest.guest)
            }
            (_, None) => "never linked: run `pinion token create` here and `pinion-agent join` there".into(),
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
    for guest in status.guests.iter().filter(|guest| guest.unlisted > 0) {
        out += &format!(
            "\nguest {0}: {1} more placements that the manifest does not name; `pinion show {0}` lists them\n",
            guest.guest, guest.unlisted
        );
    }
    out
}

fn row(placement: &PlacementStatus) -> [String; 7] {
    let stage = if placement.retired {
        "retired".to_owned()
    } else {
        match &placement.trouble {
            Some(trouble) => format!("{} ({})", placement.stage, trouble.halt),
            None if placement.names.is_some()
                && placement.goal < pinion_proto::stage::Stage::Served
                && placement.stage >= placement.goal =>
            {
                format!("{} (not probed)", placement.stage)
            }
            None if placement.frozen.is_some() => format!("{} (frozen)", placement.stage),
            None => placement.stage.to_string(),
        }
    };
    let names = placement.names.iter().flat_map(|names| names.iter()).map(|name| name.plain());
    let mut names: Vec<_> = names.collect();
    let more = names.len().saturating_sub(3);
    names.truncate(3);
    let mut names = names.join(", ");
    if placement.names.is_none() && !placement.retired {
        // Roots alone: the beginning of a fingerprint is enough to tell them.
        let roots: Vec<_> = placement.roots.iter().map(|root| format!("{:.16}…", root.to_string())).collect();
        names = format!("roots of {}: {}", placement.issuer, roots.join(", "));
    }
    if more > 0 {
        names += &format!(" and {more} more");
    }
    [
        placement.validity.map(|validity| validity.to_string()).unwrap_or_default(),
        placement.placement.clone(),
        stage,
        placement.not_after.map(|at| at.to_string()).unwrap_or_default(),
        placement.renew_at.map(|at| at.to_string()).unwrap_or_default(),
        placement.serial.clone().unwrap_or_default(),
        names,
    ]
}
