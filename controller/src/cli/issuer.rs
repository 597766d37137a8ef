//! `pinion issuer check` and `pinion issuer root`.

use pinion_proto::{
    errln,
    exit::Exit,
    out,
    printable::Shown,
    stage::{Halt, Trouble},
};

use super::{Session, ask, print_json, unexpected};
use crate::admin::protocol::{Answer, Ask, IssuerReport};

/// Prints what each issuer says of itself. One that needs a person makes it 4, one that is away 3.
pub(super) async fn check(session: &Session) -> Exit {
    match ask(session, &Ask::Issuers).await {
        Ok(Answer::Issuers(reports)) => {
            if session.json {
                print_json(&reports);
            } else {
                for report in &reports {
                    out!("{}", words(report));
                }
            }
            verdict(reports.iter().map(|report| report.trouble.as_ref()))
        }
        Ok(other) => unexpected(&other),
        Err(exit) => exit,
    }
}

/// Prints the roots of an issuer as PEM, and what they are beside that.
pub(super) async fn root(session: &Session, name: Option<String>) -> Exit {
    match ask(session, &Ask::IssuerRoots(name)).await {
        Ok(Answer::IssuerRoots(reports)) => {
            if session.json {
                print_json(&reports);
            }
            for report in &reports {
                if let Some(trouble) = &report.trouble {
                    errln!("pinion: {}: {trouble}", report.name);
                }
                for root in report.roots.iter().filter(|_| !session.json) {
                    let signing = if root.is_signing { "" } else { ", not the one that it signs under now" };
                    errln!(
                        "{}: {}, SHA-256 {}, valid until {}{signing}",
                        report.name,
                        Shown(&root.subject),
                        root.fingerprint,
                        root.not_after
                    );
                    out!("{}", root.pem);
                }
            }
            verdict(reports.iter().map(|report| report.trouble.as_ref()))
        }
        Ok(other) => unexpected(&other),
        Err(exit) => exit,
    }
}

fn verdict<'a>(troubles: impl Iterator<Item = Option<&'a Trouble>> + Clone) -> Exit {
    let has = |halt| troubles.clone().flatten().any(|trouble| trouble.halt == halt);
    if has(Halt::Blocked) {
        Exit::Blocked
    } else if has(Halt::Waiting) {
        Exit::TimedOut
    } else {
        Exit::Reached
    }
}

/// What people read of an issuer.
pub(super) fn words(report: &IssuerReport) -> String {
    let mut out = format!("{}\n", report.name);
    if let Some(trouble) = &report.trouble {
        out += &format!("  {trouble}\n");
    }
    let Some(check) = &report.check else { return out };
    let duration = |duration: std::time::Duration| {
        humantime::format_duration(std::time::Duration::from_secs(duration.as_secs())).to_string()
    };
    out += &format!("  kind         {}\n", check.kind);
    if let Some(address) = &check.address {
        out += &format!("  reached at   {address} in {} ms\n", report.took.as_millis());
    }
    if let Some(root) = check.root {
        out += &format!("  root         {root}\n");
    }
    if let Some(provisioner) = &check.provisioner {
        out += &format!("  provisioner  {provisioner}\n");
    }
    let durations = &check.durations;
    let (min, default, max) = (duration(durations.min), duration(durations.default), duration(durations.max));
    out += &format!("  durations    at least {min}, usually {default}, at most {max}\n");
    if let Some(seconds) = check.clock_difference {
        out += &format!("  clock        {seconds:+} s from this host's\n");
    }
    if let Some(asked) = check.shortened {
        out += &format!("  shortened    {} was asked for\n", duration(asked));
    }
    if check.revokes_replaced {
        out += "  replaced     certificates are revoked\n";
    }
    for warning in &check.warnings {
        out += &format!("  warning      {warning}\n");
    }
    out
}
