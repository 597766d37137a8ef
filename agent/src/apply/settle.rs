//! What a service shows once it had the time to come to what it was notified of.

use std::time::Duration;

use pinion_proto::bundle::Leaf;
use tokio::time::{Instant, sleep};

use super::{failure::Interrupt, switch::FileSwitch};
use crate::{
    probe::{self, Seen},
    recipe::ProbeTarget,
};

/// How long it is looked whether a service is there at all, before it is given new files.
pub(super) const GLANCE: Duration = Duration::from_secs(1);

/// Polling for the new leaf begins so densely, because nginx has it within milliseconds, and thins out.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// What a service shows when it had the time to come to what it was notified of.
pub(super) async fn settle(switch: &FileSwitch, target: &ProbeTarget, leaf: &Leaf) -> Result<Seen, Interrupt> {
    let deadline = Instant::now() + target.settle;
    let mut pause = FIRST_PAUSE;
    loop {
        let seen = switch.unless_stopped(probe::look(target, leaf, probe::PATIENCE.min(target.settle))).await?;
        if matches!(seen, Seen::Served | Seen::NotAllowed) || Instant::now() >= deadline {
            return Ok(seen);
        }
        switch.unless_stopped(sleep(pause.min(deadline.saturating_duration_since(Instant::now())))).await?;
        pause = (pause * 2).min(MAX_PAUSE);
    }
}
