//! `pinion plan`.

use pinion_proto::exit::Exit;

use super::{Session, ask, print_json, table::table, unexpected};
use crate::admin::protocol::{Answer, Ask};

/// Prints what would be done now.
pub(super) async fn plan(session: &Session) -> Exit {
    match ask(session, &Ask::Plan).await {
        Ok(Answer::Plan(plan)) => {
            if session.json {
                print_json(&plan);
                return Exit::Reached;
            }
            let rows: Vec<_> = plan.steps.into_iter().map(|step| [step.placement, step.action, step.why]).collect();
            print!("{}", table(["PLACEMENT", "ACTION", "WHY"], &rows));
            for note in plan.notes {
                println!("note: {note}");
            }
            if let Some(at) = plan.wake_at {
                println!("next scheduled change: {at}");
            }
            Exit::Reached
        }
        Ok(other) => unexpected(&other),
        Err(exit) => exit,
    }
}
