//! `pinion-agent status`.

use pinion_proto::{errln, exit::Exit, out};

use super::{
    ask::{answer, ask},
    print_json,
};
use crate::{
    config::Config,
    local::{LocalAsk, LocalStatus},
};

/// Prints what the daemon says of this guest.
pub(super) async fn status(config: &Config, json: bool) -> Exit {
    let mut stream = match ask(config, &LocalAsk::Status).await {
        Ok(stream) => stream,
        Err(exit) => return exit,
    };
    match answer(&mut stream).await {
        Ok(Some(status)) => {
            if json {
                print_json(&status);
            } else {
                out!("{}", table(&status));
            }
            Exit::Reached
        }
        Ok(None) => {
            errln!("pinion-agent: the daemon closed the connection without an answer");
            Exit::Unreachable
        }
        Err(error) => {
            errln!(
                "pinion-agent: cannot read the daemon's answer: {error}; does the daemon run another version? \
                (systemctl restart pinion-agent)"
            );
            Exit::Internal
        }
    }
}

fn table(status: &LocalStatus) -> String {
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

#[cfg(test)]
mod tests {
    use pinion_proto::{
        clock::Timestamp,
        stage::{Halt, Stage, Trouble},
    };

    use super::*;
    use crate::{link::LinkStatus, local::LocalPlacement};

    fn status() -> LocalStatus {
        LocalStatus {
            version: "0".into(),
            guest: None,
            identity_not_after: None,
            link: LinkStatus {
                linked: false,
                since: Timestamp::from_unix(0),
                controller: None,
                error: None,
                informed: false,
                manifest_problem: None,
            },
            placements: Vec::new(),
        }
    }

    #[test]
    fn a_guest_that_has_not_joined_says_so() {
        let mut status = status();
        let since = Timestamp::from_unix(0);
        assert_eq!(table(&status), format!("guest without an identity\nnot linked since {since}\nno placements\n"));
        status.link.error = Some("connection refused".into());
        assert!(table(&status).contains(&format!("not linked since {since}: connection refused\n")));
    }

    #[test]
    fn a_placement_has_a_line_and_what_is_wrong_is_below_it() {
        let (since, until) = (Timestamp::from_unix(0), Timestamp::from_unix(1_800_000_000));
        let mut status = status();
        (status.guest, status.identity_not_after) = (Some("101".parse().expect("a guest")), Some(until));
        (status.link.linked, status.link.controller) = (true, Some("10.0.0.13:7443".parse().expect("an address")));
        let mut docker = LocalPlacement {
            certificate: "docker".parse().expect("a name"),
            stage: Stage::Served,
            goal: Stage::Served,
            generation: Some(3),
            serial: Some("0A".into()),
            names: None,
            not_after: Some(until),
            trouble: Some(Trouble {
                halt: Halt::Blocked,
                attempt: "reload".into(),
                cause: "exit 1".into(),
                remedy: "look".into(),
                retry_at: None,
            }),
            warning: Some("not allowed any more".into()),
            retired: false,
            renewing: false,
            looked: None,
        };
        status.placements.push(docker.clone());
        (docker.retired, docker.trouble, docker.warning, docker.serial) = (true, None, None, None);
        status.placements.push(docker);
        assert_eq!(
            table(&status),
            format!(
                "guest 101, identity valid until {until}\nlinked to 10.0.0.13:7443 since {since}\n\
                 docker               served     serial 0A, expires {until}\n  blocked: reload: exit 1; look\n  \
                 warning: not allowed any more\ndocker               retired   \n"
            )
        );
    }
}
