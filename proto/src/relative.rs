//! Moments as people think of them at a glance: `in 29d`, `3h ago`.

use crate::clock::Timestamp;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// A moment, seen from `now`.
#[must_use]
pub fn from_now(at: Timestamp, now: Timestamp) -> String {
    if at >= now { format!("in {}", length(at.since(now).as_secs())) } else { format!("{} ago", ago(at, now)) }
}

/// How long ago a moment is.
#[must_use]
pub fn ago(at: Timestamp, now: Timestamp) -> String {
    length(now.since(at).as_secs())
}

/// A length of time in its largest unit of which there are at least two.
fn length(seconds: u64) -> String {
    let (count, unit) = match seconds {
        _ if seconds >= 2 * DAY => (seconds / DAY, "d"),
        _ if seconds >= 2 * HOUR => (seconds / HOUR, "h"),
        _ if seconds >= 2 * MINUTE => (seconds / MINUTE, "m"),
        _ => (seconds, "s"),
    };
    format!("{count}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_so_far_away_in_its_largest_unit() {
        let now = Timestamp::from_unix(1_800_000_000);
        for (seconds, expected) in [
            (0, "in 0s"),
            (119, "in 119s"),
            (120, "in 2m"),
            (7_199, "in 119m"),
            (7_200, "in 2h"),
            (172_799, "in 47h"),
            (172_800, "in 2d"),
            (2_592_000, "in 30d"),
            (-1, "1s ago"),
            (-3 * 3600, "3h ago"),
            (-4 * 86_400, "4d ago"),
        ] {
            assert_eq!(from_now(Timestamp::from_unix(now.unix() + seconds), now), expected, "{seconds}");
        }
    }
}
