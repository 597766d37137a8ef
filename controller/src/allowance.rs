//! How often something may happen for one guest: so often at once, then once in each interval.
//!
//! Answers: is this still what a guest in its right mind does? Time comes in as an argument.

use std::time::Duration;

use pinion_proto::clock::Timestamp;

/// How often.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowance {
    /// At once.
    pub(crate) most: u64,
    /// One more after each; whole seconds, at least one.
    pub(crate) every: Duration,
}

/// What is left of an allowance.
#[derive(Debug, Clone)]
pub(crate) struct Left {
    allowance: Allowance,
    left: u64,
    counted: Timestamp,
}

impl Allowance {
    /// All of it.
    pub(crate) fn whole(self, now: Timestamp) -> Left {
        Left { allowance: self, left: self.most, counted: now }
    }
}

impl Left {
    /// Uses it once; false when nothing is left.
    pub(crate) fn take(&mut self, now: Timestamp) -> bool {
        self.refill(now);
        let some = self.left > 0;
        self.left = self.left.saturating_sub(1);
        some
    }

    /// When there is some again, after none was left.
    pub(crate) fn next(&self) -> Timestamp {
        self.counted + self.allowance.every
    }

    /// Whether all of it is left, so that nothing needs to be remembered.
    pub(crate) fn is_whole(&mut self, now: Timestamp) -> bool {
        self.refill(now);
        self.left == self.allowance.most
    }

    fn refill(&mut self, now: Timestamp) {
        let every = self.allowance.every.as_secs().max(1);
        let intervals = now.since(self.counted).as_secs() / every;
        self.left = self.left.saturating_add(intervals).min(self.allowance.most);
        // A clock that was set back starts a new interval, and gives nothing twice.
        self.counted = if self.left == self.allowance.most || now < self.counted {
            now
        } else {
            self.counted + Duration::from_secs(intervals.saturating_mul(every))
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_often_at_once_and_then_once_in_each_interval() {
        let start = Timestamp::from_unix(1_000_000);
        let mut left = Allowance { most: 3, every: Duration::from_secs(10) }.whole(start);
        let mut used = |after: u64| left.take(start + Duration::from_secs(after));
        assert_eq!(
            [0, 0, 0, 0, 9, 10, 10, 35, 35, 35].map(&mut used),
            [true, true, true, false, false, true, false, true, true, false]
        );
        assert_eq!(left.next(), start + Duration::from_secs(40));
        assert!(!left.take(start - Duration::from_secs(86_400)), "a clock set back gives nothing");
        assert!(left.is_whole(start + Duration::from_secs(100)));
    }
}
