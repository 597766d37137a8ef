//! `pinion-agent status`.

use std::cmp::Reverse;

use pinion_proto::{
    clock::Timestamp,
    exit::Exit,
    failure::Failure,
    names::{SubjectName, SubjectNames},
    out, relative,
    stage::Validity,
    table::{self, Look, Row},
    verdict::Verdict,
};

use super::{
    ask::{answer, ask},
    documents::StatusDocument,
    print_json,
};
use crate::{
    config::Config,
    local::{LocalAsk, LocalPlacement, LocalStatus},
};

/// The columns that are cut, names and then certificates, and how narrow they become.
const NARROWEST: [(usize, usize); 2] = [(4, 10), (1, 14)];

/// Prints what the daemon says of this guest.
pub(super) async fn status(config: &Config, json: bool) -> Result<Exit, Failure> {
    let mut stream = ask(config, &LocalAsk::Status).await?;
    match answer(&mut stream).await {
        Ok(Some(status)) => {
            let look = Look::of_stdout(false);
            if json {
                print_json(&StatusDocument::new(&status, |placement| validity(placement, look.now)));
            } else {
                out!("{}", words(&status, look));
            }
            Ok(Exit::Reached)
        }
        Ok(None) => Err(Failure::new(Exit::Unreachable, "the agent's daemon stopped before it answered")
            .remedy("run the command again when it is back")),
        Err(error) => Err(Failure::new(Exit::Internal, "cannot read the daemon's answer")
            .cause(error)
            .remedy("if it runs another version, restart it (systemctl restart pinion-agent)")),
    }
}

/// How good the certificate is that is here; none where there is none.
fn validity(placement: &LocalPlacement, now: Timestamp) -> Option<Validity> {
    // Which renewal is due is the controller's to say: here, one is late that is held up after it was ordered.
    let is_late = placement.renewing && placement.trouble.is_some();
    placement.not_after.map(|not_after| Validity::at(now, not_after, is_late))
}

fn verdict(placement: &LocalPlacement, now: Timestamp) -> Verdict {
    // As `systemctl status pinion-agent` counts them.
    Verdict::of(validity(placement, now), placement.trouble.as_ref().map(|trouble| trouble.halt), true)
}

fn words(status: &LocalStatus, look: Look) -> String {
    let mut out = match (&status.guest, &status.identity_not_after) {
        (Some(guest), Some(until)) => format!("guest {guest}, identity valid until {until}\n"),
        _ => "guest without an identity\n".to_owned(),
    };
    out += &match (&status.link.controller, &status.link.error) {
        (Some(controller), _) => format!("linked to {controller} since {}\n", status.link.since),
        (None, Some(error)) => format!("not linked since {}: {error}\n", status.link.since),
        (None, None) => format!("not linked since {}\n", status.link.since),
    };
    if status.placements.is_empty() {
        return out + "no placements\n";
    }
    let mut placements: Vec<_> = status.placements.iter().collect();
    // Stable: what is alike stays in the order of the names.
    placements.sort_by_key(|one| (one.retired, Reverse((verdict(one, look.now), validity(one, look.now)))));
    out.push('\n');
    out += &table(&placements, look);
    for placement in placements {
        if let Some(trouble) = &placement.trouble {
            out += &format!("\n{}: {trouble}\n", placement.certificate);
        }
        if let Some(warning) = &placement.warning {
            out += &format!("\n{}: warning: {warning}\n", placement.certificate);
        }
    }
    out
}

fn table(placements: &[&LocalPlacement], look: Look) -> String {
    let row = |placement: &&LocalPlacement| {
        let stage = match (&placement.trouble, placement.retired) {
            (_, true) => "retired".to_owned(),
            (Some(trouble), _) => format!("{} ({})", placement.stage, trouble.halt),
            (None, _) => placement.stage.to_string(),
        };
        let names: Vec<_> = placement.names.iter().flat_map(SubjectNames::iter).map(SubjectName::plain).collect();
        let names = match names.as_slice() {
            [first, rest @ ..] if !rest.is_empty() => format!("{first} +{}", rest.len()),
            names => names.concat(),
        };
        Row {
            cells: vec![
                validity(placement, look.now).map(|validity| validity.to_string()).unwrap_or_default(),
                placement.certificate.to_string(),
                stage,
                placement.not_after.map(|at| relative::from_now(at, look.now)).unwrap_or_default(),
                names,
            ],
            verdict: (!placement.retired).then(|| verdict(placement, look.now)),
        }
    };
    let rows: Vec<_> = placements.iter().map(row).collect();
    table::table(&["VALIDITY", "CERTIFICATE", "STAGE", "EXPIRES", "NAMES"], &rows, &NARROWEST, look)
}

