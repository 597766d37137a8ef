//! `pinion status --check`: one line and an exit code, for monitoring.

use pinion_proto::{
    exit::Exit,
    failure::Failure,
    outln,
    printable::line,
    stage::Halt,
    verdict::{Tally, Verdict},
};

use super::{Session, ask, documents::Checked, print_failed, print_json, unexpected};
use crate::{
    admin::protocol::{Answer, Ask, Selection, Status},
    manifest::first_problem,
};

/// The longest text of one problem (characters): a line of a monitoring system.
const MAX_PROBLEM: usize = 200;

/// Prints whether all is well.
pub(super) async fn check(session: &Session, selection: Selection) -> Result<Exit, Failure> {
    match ask(session, &Ask::Status(selection)).await? {
        Answer::Status(status) => {
            let (exit, text) = verdict(&status);
            let document = || Checked { exit: exit.code(), text: &text };
            match (session.json, exit) {
                (false, _) => outln!("{text}"),
                (true, Exit::Reached) => print_json(&document()),
                (true, _) => print_failed(&document(), &Failure::new(exit, &text)),
            }
            Ok(exit)
        }
        other => Err(unexpected(&other)),
    }
}

/// The worst that is true, and everything that is wrong in one line, the worst first.
pub(super) fn verdict(status: &Status) -> (Exit, String) {
    let mut tally = Tally::default();
    for placement in status.placements.iter().filter(|placement| placement.counts()) {
        tally.add(placement.verdict(), || placement.placement.clone());
    }
    let host = |halt| status.troubles.iter().filter(move |trouble| trouble.halt == halt);
    let exit = match tally.worst() {
        Verdict::Expired | Verdict::Blocked => Exit::Blocked,
        _ if host(Halt::Blocked).next().is_some() => Exit::Blocked,
        _ if status.manifest.problem.is_some() => Exit::Usage,
        Verdict::Waiting => Exit::TimedOut,
        Verdict::Good if host(Halt::Waiting).next().is_some() => Exit::TimedOut,
        Verdict::Good => Exit::Reached,
    };
    let mut parts = vec![tally.to_string()];
    let troubles = host(Halt::Blocked).chain(host(Halt::Waiting));
    parts.extend(troubles.map(|trouble| format!("host: {}", line(&trouble.to_string(), MAX_PROBLEM))));
    if let Some(problem) = &status.manifest.problem {
        let first = first_problem(problem);
        parts.push(format!("the manifest on disk is not in force: {}", line(first, MAX_PROBLEM)));
    }
    (exit, parts.join("; "))
}
