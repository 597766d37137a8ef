//! When everything in place is looked at again: all of it at the same moment, so that the agent wakes once for all of it.
//!
//! Invariant: guests that started at the same moment look at different moments, by their machine ids; nothing waits for longer
//! than the configured time.

use std::time::Duration;

use pinion_proto::spread;
use tokio::time::Instant;

/// The moments at which a guest looks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rhythm {
    first: Instant,
    every: Duration,
}

impl Rhythm {
    /// So often, beginning at a moment that depends on the machine.
    pub(super) fn new(machine: &str, every: Duration) -> Self {
        Self { first: Instant::now() + spread::duration(machine.bytes(), every), every }
    }

    /// The next moment after this one.
    pub(super) fn after(self, instant: Instant) -> Instant {
        let every = self.every.as_nanos().max(1);
        let left = match instant.checked_duration_since(self.first) {
            Some(since) => every - since.as_nanos() % every,
            None => (self.first - instant).as_nanos() % every,
        };
        // A moment that is this one is the one before.
        let left = if left == 0 { every } else { left };
        instant + Duration::from_nanos(u64::try_from(left).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_look_at_the_same_moments_and_none_waits_longer_than_is_configured() {
        let every = Duration::from_secs(60);
        let rhythm = Rhythm::new("4a9c", every);
        let moment = rhythm.after(Instant::now());
        for before in [1, 1_000, 59_000].map(Duration::from_millis) {
            assert_eq!(rhythm.after(moment - before), moment, "{before:?} before");
        }
        assert_eq!(rhythm.after(moment), moment + every);
        assert_eq!(rhythm.after(moment + every * 1000 + Duration::from_nanos(1)), moment + every * 1001);
        assert_eq!(rhythm.after(moment - every * 2), moment - every, "before the first one too");
    }

    #[test]
    fn guests_that_start_together_look_at_different_moments() {
        let every = Duration::from_secs(60);
        let begun = Instant::now();
        let offset = |machine: &str| Rhythm::new(machine, every).after(begun).duration_since(begun).as_secs();
        let all: std::collections::BTreeSet<u64> = (0..100).map(|number| offset(&format!("{number:032x}"))).collect();
        assert!(all.len() > 30, "{all:?}");
    }
}
