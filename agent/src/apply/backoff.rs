//! How long to wait before the next try.
//!
//! Invariant: the pause is a function of the placement's name and the number of failures, so two runs agree, and
//! placements that failed together do not all come back together.

use std::time::Duration;

use pinion_proto::{backoff::Backoff, id::CertificateName, spread, stage::Halt};

use super::failure::Cost;
use crate::config::Retry;

/// A try that disturbs the service, and its roll back again, are this many times rarer: a service manager gives up
/// on a unit that is restarted every other second (systemd's StartLimitBurst, 5 in 10 s).
const DISTURBING: u32 = 10;

/// The tries that failed since the last success.
#[derive(Debug, Default)]
pub(super) struct Retries {
    failures: u32,
}

impl Retries {
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// How many tries have failed since the last success.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// Counts a failure; how long to wait now: a tenth more at most than the backoff, by the placement's name.
    pub(super) fn fail(&mut self, name: &CertificateName, retry: &Retry, halt: Halt, cost: Cost) -> Duration {
        let max = match halt {
            Halt::Waiting => retry.max,
            Halt::Blocked => retry.blocked,
        };
        let initial = match cost {
            Cost::Free => retry.initial,
            Cost::Disturbing => retry.initial.saturating_mul(DISTURBING),
        };
        self.failures = self.failures.saturating_add(1);
        let pause = Backoff { initial, max }.after(self.failures);
        pause + spread::duration(format!("{name} {}", self.failures).into_bytes(), pause / 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_to_their_limit_and_two_runs_agree() {
        let (name, retry) = ("docker".parse().expect("a name"), Retry::default());
        let run = |halt, cost| {
            let mut retries = Retries::default();
            (0..40).map(|_| retries.fail(&name, &retry, halt, cost)).collect::<Vec<_>>()
        };
        let waiting = run(Halt::Waiting, Cost::Free);
        assert_eq!(waiting, run(Halt::Waiting, Cost::Free));
        assert!(waiting.iter().is_sorted_by(|a, b| **a <= **b + **b / 5));
        let near = |delay: &Duration, want: Duration| *delay >= want && *delay <= want + want / 10;
        assert!(near(waiting.first().expect("a delay"), retry.initial));
        assert!(near(waiting.last().expect("a delay"), retry.max));
        assert!(near(run(Halt::Blocked, Cost::Free).last().expect("a delay"), retry.blocked));
        assert!(near(run(Halt::Waiting, Cost::Disturbing).first().expect("a delay"), retry.initial * 10));
    }
}
