//! `pinion-agent status`.

use pinion_proto::exit::Exit;

use super::{
    ask::{answer, ask},
    print_json,
};
use crate::{
    config::Config,
    local::{Ask, GuestStatus},
};

/// Prints what the daemon says of this guest.
pub(super) async fn status(config: &Config, json: bool) -> Exit {
    let mut stream = match ask(config, &Ask::Status).await {
        Ok(stream) => stream,
        Err(exit) => return exit,
    };
    match answer(&mut stream).await {
        Ok(Some(status)) => {
            if json {
                print_json(&status);
            } else {
                print!("{}", table(&status));
            }
            Exit::Reached
        }
        Ok(None) => {
            eprintln!("pinion-agent: the daemon closed the connection without an answer");
            Exit::Unreachable
        }
        Err(error) => {
            eprintln!(
                "pinion-agent: cannot read the daemon's answer: {error}; does the daemon run another version? \
                (systemctl restart pinion-agent)"
            );
            Exit::Internal
        }
    }
}

fn table(status: &GuestStatus) -> String {
    let mut out = match (&status.guest, &status.identity_not_after) {
        (Some(guest), Some(until)) => format!("guest {guest}, identity valid until {until}\n"),
        _ => "guest without an identity\n".to_owned(),
    };
    out += &match (&status.link.controller, &status.link.error) {
        (Some(controller), _) => format!("linked to {controller} since {}\n", status.link.since),
        (None, Some(error)) => format!("not linked since {}: {error}\n", status.link.since),
        (None, None) => format!("not linked since {}\n", status.link.since),
    };
    for placement in &status.placements {
        let stage = if placement.retired { "retired" } else { placement.stage.as_str() };
        out += &format!("{:<20} {stage:<10}", placement.certificate.as_str());
        if let (Some(serial), Some(until)) = (&placement.serial, placement.not_after) {
            out += &format!(" serial {serial}, expires {until}");
        }
        out.push('\n');
        if let Some(trouble) = &placement.trouble {
            out += &format!("  {trouble}\n");
        }
        if let Some(warning) = &placement.warning {
            out += &format!("  warning: {warning}\n");
        }
    }
    if status.placements.is_empty() {
        out += "no placements\n";
    }
    out
}
