//! The difference between the CA's clock and this host's.
//!
//! Answers: what does the CA's clock show now?
//! Invariant: the difference comes from the CA's `Date` header, and corrects times that the CA judges; what TLS
//! verifies with moves by ten minutes at most, because the first header comes before the CA has proven itself.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use pinion_proto::{
    clock::{Clock, Timestamp},
    lock::lock,
};
use rustls::{pki_types::UnixTime, time_provider::TimeProvider};
use time::{OffsetDateTime, format_description::well_known::Rfc2822};

/// A header has whole seconds and was written some time ago: smaller differences mean nothing.
const NOISE: i64 = 2;

/// As far as TLS follows the CA's clock (seconds).
const MAX_FOR_TLS: i64 = 600;

/// No CA holds up renewals for longer by what it asks for: the longest pause after failures.
const MAX_PAUSE: Duration = Duration::from_secs(3600);

/// A clock, and how far the CA's is ahead of it.
#[derive(Debug)]
pub(super) struct Skew {
    clock: Arc<dyn Clock>,
    ahead: Mutex<Option<i64>>,
}

impl Skew {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { clock, ahead: Mutex::new(None) })
    }

    /// This host's clock.
    pub(super) fn here(&self) -> Timestamp {
        self.clock.now()
    }

    /// What the CA's clock shows, as far as is known.
    pub(super) fn at_ca(&self) -> Timestamp {
        shift(self.here(), self.significant())
    }

    /// By how many seconds the CA's clock is ahead; none before its first answer.
    pub(super) fn ahead(&self) -> Option<i64> {
        *lock(&self.ahead)
    }

    /// The same, and zero where it is unknown or within the header's resolution.
    pub(super) fn significant(&self) -> i64 {
        self.ahead().filter(|ahead| ahead.abs() > NOISE).unwrap_or(0)
    }

    /// Learns from the `Date` header of an answer that has just come (RFC 9110 section 6.6.1); another form of
    /// date teaches nothing.
    pub(super) fn observe(&self, date: &str) {
        // IMF-fixdate is RFC 5322's form with the zone GMT.
        if let Ok(date) = OffsetDateTime::parse(date, &Rfc2822) {
            let ahead = date.unix_timestamp().saturating_sub(self.here().unix());
            *lock(&self.ahead) = Some(ahead);
        }
    }

    /// The pause that a `Retry-After` header asks for: seconds, or a moment by the CA's clock. At least a second, and at most
    /// [`MAX_PAUSE`]; none for what is neither.
    pub(super) fn pause(&self, header: &str) -> Option<Duration> {
        let header = header.trim_ascii();
        let asked = match header.parse::<u64>() {
            Ok(seconds) => Duration::from_secs(seconds),
            Err(_) => {
                let date = OffsetDateTime::parse(header, &Rfc2822).ok()?;
                Timestamp::from_unix(date.unix_timestamp()).since(self.at_ca())
            }
        };
        Some(asked.clamp(Duration::from_secs(1), MAX_PAUSE))
    }
}

impl TimeProvider for Skew {
    fn current_time(&self) -> Option<UnixTime> {
        let now = shift(self.here(), self.significant().clamp(-MAX_FOR_TLS, MAX_FOR_TLS));
        Some(UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now.unix()).ok()?)))
    }
}

fn shift(moment: Timestamp, seconds: i64) -> Timestamp {
    Timestamp::from_unix(moment.unix().saturating_add(seconds))
}

#[cfg(test)]
mod tests {
    use pinion_proto::clock::SystemClock;

    use super::*;

    #[test]
    fn a_pause_is_seconds_or_a_moment_within_bounds() {
        let skew = Skew::new(Arc::new(SystemClock));
        let seconds = Duration::from_secs;
        for (header, pause) in [
            ("7", Some(seconds(7))),
            (" 120 ", Some(seconds(120))),
            ("0", Some(seconds(1))),
            ("99999999", Some(MAX_PAUSE)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(seconds(1))),
            ("Fri, 31 Dec 2199 23:59:59 GMT", Some(MAX_PAUSE)),
            ("-5", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(skew.pause(header), pause, "{header}");
        }
        let at = OffsetDateTime::now_utc() + Duration::from_secs(300);
        let header = at.format(&Rfc2822).expect("a date").replace("+0000", "GMT");
        let pause = skew.pause(&header).expect("a moment");
        assert!(pause > seconds(290) && pause <= seconds(301), "{pause:?}");
    }
}
