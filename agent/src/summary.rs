//! How this guest is, in one line, for `systemctl status pinion-agent`.

use std::time::Duration;

use pinion_proto::{
    clock::{Clock, Timestamp},
    daemon,
    report::PlacementReport,
    spec::PlacementSpec,
    stage::Validity,
    verdict::{Tally, Verdict},
};
use tokio::sync::watch;

use crate::{apply::Placements, link::LinkStatus};

/// Tells systemd how this guest is, now and at each change, until everything else has ended.
pub async fn keep(placements: &Placements, mut link: watch::Receiver<LinkStatus>, clock: &dyn Clock) {
    let (mut reports, mut specs) = (placements.reports(), placements.specs());
    let mut told = String::new();
    loop {
        let (line, next) = {
            let (reports, specs) = (reports.borrow_and_update().clone(), specs.borrow_and_update().clone());
            let now = clock.now();
            let placements = reports.iter().map(|(name, report)| (report, specs.get(name)));
            (line(placements, &link.borrow_and_update(), now), next_end(reports.values(), now))
        };
        if line != told {
            daemon::status(&line);
            told = line;
        }
        let changed = tokio::select! {
            changed = reports.changed() => changed,
            changed = specs.changed() => changed,
            changed = link.changed() => changed,
            () = until(next, clock) => Ok(()),
        };
        if changed.is_err() {
            // The agent stops, and says so itself.
            return std::future::pending().await;
        }
    }
}

/// When time alone changes what is said: a certificate is over after the second in which it ends.
fn next_end<'a>(reports: impl Iterator<Item = &'a PlacementReport>, now: Timestamp) -> Option<Timestamp> {
    reports.filter_map(PlacementReport::expires).map(|end| end + SECOND).filter(|end| *end > now).min()
}

const SECOND: Duration = Duration::from_secs(1);

async fn until(moment: Option<Timestamp>, clock: &dyn Clock) {
    match moment {
        Some(moment) => clock.sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

fn line<'a>(
    placements: impl Iterator<Item = (&'a PlacementReport, Option<&'a PlacementSpec>)>,
    link: &LinkStatus,
    now: Timestamp,
) -> String {
    let mut tally = Tally::default();
    for (report, spec) in placements.filter(|(report, _)| !report.retired) {
        let validity = report.expires().map(|end| Validity::at(now, end, false));
        let trouble = report.trouble.as_ref().or_else(|| spec?.trouble.as_ref());
        // Whether something is due is the controller's to say: here, whatever is held up counts.
        tally.add(Verdict::of(validity, trouble.map(|trouble| trouble.halt), true), || report.certificate.to_string());
    }
    match link.controller {
        Some(controller) => format!("{tally}; linked to {controller}"),
        None => format!("{tally}; not linked"),
    }
}

#[cfg(test)]
mod tests {
    use pinion_proto::stage::{Halt, Trouble};

    use super::*;

    #[test]
    fn a_guest_says_what_is_held_up_and_whether_it_is_linked() {
        let report = |name: &str, halt: Option<Halt>| PlacementReport {
            trouble: halt.map(|halt| Trouble {
                halt,
                attempt: "reload".into(),
                cause: "exit 1".into(),
                remedy: String::new(),
                retry_at: None,
            }),
            ..PlacementReport::nothing(name.parse().expect("a name"))
        };
        let retired = PlacementReport { retired: true, ..report("old", Some(Halt::Blocked)) };
        let all =
            [report("web", None), report("mail", Some(Halt::Blocked)), report("db", Some(Halt::Waiting)), retired];
        let now = Timestamp::from_unix(1_800_000_000);
        let mut link = LinkStatus {
            linked: false,
            since: now,
            controller: None,
            error: None,
            informed: false,
            manifest_problem: None,
        };
        let said = |link: &LinkStatus| line(all.iter().map(|report| (report, None)), link, now);
        assert_eq!(said(&link), "1 blocked (mail), 1 waiting (db), 1 of 3 placements good; not linked");
        link.controller = Some("10.0.0.13:7443".parse().expect("an address"));
        assert!(said(&link).ends_with("; linked to 10.0.0.13:7443"), "{}", said(&link));
    }
}
