//! Who signs: asked by the controller or, while that does not answer, by this command.

use std::{path::Path, sync::Arc, time::Duration};

use pinion_proto::{
    clock::{Clock, Timestamp},
    length::Length,
    stage::Trouble,
};

use super::{
    answers::Answers,
    report::{Area, Findings},
};
use crate::{
    config::Config,
    issuer::{IssuerCheck, IssuerConfig},
};

const AREA: Area = Area::Issuers;

/// So long before its end an authority is to be replaced: what it signs ends with it.
const SOON: Duration = Duration::from_secs(30 * 24 * 60 * 60);

const DAY: u64 = 24 * 60 * 60;

/// From this difference of the clocks on, certificates may not be valid yet where they are used.
const MAX_DIFFERENCE: u64 = 60;

pub(super) async fn check(config: &Config, answers: &Answers, clock: &Arc<dyn Clock>, found: &mut Findings) {
    if let Some(reports) = &answers.issuers {
        for report in reports {
            match (&report.check, &report.trouble) {
                (Some(check), trouble) => {
                    is_good(check, clock.now(), found);
                    trouble.iter().for_each(|trouble| in_trouble(&report.name, trouble, found));
                }
                (None, Some(trouble)) => in_trouble(&report.name, trouble, found),
                (None, None) => {}
            }
        }
        return;
    }
    for (name, issuer) in &config.issuers {
        match ask(name, issuer, clock, &config.root).await {
            Ok(Some(check)) => is_good(&check, clock.now(), found),
            Ok(None) => found.skipped(AREA, format!("{name} is part of the controller, which does not answer.")),
            Err(trouble) => in_trouble(name.as_str(), &trouble, found),
        }
    }
}

async fn ask(
    name: &pinion_proto::spec::PlainName,
    issuer: &IssuerConfig,
    clock: &Arc<dyn Clock>,
    root: &Path,
) -> Result<Option<IssuerCheck>, Trouble> {
    issuer.check(name, None, clock.clone(), root).await.map_err(|error| error.trouble(format!("check {name}"), None))
}

fn in_trouble(name: &str, trouble: &Trouble, found: &mut Findings) {
    let remedy = match trouble.remedy.as_str() {
        "" => "look at the CA, and at the network between it and this host; `pinion issuer check` asks it again",
        remedy => remedy,
    };
    found.problem(AREA, format!("{name} cannot sign: {}: {}.", trouble.attempt, trouble.cause), remedy);
}

/// What an issuer that can sign says of itself.
fn is_good(check: &IssuerCheck, now: Timestamp, found: &mut Findings) {
    let name = &check.name;
    let address = check.address.as_ref().map(|address| format!(" at {address}")).unwrap_or_default();
    let root = check.root.map(|root| format!(" Its root's SHA-256 is {root}.")).unwrap_or_default();
    // Seconds say nothing about years.
    let max = Length(Duration::from_secs(match check.durations.max.as_secs() {
        max if max > DAY => max - max % DAY,
        max => max,
    }));
    found.good(AREA, format!("{name}{address} can sign, for {max} at most.{root}"));
    if let Some(ends) = check.authority_ends {
        if ends <= now + SOON {
            let remedy = "renew the CA's root or intermediate: docs/controller.md says how Pinion follows";
            found.problem(AREA, format!("{name}'s root or intermediate ends at {ends}."), remedy);
        } else {
            found.good(AREA, format!("{name}'s root and intermediates are valid until {ends}."));
        }
    }
    if let Some(difference) = check.clock_difference {
        let seconds = difference.unsigned_abs();
        if seconds > MAX_DIFFERENCE {
            let remedy = "synchronise both clocks, with chrony for example";
            let message = format!("{name}'s clock differs by {difference:+} s from this host's.");
            found.problem(AREA, message, remedy);
        } else {
            found.good(AREA, format!("{name}'s clock agrees with this host's ({difference:+} s)."));
        }
    }
    for warning in &check.warnings {
        found.note(AREA, format!("{name}: {warning}"), None);
    }
}

#[cfg(test)]
mod tests {
    use super::{super::report::Level, *};
    use crate::issuer::Durations;

    #[test]
    fn an_authority_that_ends_soon_and_a_clock_that_differs_need_a_person() {
        let now = Timestamp::from_unix(1_800_000_000);
        let day = Duration::from_secs(86_400);
        let check = |ends: Timestamp, difference| IssuerCheck {
            name: "ca".parse().expect("a name"),
            kind: "step-ca".into(),
            address: Some("https://10.0.0.3:9000".into()),
            root: None,
            provisioner: None,
            durations: Durations { min: day, default: day, max: day },
            authority_ends: Some(ends),
            clock_difference: Some(difference),
            shortened: None,
            revokes_replaced: false,
            warnings: vec!["it allows 1d only".into()],
        };
        let told = |check: IssuerCheck| {
            let mut found = Findings::default();
            is_good(&check, now, &mut found);
            found.0.iter().map(|finding| finding.level).collect::<Vec<_>>()
        };
        use Level::{Good, Note, Problem};
        assert_eq!(told(check(now + 31 * day, 60)), [Good, Good, Good, Note]);
        assert_eq!(told(check(now + 30 * day, -61)), [Good, Problem, Problem, Note]);
    }
}