#[cfg(test)]
mod tests {
    use pinion_proto::stage::{Halt, Stage, Trouble};

    use super::*;
    use crate::link::LinkStatus;

    const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

    const LOOK: Look = Look { now: NOW, width: Some(80), is_coloured: false };

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

    fn placement(certificate: &str, days: i64, halt: Option<Halt>) -> LocalPlacement {
        LocalPlacement {
            certificate: certificate.parse().expect("a name"),
            stage: Stage::Served,
            goal: Stage::Served,
            generation: Some(3),
            serial: Some("0A".into()),
            names: Some(serde_json::from_value(serde_json::json!([format!("{certificate}.lan")])).expect("names")),
            not_after: Some(Timestamp::from_unix(NOW.unix() + days * 86_400)),
            trouble: halt.map(|halt| Trouble {
                halt,
                attempt: "reload".into(),
                cause: "exit 1".into(),
                remedy: "look".into(),
                retry_at: None,
            }),
            warning: None,
            retired: false,
            renewing: halt == Some(Halt::Waiting),
            looked: None,
        }
    }

    #[test]
    fn a_guest_that_has_not_joined_says_so() {
        let mut status = status();
        let since = Timestamp::from_unix(0);
        assert_eq!(
            words(&status, LOOK),
            format!("guest without an identity\nnot linked since {since}\nno placements\n")
        );
        status.link.error = Some("connection refused".into());
        assert!(words(&status, LOOK).contains(&format!("not linked since {since}: connection refused\n")));
    }

    #[test]
    fn the_worst_come_first_in_80_columns_and_what_is_wrong_is_below_the_table() {
        let (since, until) = (Timestamp::from_unix(0), Timestamp::from_unix(1_800_000_000));
        let mut status = status();
        (status.guest, status.identity_not_after) = (Some("101".parse().expect("a guest")), Some(until));
        (status.link.linked, status.link.controller) = (true, Some("10.0.0.13:7443".parse().expect("an address")));
        let (mut old, mut long) = (placement("old", 29, None), placement(&"long".repeat(15), 29, None));
        old.retired = true;
        long.names = Some(serde_json::from_value(serde_json::json!(["a.lan", "b.lan"])).expect("names"));
        status.placements = vec![
            old,
            long,
            placement("docker", 29, Some(Halt::Blocked)),
            placement("late", 5, Some(Halt::Waiting)),
            placement("over", -1, None),
        ];
        status.placements[2].warning = Some("not allowed any more".into());
        let text = words(&status, LOOK);
        assert_eq!(
            text,
            format!(
                "guest 101, identity valid until {until}\nlinked to 10.0.0.13:7443 since {since}\n\n\
                 VALIDITY  CERTIFICATE                      STAGE             EXPIRES  NAMES\n\
                 expired   over                             served            24h ago  over.lan\n\
                 ok        docker                           served (blocked)  in 29d   docker.lan\n\
                 expiring  late                             served (waiting)  in 5d    late.lan\n\
                 ok        longlonglonglonglonglonglonglo…  served            in 29d   a.lan +1\n\
                 ok        old                              retired           in 29d   old.lan\n\n\
                 docker: blocked: reload: exit 1; look\n\ndocker: warning: not allowed any more\n\n\
                 late: waiting: reload: exit 1; look\n"
            )
        );
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        let document = serde_json::to_value(StatusDocument::new(&status, |placement| validity(placement, NOW)));
        let document = document.expect("JSON");
        let words: Vec<_> =
            document["placements"].as_array().expect("a list").iter().map(|one| &one["validity"]).collect();
        assert_eq!(words, ["ok", "ok", "ok", "expiring", "expired"]);
        assert_eq!(document["placements"][4]["serial"], "0A");
    }
}
