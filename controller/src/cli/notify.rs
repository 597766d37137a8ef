//! `pinion notify`.

use clap::Subcommand;
use pinion_proto::{exit::Exit, failure::Failure, length::Length, outln, printable::Shown, stage::Halt};

use super::{Session, ask, documents::NotifyTest, print_failed, print_json, unexpected};
use crate::{
    admin::protocol::{Answer, Ask},
    notify::Tested,
};

#[derive(Debug, Subcommand)]
pub(super) enum NotifyVerb {
    /// Send a test message to every target of alarms, or to one, and print whether it took it.
    ///
    /// The running controller sends it, as it sends alarms. Exits with 4 if a target needs you, for example because it refuses
    /// the message, with 3 if one cannot be reached or is too slow, and with 6 if there is no such target.
    #[command(after_long_help = "Examples:\n  pinion notify test\n  pinion notify test phone")]
    Test {
        /// The target, as controller.toml names it.
        #[arg(value_name = "TARGET")]
        target: Option<String>,
    },
}

/// Tries targets.
pub(super) async fn run(session: &Session, verb: NotifyVerb) -> Result<Exit, Failure> {
    let NotifyVerb::Test { target } = verb;
    let targets = match ask(session, &Ask::NotifyTest(target)).await? {
        Answer::Tested(targets) => targets,
        other => return Err(unexpected(&other)),
    };
    let exit = exit(&targets);
    if !session.json {
        targets.iter().for_each(|tested| outln!("{}", words(tested)));
    } else if exit == Exit::Reached {
        print_json(&NotifyTest { exit: exit.code(), targets: &targets });
    } else {
        let failed = targets.iter().filter(|tested| tested.trouble.is_some()).count();
        let message = format!("{failed} of {} targets did not take the message", targets.len());
        print_failed(&NotifyTest { exit: exit.code(), targets: &targets }, &Failure::new(exit, message));
    }
    Ok(exit)
}

/// By the worst of them.
fn exit(targets: &[Tested]) -> Exit {
    match targets.iter().filter_map(|tested| tested.trouble.as_ref()).map(|trouble| trouble.halt).max() {
        None => Exit::Reached,
        Some(Halt::Waiting) => Exit::TimedOut,
        Some(Halt::Blocked) => Exit::Blocked,
    }
}

fn words(tested: &Tested) -> String {
    let Tested { target, kind, place, trouble, took } = tested;
    let place = Shown(place);
    match trouble {
        None => format!("{target}: good: sent by {kind} to {place} in {}", Length(*took)),
        Some(trouble) => format!("{target}: {trouble}"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pinion_proto::stage::Trouble;

    use super::*;

    #[test]
    fn the_worst_target_decides() {
        let tested = |halt: Option<Halt>| Tested {
            target: "phone".into(),
            kind: "webhook".into(),
            place: "https://ntfy.sh".into(),
            trouble: halt.map(|halt| Trouble {
                halt,
                attempt: "send it".into(),
                cause: "refused".into(),
                remedy: String::new(),
                retry_at: None,
            }),
            took: Duration::from_millis(12),
        };
        let (good, waits, blocked) = (tested(None), tested(Some(Halt::Waiting)), tested(Some(Halt::Blocked)));
        assert_eq!(words(&good), "phone: good: sent by webhook to https://ntfy.sh in 12ms");
        assert_eq!(words(&waits), "phone: waiting: send it: refused");
        assert_eq!(exit(&[good.clone(), waits.clone(), blocked]), Exit::Blocked);
        assert_eq!((exit(&[waits, good.clone()]), exit(&[good])), (Exit::TimedOut, Exit::Reached));
    }
}
