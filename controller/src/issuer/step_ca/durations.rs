//! How long the CA lets certificates be valid: what it says, and what its refusals have taught.
//!
//! Answers: for how long may this be asked?
//! Invariant: a limit that is only guessed is never imposed; the CA is asked, and its refusal is read.

use std::time::Duration;

use pinion_proto::clock::Timestamp;

use super::provisioner::{Claims, parse_go_duration};
use crate::issuer::Durations;

/// step-ca's own, where neither provisioner nor authority says otherwise (`authority/config/config.go`).
const STEP_CA: Durations = Durations {
    min: Duration::from_secs(5 * 60),
    default: Duration::from_secs(24 * 3600),
    max: Duration::from_secs(24 * 3600),
};

/// After this the CA is asked for the whole duration once more: its limits may have been lifted.
const FORGET_AFTER: Duration = Duration::from_secs(3600);

/// The limits as far as they are known.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Limits {
    claims: Claims,
    learned_min: Option<(Duration, Timestamp)>,
    learned_max: Option<(Duration, Timestamp)>,
}

impl Limits {
    /// What a provisioner says, before any refusal.
    pub(super) fn of(claims: Claims) -> Self {
        Self { claims, ..Self::default() }
    }

    /// Takes what the provisioner says now. What refusals have taught is kept while that is what it said before.
    pub(super) fn refresh(&mut self, claims: Claims) {
        if self.claims != claims {
            *self = Self::of(claims);
        }
    }

    /// The duration to ask for when `wanted` is wished for.
    pub(super) fn within(&self, wanted: Duration, now: Timestamp) -> Duration {
        let mut asked = wanted;
        if let Some(max) = self.max(now) {
            asked = asked.min(max);
        }
        if let Some(min) = self.min(now) {
            asked = asked.max(min);
        }
        asked
    }

    /// Reads a refusal's words, and says whether they taught a limit: "requested duration of X is more (less) than
    /// the authorized maximum (minimum) certificate duration of Y", where X and a maximal Y include the CA's
    /// backdating (smallstep/certificates `validityValidator` in `authority/provisioner/sign_options.go`).
    pub(super) fn learn(&mut self, words: &str, asked: Duration, now: Timestamp) -> bool {
        let after = |marker: &str| {
            let (_, rest) = words.split_once(marker)?;
            let end = rest.find(|c: char| c.is_whitespace() || c == ',').unwrap_or(rest.len());
            parse_go_duration(rest.get(..end)?.trim_end_matches('.'))
        };
        if let (Some(requested), Some(allowed)) =
            (after("requested duration of "), after("authorized maximum certificate duration of "))
        {
            let backdated = requested.saturating_sub(asked);
            let max = allowed.saturating_sub(backdated);
            self.learned_max = Some((max, now)).filter(|_| max < asked && !max.is_zero());
            return self.learned_max.is_some();
        }
        if let Some(min) = after("authorized minimum certificate duration of ") {
            self.learned_min = Some((min, now)).filter(|_| min > asked);
            return self.learned_min.is_some();
        }
        false
    }

    /// The limits for people to read, and whether the maximum is known rather than step-ca's own.
    pub(super) fn shown(&self, now: Timestamp) -> (Durations, bool) {
        let max = self.max(now);
        let durations = Durations {
            min: self.min(now).unwrap_or(STEP_CA.min),
            default: self.claims.default.unwrap_or(STEP_CA.default),
            max: max.unwrap_or(STEP_CA.max),
        };
        (durations, max.is_some())
    }

    fn max(&self, now: Timestamp) -> Option<Duration> {
        fresh(self.learned_max, now).or(self.claims.max)
    }

    fn min(&self, now: Timestamp) -> Option<Duration> {
        fresh(self.learned_min, now).or(self.claims.min)
    }
}

fn fresh(learned: Option<(Duration, Timestamp)>, now: Timestamp) -> Option<Duration> {
    learned.filter(|(_, at)| now.since(*at) < FORGET_AFTER).map(|(limit, _)| limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);
    const DAY: Duration = Duration::from_secs(86_400);
    const REFUSAL: &str = "The request was forbidden by the certificate authority: requested duration of 720h1m0s is \
                           more than the authorized maximum certificate duration of 24h1m0s.";

    #[test]
    fn what_the_provisioner_says_is_respected() {
        let claims = Claims { min: Some(DAY), default: None, max: Some(7 * DAY) };
        let limits = Limits::of(claims);
        assert_eq!(limits.within(30 * DAY, NOW), 7 * DAY);
        assert_eq!(limits.within(DAY / 2, NOW), DAY);
        assert_eq!(limits.within(2 * DAY, NOW), 2 * DAY);
    }

    #[test]
    fn a_refusal_teaches_the_limit_without_the_backdating_and_is_forgotten_in_time() {
        let mut limits = Limits::default();
        assert_eq!(limits.within(30 * DAY, NOW), 30 * DAY, "nothing is said, so the CA is asked");
        assert!(limits.learn(REFUSAL, 30 * DAY, NOW));
        assert_eq!(limits.within(30 * DAY, NOW), DAY);
        assert_eq!(limits.within(30 * DAY, NOW + FORGET_AFTER), 30 * DAY);
        assert_eq!(limits.shown(NOW), (STEP_CA, true));
    }

    #[test]
    fn a_minimum_is_learned_too_and_other_words_teach_nothing() {
        let mut limits = Limits::default();
        let words = "requested duration of 2m0s is less than the authorized minimum certificate duration of 5m0s.";
        assert!(limits.learn(words, Duration::from_secs(60), NOW));
        assert_eq!(limits.within(Duration::from_secs(60), NOW), Duration::from_secs(300));
        assert!(!Limits::default().learn("x509: name not allowed", DAY, NOW));
        assert!(!Limits::default().learn(REFUSAL, DAY / 2, NOW), "a limit above what was asked is none");
    }

    #[test]
    fn new_claims_replace_what_was_learned() {
        let mut limits = Limits::default();
        limits.learn(REFUSAL, 30 * DAY, NOW);
        let lifted = Claims { max: Some(30 * DAY), ..Claims::default() };
        limits.refresh(Claims::default());
        assert_eq!(limits.within(30 * DAY, NOW), DAY);
        limits.refresh(lifted);
        assert_eq!(limits.within(30 * DAY, NOW), 30 * DAY);
    }
}
