//! `pinion issuer check` and `pinion issuer root`.

use pinion_proto::{
    errln,
    exit::Exit,
    failure::Failure,
    length::Length,
    out,
    printable::Shown,
    stage::{Halt, Trouble},
};

use super::{Session, ask, print_json, unexpected};
use crate::admin::protocol::{Answer, Ask, IssuerReport};

/// Prints what each issuer says of itself. One that needs a person makes it 4, one that is away 3.
pub(super) async fn check(session: &Session) -> Result<Exit, Failure> {
    match ask(session, &Ask::Issuers).await? {
        Answer::Issuers(reports) => {
            if session.json {
                print_json(&reports);
            } else {
                for report in &reports {
                    out!("{}", words(report));
                }
            }
            Ok(verdict(reports.iter().map(|report| report.trouble.as_ref())))
        }
        other => Err(unexpected(&other)),
    }
}

/// Prints the roots of an issuer as PEM, and what they are beside that.
pub(super) async fn root(session: &Session, name: Option<String>) -> Result<Exit, Failure> {
    match ask(session, &Ask::IssuerRoots(name)).await? {
        Answer::IssuerRoots(reports) => {
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
            Ok(verdict(reports.iter().map(|report| report.trouble.as_ref())))
        }
        other => Err(unexpected(&other)),
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
    out += &format!("  kind         {}\n", check.kind);
    if let Some(address) = &check.address {
        out += &format!("  reached at   {address} in {}\n", Length(report.took));
    }
    if let Some(root) = check.root {
        out += &format!("  root         {root}\n");
    }
    if let Some(provisioner) = &check.provisioner {
        out += &format!("  provisioner  {provisioner}\n");
    }
    let durations = &check.durations;
    let (min, default, max) = (Length(durations.min), Length(durations.default), Length(durations.max));
    out += &format!("  durations    at least {min}, usually {default}, at most {max}\n");
    if let Some(seconds) = check.clock_difference {
        out += &format!("  clock        {seconds:+} s from this host's\n");
    }
    if let Some(asked) = check.shortened {
        out += &format!("  shortened    {} was asked for\n", Length(asked));
    }
    if check.revokes_replaced {
        out += "  replaced     certificates are revoked\n";
    }
    for warning in &check.warnings {
        out += &format!("  warning      {warning}\n");
    }
    out
}
