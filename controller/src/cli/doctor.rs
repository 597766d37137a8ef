//! `pinion doctor`.

use std::{path::Path, sync::Arc};

use pinion_proto::{
    clock::{Clock, SystemClock},
    examination::Subject,
    exit::Exit,
    failure::Failure,
    out,
    printable::Shown,
    table::Look,
};

use super::{Session, ask, examination::ask_guests, print_failed, print_json, unexpected, wrap::wrap};
use crate::{
    admin::protocol::{Answer, Ask, Selection},
    config::{self, Config},
    doctor::{Answers, Level, Report, examine},
};

/// The widest lines that are still easy to read.
const MAX_WIDTH: usize = 100;

/// Where a finding's words begin.
const INDENT: usize = 11;

/// Looks at everything, and prints it. What needs a person makes it 4.
pub(super) async fn doctor(root: &Path, json: bool) -> Exit {
    let report = report(root).await;
    let exit = if report.ok { Exit::Reached } else { Exit::Blocked };
    match (json, exit) {
        (true, Exit::Reached) => print_json(&report),
        (true, _) => print_failed(&report, &Failure::new(exit, verdict(&report))),
        (false, _) => out!("{}", words(&report, Look::of_stdout(false))),
    }
    exit
}

/// Looks at everything.
pub(super) async fn report(root: &Path) -> Report {
    let config = Config::load(root);
    let answers = match &config {
        Ok(config) => answers(&Session { config: config.clone(), json: false }).await,
        Err(error) => Answers { status: Err(unreadable(root, error)), issuers: None, identities: None, guests: None },
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    examine(root, &config, &answers, &clock).await
}

fn unreadable(root: &Path, error: &config::ConfigError) -> Failure {
    let what = format!("the controller cannot be asked while {} is wrong", config::path(root).display());
    let failure = Failure::new(Exit::Usage, what);
    // The configuration's own findings have the mistakes.
    if matches!(error, config::ConfigError::Wrong { .. }) { failure } else { failure.cause(error) }
}

async fn answers(session: &Session) -> Answers {
    let status = match ask(session, &Ask::Status(Selection::default())).await {
        Ok(Answer::Status(status)) => Ok(status),
        Ok(other) => Err(unexpected(&other)),
        Err(failure) => Err(failure),
    };
    if status.is_err() {
        return Answers { status, issuers: None, identities: None, guests: None };
    }
    let issuers = match ask(session, &Ask::Issuers).await {
        Ok(Answer::Issuers(issuers)) => Some(issuers),
        _ => None,
    };
    let identities = match ask(session, &Ask::Guests).await {
        Ok(Answer::Guests(identities)) => Some(identities),
        _ => None,
    };
    // What guests see is for administrators and others alike; one that does not answer is told as that.
    let guests = ask_guests(session, Vec::new(), Subject::Doctor).await.ok();
    Answers { status, issuers, identities, guests }
}

/// What people read of it.
pub(super) fn words(report: &Report, look: Look) -> String {
    let width = look.width.unwrap_or(MAX_WIDTH).min(MAX_WIDTH);
    let mut out = String::new();
    let mut area = None;
    for finding in &report.findings {
        if area != Some(finding.area) {
            let heading = serde_json::to_value(finding.area).ok();
            let heading = heading.as_ref().and_then(|heading| heading.as_str()).unwrap_or_default();
            out += &format!("{}{heading}\n", if area.is_some() { "\n" } else { "" });
            area = Some(finding.area);
        }
        let (word, colour) = level(finding.level);
        let word = format!("{word:<9}");
        let word = if look.is_coloured && !colour.is_empty() { format!("{colour}{word}\x1b[0m") } else { word };
        out += &format!("  {word}{}\n", indented(&finding.message, width));
        if let Some(remedy) = &finding.remedy {
            out += &format!("{:INDENT$}{}\n", "", indented(&format!("→ {remedy}"), width));
        }
    }
    out += &format!("\n{}\n", verdict(report));
    out
}

fn indented(text: &str, width: usize) -> String {
    let text = wrap(&Shown(text).to_string(), width.saturating_sub(INDENT), 0);
    text.replace('\n', &format!("\n{:INDENT$}", ""))
}

fn level(level: Level) -> (&'static str, &'static str) {
    match level {
        Level::Good => ("ok", ""),
        Level::Skipped => ("skipped", ""),
        Level::Note => ("note", "\x1b[33m"),
        Level::Problem => ("problem", "\x1b[31m"),
    }
}

/// How many things need a person, in one line.
fn verdict(report: &Report) -> String {
    let count = |level| report.findings.iter().filter(|finding| finding.level == level).count();
    let rest = match (count(Level::Note), count(Level::Skipped)) {
        (0, 0) => String::new(),
        (notes, 0) => format!("; {notes} notes"),
        (0, skipped) => format!("; {skipped} not looked at"),
        (notes, skipped) => format!("; {notes} notes, {skipped} not looked at"),
    };
    match count(Level::Problem) {
        0 => format!("nothing needs you{rest}"),
        1 => format!("1 problem needs you{rest}"),
        problems => format!("{problems} problems need you{rest}"),
    }
}
