//! Time as an argument: a moment in whole seconds, and the port it comes in through.

use std::{
    fmt,
    future::Future,
    ops::{Add, Sub},
    pin::Pin,
    str::FromStr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{alarm, id::string_serde};

/// A moment in whole Unix seconds, the resolution of X.509 validity. Written as RFC 3339 in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From Unix seconds; moments outside the years 1 to 9999 become the nearest inside.
    #[must_use]
    pub const fn from_unix(seconds: i64) -> Self {
        // The range that RFC 3339 and GeneralizedTime can write.
        const FIRST: i64 = -62_135_596_800;
        const LAST: i64 = 253_402_300_799;
        Self(if seconds < FIRST {
            FIRST
        } else if seconds > LAST {
            LAST
        } else {
            seconds
        })
    }

    /// Seconds since 1970-01-01T00:00:00Z, without leap seconds.
    #[must_use]
    pub const fn unix(self) -> i64 {
        self.0
    }

    /// How long after `earlier` this is; zero when it is before.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_secs(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self::from_unix(self.0.saturating_add(i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self::from_unix(self.0.saturating_sub(i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let seconds = match time.duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_secs()).map_or(i64::MIN, |s| -s),
        };
        Self::from_unix(seconds)
    }
}

impl From<Timestamp> for OffsetDateTime {
    fn from(timestamp: Timestamp) -> Self {
        Self::from_unix_timestamp(timestamp.0).unwrap_or(Self::UNIX_EPOCH)
    }
}

impl From<OffsetDateTime> for Timestamp {
    fn from(time: OffsetDateTime) -> Self {
        Self::from_unix(time.unix_timestamp())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = OffsetDateTime::from(*self).format(&Rfc3339).map_err(|_| fmt::Error)?;
        f.pad(&text)
    }
}

impl FromStr for Timestamp {
    type Err = time::error::Parse;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        OffsetDateTime::parse(text, &Rfc3339).map(Self::from)
    }
}

string_serde!(Timestamp, { "type": "string", "format": "date-time" });

/// Where the time comes from. Tests own one whose hands they move.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The current time; it may be earlier than at the last call.
    fn now(&self) -> Timestamp;

    /// Returns once the clock shows `moment` or later; it may return early, so callers look again.
    fn sleep_until(&self, moment: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;

    /// As [`Self::sleep_until`], for those of whom there are thousands: they may notice minutes late that the clock was set,
    /// and have no timer of the kernel's each.
    fn sleep_among_many(&self, moment: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.sleep_until(moment)
    }
}

/// The machine's own clock, which may be wrong or be set.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

/// The kernel says when the clock is set. All the same nobody sleeps for longer without looking.
const MAX_SLEEP: Duration = Duration::from_secs(600);

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        SystemTime::now().into()
    }

    fn sleep_until(&self, moment: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(alarm::sleep_until_time(moment.unix(), moment.since(self.now()), MAX_SLEEP))
    }

    fn sleep_among_many(&self, moment: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(tokio::time::sleep(moment.since(self.now()).min(MAX_SLEEP)))
    }
}
