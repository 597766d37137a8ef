//! `pinion config check`.

use std::path::Path;

use pinion_proto::{daemon, errln, exit::Exit, failure::Failure, outln};
use tracing::Level;

use super::{print_failed, print_json};
use crate::config::check::{self, Report};

/// Says everything that is wrong with controller.toml. With `start` only what keeps the daemons from starting ends it
/// with 2: it is what their units do first.
pub(super) fn check(root: &Path, start: bool, json: bool) -> Exit {
    let report = check::check(root);
    let file = report.file.display();
    let broken = !report.problems.is_empty() || report.unreadable.is_some();
    let exit = if broken || (!start && !report.ok) { Exit::Usage } else { Exit::Reached };
    if json && exit == Exit::Reached {
        print_json(&report);
    } else if json {
        print_failed(&report, &failure(&report, broken));
    } else if report.ok && !start {
        outln!("{file}: good");
    }
    // The daemons' units do this first, and the journal tells errors from warnings.
    let (error, warning) = (daemon::prefix(Level::ERROR), daemon::prefix(Level::WARN));
    for problem in &report.problems {
        errln!("{error}{file}:{problem}");
    }
    if let Some(words) = &report.unreadable {
        errln!("{error}{words}");
    }
    for finding in &report.findings {
        match start {
            true => errln!("{warning}warning: {file}: {finding}"),
            false => errln!("{error}{file}: {finding}"),
        }
    }
    if broken {
        errln!("{error}{CORRECT}");
    }
    exit
}

/// What to do about mistakes.
const CORRECT: &str = "correct it; docs/reference/configuration.md describes every setting; a running daemon keeps the settings with \
    which it started";

/// What is wrong in one sentence; the report has every mistake.
fn failure(report: &Report, broken: bool) -> Failure {
    let (file, problems, findings) = (report.file.display(), &report.problems, &report.findings);
    let message = match &report.unreadable {
        Some(words) => words.clone(),
        None if broken => format!("{file} has mistakes: {}", problems.len()),
        None => format!("{file} has settings that do not fit this host: {}", findings.len()),
    };
    let cause = problems.iter().map(ToString::to_string).chain(findings.iter().map(ToString::to_string)).next();
    let failure = Failure::new(Exit::Usage, message).remedy(if broken { CORRECT } else { "correct it" });
    match cause {
        Some(first) => failure.cause(first),
        None => failure,
    }
}
