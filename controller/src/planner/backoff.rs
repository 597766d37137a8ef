//! How long to wait after a failure: doubling, for ever, spread by the placement's name.

use std::time::Duration;

use pinion_proto::id::PlacementId;

use super::renewal::spread;

/// A doubling delay between two bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// After the first failure.
    pub initial: Duration,
    /// Never longer.
    pub max: Duration,
}

impl Default for Backoff {
    /// From half a minute to an hour: quick enough for a restart of the CA, rare enough for an outage of days.
    fn default() -> Self {
        Self { initial: Duration::from_secs(30), max: Duration::from_secs(60 * 60) }
    }
}

impl Backoff {
    /// The delay after so many failures in a row: `initial`, doubled with each further one up to `max`.
    #[must_use]
    pub fn after(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        self.initial.saturating_mul(1 << doublings).min(self.max)
    }

    /// The delay after so many failures in a row: `initial`, doubled with each further one up to `max`, less up
    /// to a fifth, which is a function of the placement's name, so that those which failed together do not
    /// come again together.
    #[must_use]
    pub fn delay(&self, failures: u32, id: &PlacementId) -> Duration {
        let whole = self.after(failures);
        let fifth = u64::try_from(whole.as_millis() / 5).unwrap_or(u64::MAX);
        whole - Duration::from_millis(spread(&id.certificate, id.guest, fifth))
    }
}
