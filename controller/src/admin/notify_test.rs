//! `pinion notify test`, as the socket answers it.

use super::protocol::Answer;
use crate::notify::{NoTest, Notifier};

/// Tries the targets, or one of them.
pub(super) async fn test(notifier: &Notifier, target: Option<&str>) -> Answer {
    match notifier.test(target).await {
        Ok(tested) => Answer::Tested(tested),
        Err(NoTest::NoSuchTarget(known)) => {
            let target = pinion_proto::id::shown(target.unwrap_or_default());
            Answer::NoSuchName(format!("controller.toml has no target `{target}`; there are: {}", known.join(", ")))
        }
        Err(NoTest::NoTargets) => Answer::Refused(
            "the running controller has no targets: add a table [notify.targets.NAME] to controller.toml and restart it \
             (systemctl restart pinion)"
                .into(),
        ),
        Err(NoTest::Busy) => Answer::Refused("a test is under way: run this command again when it has ended".into()),
    }
}
