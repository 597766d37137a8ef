//! Pauses between tries: doubled with each failure in a row, up to a limit.
//!
//! Invariant: a pause is a function of its bounds, the number of failures and a name, so two runs agree; those that failed
//! together do not come again together.

use std::time::Duration;

use crate::{id::PlacementId, spread};

/// A doubling pause between two bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// After the first failure.
    pub initial: Duration,
    /// The longest pause: doubling stops here.
    pub max: Duration,
}

impl Backoff {
    /// The pause after so many failures in a row: `initial`, doubled with each further one up to `max`.
    #[must_use]
    pub fn after(&self, failures: u32) -> Duration {
        // 2^31 times any sensible first pause is beyond every limit.
        let doublings = failures.saturating_sub(1).min(31);
        self.initial.saturating_mul(1 << doublings).min(self.max)
    }

    /// The pause after so many failures in a row, less up to a fifth, which is a function of the placement's name, so that
    /// those which failed together do not come again together.
    #[must_use]
    pub fn delay(&self, failures: u32, id: &PlacementId) -> Duration {
        let whole = self.after(failures);
        whole - spread::duration(id.to_string().bytes(), whole / 5)
    }
}

impl Default for Backoff {
    /// From half a minute to an hour: quick enough for a restart of a CA, rare enough for an outage of days.
    fn default() -> Self {
        Self { initial: Duration::from_secs(30), max: Duration::from_secs(60 * 60) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_to_their_limit_and_stay_there() {
        let seconds = Duration::from_secs;
        let backoff = Backoff { initial: seconds(5), max: seconds(60) };
        for (failures, pause) in [(0, 5), (1, 5), (2, 10), (3, 20), (4, 40), (5, 60), (6, 60), (40, 60), (u32::MAX, 60)]
        {
            assert_eq!(backoff.after(failures), seconds(pause), "{failures}");
        }
        let (first, second) = ("web@101".parse().expect("an id"), "web@102".parse().expect("an id"));
        for failures in 1..40 {
            let (whole, delay) = (backoff.after(failures), backoff.delay(failures, &first));
            assert!(delay <= whole && delay >= whole * 4 / 5, "{failures}: {delay:?} of {whole:?}");
        }
        assert_eq!(backoff.delay(9, &first), backoff.delay(9, &first));
        assert_ne!(backoff.delay(9, &first), backoff.delay(9, &second));
        let huge = Backoff { initial: Duration::MAX, max: Duration::MAX };
        assert_eq!(huge.after(u32::MAX), Duration::MAX);
        let long = Backoff { initial: seconds(1), max: Duration::MAX };
        assert_eq!((long.after(32), long.after(99)), (seconds(1 << 31), seconds(1 << 31)));
    }
}
