//! How often something may happen: a token bucket, which begins full and gets one token in each interval.
//!
//! Answers: does a guest do this more often than one that works as it should? Time comes in as an argument.

use std::time::Duration;

use pinion_proto::clock::Timestamp;

/// How often something may happen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RateLimit {
    /// So often at once.
    pub(crate) burst: u64,
    /// And once more after each of these intervals; whole seconds, at least one.
    pub(crate) every: Duration,
}

/// What is left of a rate limit.
#[derive(Debug, Clone)]
pub(crate) struct TokenBucket {
    limit: RateLimit,
    tokens: u64,
    counted: Timestamp,
}

impl RateLimit {
    /// A bucket with all its tokens.
    pub(crate) fn full(self, now: Timestamp) -> TokenBucket {
        TokenBucket { limit: self, tokens: self.burst, counted: now }
    }
}

impl TokenBucket {
    /// Takes a token; false when none is left.
    pub(crate) fn take(&mut self, now: Timestamp) -> bool {
        self.refill(now);
        let some = self.tokens > 0;
        self.tokens = self.tokens.saturating_sub(1);
        some
    }

    /// When there is a token again, after none was left.
    pub(crate) fn next(&self) -> Timestamp {
        self.counted + self.limit.every
    }

    /// Whether the bucket is full, so that nothing needs to be remembered.
    pub(crate) fn is_full(&mut self, now: Timestamp) -> bool {
        self.refill(now);
        self.tokens == self.limit.burst
    }

    fn refill(&mut self, now: Timestamp) {
        let every = self.limit.every.as_secs().max(1);
        let intervals = now.since(self.counted).as_secs() / every;
        self.tokens = self.tokens.saturating_add(intervals).min(self.limit.burst);
        // A clock that was set back starts a new interval, and gives nothing twice.
        self.counted = if self.tokens == self.limit.burst || now < self.counted {
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
        let mut left = RateLimit { burst: 3, every: Duration::from_secs(10) }.full(start);
        let mut used = |after: u64| left.take(start + Duration::from_secs(after));
        assert_eq!(
            [0, 0, 0, 0, 9, 10, 10, 35, 35, 35].map(&mut used),
            [true, true, true, false, false, true, false, true, true, false]
        );
        assert_eq!(left.next(), start + Duration::from_secs(40));
        assert!(!left.take(start - Duration::from_secs(86_400)), "a clock set back gives nothing");
        assert!(left.is_full(start + Duration::from_secs(100)));
    }
}
