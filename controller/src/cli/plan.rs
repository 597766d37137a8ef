//! `pinion plan`.

use std::path::Path;

use pinion_proto::{exit::Exit, failure::Failure, out, outln};

use super::{Session, ask, print_json, table::table, unexpected};
use crate::{
    admin::protocol::{Answer, Ask},
    manifest::{
        file::{self, Loaded},
        source::FileError,
    },
};

/// Prints what would be done now, or with the manifest in a file.
pub(super) async fn plan(session: &Session, file: Option<&Path>) -> Result<Exit, Failure> {
    let question = match file.map(of) {
        None => Ask::Plan,
        Some(question) => question.map_err(|error| Failure::of(Exit::Usage, &error))?,
    };
    match ask(session, &question).await? {
        Answer::Plan(plan) => {
            if session.json {
                print_json(&plan);
                return Ok(Exit::Reached);
            }
            let rows: Vec<_> = plan.steps.into_iter().map(|step| [step.placement, step.action, step.why]).collect();
            out!("{}", table(["PLACEMENT", "ACTION", "WHY"], &rows));
            for warning in plan.warnings {
                outln!("warning: {warning}");
            }
            for note in plan.notes {
                outln!("note: {note}");
            }
            if let Some(at) = plan.wake_at {
                outln!("next scheduled change: {at}");
            }
            Ok(Exit::Reached)
        }
        other => Err(unexpected(&other)),
    }
}

/// The question about a manifest that is good as far as can be told here.
fn of(path: &Path) -> Result<Ask, FileError> {
    file::load(path).map(|Loaded { text, .. }| Ask::PlanOf(text))
}
