//! Whether a service may be disturbed now: pure.
//!
//! Invariant: what is served is never let expire for a window; that it will not be waited for is known a day ahead,
//! as far as what is served lasts so long.

use std::time::Duration;

use pinion_proto::{clock::Timestamp, spec::Opening};

/// So long before its end what is served is replaced when its window opens too late.
const LAST_CALL: Duration = Duration::from_secs(24 * 60 * 60);

/// Until when a service is left alone, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Closed {
    /// Until its window opens.
    Until(Timestamp),
    /// Its window opens only when what is served has ended already, so it is left alone no longer than this.
    NotWaitedFor { until: Timestamp, ends: Timestamp },
}

/// What stands in the way of disturbing a service; `ends`: when what it serves is no longer valid, if that is known.
pub(super) fn closed(window: Option<&[Opening]>, ends: Option<Timestamp>, now: Timestamp) -> Option<Closed> {
    let window = window?;
    if window.iter().any(|opening| opening.opens <= now && now < opening.closes) {
        return None;
    }
    let opens = window.iter().map(|opening| opening.opens).find(|opens| now < *opens);
    match (opens, ends) {
        (Some(opens), Some(ends)) if opens < ends => Some(Closed::Until(opens)),
        (Some(opens), None) => Some(Closed::Until(opens)),
        (_, Some(ends)) => {
            let until = ends - LAST_CALL;
            (now < until).then_some(Closed::NotWaitedFor { until, ends })
        }
        // A window that never opens keeps nobody.
        (None, None) => None,
    }
}

impl Closed {
    /// When that is over.
    pub(super) fn until(self) -> Timestamp {
        match self {
            Self::Until(until) | Self::NotWaitedFor { until, .. } => until,
        }
    }

    /// In words, for whoever waits for it.
    pub(super) fn cause(self) -> String {
        match self {
            Self::Until(opens) => {
                format!(
                    "the new files are in place, and Pinion disturbs the service only in its window, which opens at \
                     {opens}"
                )
            }
            Self::NotWaitedFor { until, ends } => format!(
                "the new files are in place; the service's window opens only after {ends}, when its certificate \
                 expires, so Pinion disturbs it outside its window, at {until}"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 60 * 60;

    fn at(day: i64) -> Timestamp {
        Timestamp::from_unix(day * DAY)
    }

    #[test]
    fn a_service_is_left_alone_until_its_window_and_never_beyond_what_it_serves() {
        let window = [Opening { opens: at(10), closes: at(11) }, Opening { opens: at(17), closes: at(18) }];
        let closed = |ends: Option<i64>, now: i64| closed(Some(&window), ends.map(at), at(now));
        for (ends, now, expected) in [
            (Some(30), 5, Some(Closed::Until(at(10)))),
            (None, 5, Some(Closed::Until(at(10)))),
            (Some(30), 10, None),
            (Some(30), 11, Some(Closed::Until(at(17)))),
            // It opens too late: that is known from the beginning, and done a day before the end.
            (Some(16), 12, Some(Closed::NotWaitedFor { until: at(15), ends: at(16) })),
            (Some(16), 15, None),
            (Some(16), 16, None),
            // The controller has been away for longer than it had announced openings.
            (Some(30), 20, Some(Closed::NotWaitedFor { until: at(29), ends: at(30) })),
            (None, 20, None),
        ] {
            assert_eq!(closed(ends, now), expected, "{ends:?} on day {now}");
        }
        assert_eq!(super::closed(None, Some(at(30)), at(1)), None);
    }
}
