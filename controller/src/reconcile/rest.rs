//! The rest after work that goes through everything that is wanted, and that nobody waits for as for a certificate.
//!
//! Invariant: in a fleet of any size such work takes a twentieth of a core at most, or another part that is named.

use std::time::Duration;

use tokio::time::Instant;

/// Work is followed by so many times its own length without it.
const REST: u32 = 20;

/// After what took less there is none.
const SHORT: Duration = Duration::from_millis(5);

/// When such work may be done again.
#[derive(Debug)]
pub(super) struct Rest {
    times: u32,
    until: Option<Instant>,
}

impl Default for Rest {
    fn default() -> Self {
        Self::of(REST)
    }
}

impl Rest {
    /// So many times the work's own length.
    pub(super) fn of(times: u32) -> Self {
        Self { times, until: None }
    }

    /// The next work may be done at once.
    pub(super) fn end(&mut self) {
        self.until = None;
    }

    /// When it is over; none when it is.
    pub(super) fn until(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|until| *until > now)
    }

    /// The work was done.
    pub(super) fn worked(&mut self, began: Instant, ended: Instant) {
        let took = ended - began;
        self.until = (took >= SHORT).then(|| ended + took * self.times);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_work_is_done_each_time_and_long_work_takes_a_twentieth() {
        let (mut rest, now) = (Rest::default(), Instant::now());
        assert_eq!(rest.until(now), None);
        rest.worked(now, now + Duration::from_millis(4));
        assert_eq!(rest.until(now), None);
        let ended = now + Duration::from_millis(100);
        rest.worked(now, ended);
        let over = ended + Duration::from_secs(2);
        assert_eq!((rest.until(ended), rest.until(over)), (Some(over), None));
    }
}
