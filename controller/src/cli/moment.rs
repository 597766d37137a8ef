//! Moments on the command line.

use std::time::Duration;

use jiff::{civil::DateTime, tz::TimeZone};
use pinion_proto::{
    clock::{Clock as _, SystemClock, Timestamp},
    id::shown,
};

/// A moment that is to come: `2026-12-24T18:00Z`, `2026-12-24 18:00` by this host's clock, or `8h` from now.
pub(super) fn to_come(text: &str) -> Result<Timestamp, String> {
    moment_after(text, SystemClock.now(), &TimeZone::system())
}

/// A moment that is over: as [`to_come`], or `8h` ago.
pub(super) fn past(text: &str) -> Result<Timestamp, String> {
    moment_before(text, SystemClock.now(), &TimeZone::system())
}

fn moment_after(text: &str, now: Timestamp, local: &TimeZone) -> Result<Timestamp, String> {
    let moment = moment(text, local, |length| now + length)?;
    if moment <= now { Err(format!("{moment} is in the past: give a time in the future")) } else { Ok(moment) }
}

fn moment_before(text: &str, now: Timestamp, local: &TimeZone) -> Result<Timestamp, String> {
    let moment = moment(text, local, |length| now - length)?;
    if moment > now { Err(format!("{moment} is in the future: give a time in the past")) } else { Ok(moment) }
}

fn moment(text: &str, local: &TimeZone, by: impl FnOnce(Duration) -> Timestamp) -> Result<Timestamp, String> {
    let written = |moment: jiff::Timestamp| Timestamp::from_unix(moment.as_second());
    let by_the_wall = || {
        let wall: DateTime = text.parse().ok()?;
        local.to_ambiguous_timestamp(wall).compatible().ok()
    };
    Ok(match text.parse::<jiff::Timestamp>().ok().or_else(by_the_wall) {
        Some(moment) => written(moment),
        None => {
            let length = humantime::parse_duration(text).map_err(|_| {
                format!(
                    "`{}` is not a time: write 2026-12-24T18:00Z, \"2026-12-24 18:00\" by this host's clock, or 8h \
                     for a length of time",
                    shown(text)
                )
            })?;
            by(length)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_and_lengths_of_time_are_understood_and_what_is_over_is_not() {
        let now = Timestamp::from_unix(1_798_000_000);
        let local = TimeZone::fixed(jiff::tz::offset(1));
        let read = |text: &str| moment_after(text, now, &local).map(Timestamp::unix);
        for (text, expected) in [
            ("2026-12-24T18:00Z", 1_798_135_200),
            ("2026-12-24T18:00:00Z", 1_798_135_200),
            ("2026-12-24T18:00+01:00", 1_798_131_600),
            ("2026-12-24 18:00", 1_798_131_600),
            ("2026-12-24T18:00", 1_798_131_600),
            ("2026-12-25", 1_798_153_200),
            ("8h", 1_798_028_800),
            ("1h 30m", 1_798_005_400),
        ] {
            assert_eq!(read(text), Ok(expected), "{text}");
        }
        for text in
            ["", "soon", "8", "-8h", "2026-12-24T18:00Q", "2026-13-01T00:00Z", "0s", "2020-01-01T00:00Z", "\u{1b}[31m"]
        {
            let told = read(text).expect_err(text);
            assert!(!told.contains('\u{1b}'), "{told}");
        }
    }

    #[test]
    fn what_is_over_is_given_by_a_moment_or_by_how_long_ago_it_was() {
        let now = Timestamp::from_unix(1_798_000_000);
        let read = |text: &str| moment_before(text, now, &TimeZone::UTC).map(Timestamp::unix);
        for (text, expected) in [("8h", 1_797_971_200), ("0s", 1_798_000_000), ("2020-01-01T00:00Z", 1_577_836_800)] {
            assert_eq!(read(text), Ok(expected), "{text}");
        }
        for text in ["2026-12-24T18:00Z", "yesterday", "-8h"] {
            read(text).expect_err(text);
        }
    }
}
