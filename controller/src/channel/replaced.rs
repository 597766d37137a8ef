//! In which guests was the agent replaced a moment ago?
//!
//! Invariant: a former agent is put back only where this process itself has just replaced it. Its file stays in the guest
//! for good, and whoever could always ask for it could go back behind today's limits.

use std::{
    collections::HashMap,
    sync::Mutex,
    time::{Duration, Instant},
};

use pinion_proto::lock::lock;

use super::protocol::{Cause, Failure, Target};

/// Until a controller knows whether a new agent links and proves itself: minutes, its tries after failures included.
pub(super) const GOES_BACK: Duration = Duration::from_secs(30 * 60);

/// The guests, in memory only: after a restart nothing is put back.
#[derive(Debug, Default)]
pub(super) struct Replaced(Mutex<HashMap<Target, Instant>>);

impl Replaced {
    /// The agent of this guest is being replaced.
    pub(super) fn note(&self, guest: Target, now: Instant) {
        let mut replaced = lock(&self.0);
        replaced.retain(|_, at| now.saturating_duration_since(*at) < GOES_BACK);
        replaced.insert(guest, now);
    }

    /// Whether its former agent may be put back.
    pub(super) fn check(&self, guest: Target, now: Instant) -> Result<(), Failure> {
        let replaced = lock(&self.0);
        match replaced.get(&guest) {
            Some(at) if now.saturating_duration_since(*at) < GOES_BACK => Ok(()),
            _ => {
                let text = format!(
                    "the earlier agent is restored only within {} minutes after this process has replaced it, which \
                     it has not done in {guest}: to run another version there, install that version's package",
                    GOES_BACK.as_secs() / 60
                );
                Err(Failure::new(Cause::Refused, text))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use pinion_proto::id::Vmid;

    use super::*;
    use crate::inventory::GuestKind;

    #[test]
    fn an_agent_is_put_back_only_soon_after_it_was_replaced() {
        let guest = |number| Target { vmid: Vmid::try_from(number).expect("a VMID"), kind: GuestKind::Lxc };
        let (replaced, now) = (Replaced::default(), Instant::now());
        replaced.check(guest(101), now).expect_err("never replaced");
        replaced.note(guest(101), now);
        replaced.check(guest(101), now + GOES_BACK / 2).expect("a moment ago");
        replaced.check(guest(102), now).expect_err("another guest");
        let refused = replaced.check(guest(101), now + GOES_BACK).expect_err("too late");
        assert!(refused.cause == Cause::Refused && refused.text.contains("30 minutes"), "{refused}");
    }
}
