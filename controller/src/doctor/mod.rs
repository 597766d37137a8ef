//! What is wrong with this installation, and what to do about it: everything that a support person would ask.
//!
//! Answers: is all that Pinion needs there, as it should be, on this host and (as far as agents told the controller) in
//! guests?
//! Invariant: nothing is changed, and no secret is read or shown. Root looks at what belongs to another user by name only
//! (lstat), and opens nothing there. What cannot be looked at is told as such, and is no finding.

mod answers;
mod clock;
mod disk;
mod files;
mod guests;
mod host;
mod issuers;
mod network;
mod proxmox;
mod report;
#[cfg(test)]
mod tests;
mod units;

use std::{path::Path, sync::Arc};

use pinion_proto::clock::Clock;

pub(crate) use answers::Answers;
use report::{Area, Findings};
pub(crate) use report::{Level, Report};

use crate::config::{self, Config, ConfigError};

/// Looks at everything on this host whose `/` is `root`; `answers` is what the controller said.
pub(crate) async fn examine(
    root: &Path,
    config: &Result<Config, ConfigError>,
    answers: &Answers,
    clock: &Arc<dyn Clock>,
) -> Report {
    let mut found = Findings::default();
    configuration(root, &mut found);
    files::check(root, config.as_ref().ok(), answers.status.is_ok(), &mut found);
    disk::check(root, &mut found);
    units::check(root, answers, &mut found).await;
    host::versions(root, answers, &mut found).await;
    clock::check(root, &mut found).await;
    if let Ok(config) = config {
        if let Some(proxmox) = &config.proxmox {
            proxmox::check(config, proxmox, &mut found);
        }
        network::check(root, config, answers.status.is_ok(), &mut found).await;
        issuers::check(config, answers, clock, &mut found).await;
    }
    answers::check(answers, clock.now(), &mut found);
    guests::check(answers.guests.as_deref().unwrap_or_default(), &mut found);
    found.report()
}

/// What controller.toml and the manifest say, and whether that fits this host.
fn configuration(root: &Path, found: &mut Findings) {
    const AREA: Area = Area::Configuration;
    let report = config::check::check(root);
    let file = report.file.display();
    for problem in &report.problems {
        found.problem(
            AREA,
            format!("{file}:{problem}"),
            "correct it: docs/reference/configuration.md has every setting",
        );
    }
    if let Some(why) = &report.unreadable {
        found.problem(AREA, why.clone(), "make it a file that root may read, or restore it from a backup");
    }
    for finding in &report.findings {
        found.problem(AREA, format!("{file}: {finding}"), "correct it; `pinion config check` looks again");
    }
    match report.ok {
        true if report.file.exists() => found.good(AREA, format!("{file} has no mistakes and fits this host.")),
        true => {
            found.note(AREA, format!("There is no {file}: every default applies."), "run `pinion setup`".to_owned())
        }
        false => {}
    }
}
