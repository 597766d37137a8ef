//! Stagger: of very many orders at one moment, some go out at once, and then as many in each interval.
//!
//! Each order has a guest make a key and write it. When all of a large fleet begin at the same moment, on disks and cores
//! that they share, each is done when nearly all are, and the issuer has nothing to do until then.
//! Invariant: only time counts, never how many are under way, so a guest that is slow or silent holds up nobody.

use std::time::Duration;

use tokio::time::Instant;

/// So many at once, and in each interval: an issuer that signs a thousand a second does not wait for the next ones.
pub(super) const ORDERS: u32 = 64;

/// About as long as so many guests on one disk take for a key and a request.
pub(super) const INTERVAL: Duration = Duration::from_millis(50);

/// How many orders may go out.
#[derive(Debug)]
pub(super) struct Stagger {
    left: u32,
    /// When an interval began last.
    since: Option<Instant>,
    /// Some order was held back in this interval.
    holds_back: bool,
}

impl Default for Stagger {
    fn default() -> Self {
        Self { left: ORDERS, since: None, holds_back: false }
    }
}

impl Stagger {
    /// Begins the intervals that have passed. While orders are held back, none of their number is lost when nobody looked.
    pub(super) fn at(&mut self, now: Instant) {
        let since = *self.since.get_or_insert(now);
        let passed = now.saturating_duration_since(since).as_millis() / INTERVAL.as_millis();
        let passed = u32::try_from(passed).unwrap_or(u32::MAX);
        if passed > 0 {
            let more = ORDERS.saturating_mul(passed);
            self.left = if self.holds_back { self.left.saturating_add(more) } else { ORDERS };
            self.since = Some(since + INTERVAL * passed);
            self.holds_back = false;
        }
    }

    /// Whether a guest may be sent so many orders in one message, which counts as that many. A message is never cut.
    pub(super) fn takes(&mut self, orders: u32) -> bool {
        let takes = self.left > 0;
        self.holds_back |= !takes;
        self.left = self.left.saturating_sub(if takes { orders } else { 0 });
        takes
    }

    /// When orders that were held back go out.
    pub(super) fn next(&self) -> Option<Instant> {
        self.since.filter(|_| self.holds_back).map(|since| since + INTERVAL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_at_once_then_as_many_in_each_interval_and_no_interval_is_lost_to_those_that_wait() {
        let start = Instant::now();
        let mut stagger = Stagger::default();
        let mut taken = |intervals: f64, wanted: u32| {
            stagger.at(start + INTERVAL.mul_f64(intervals));
            let taken = (0..wanted).take_while(|_| stagger.takes(1)).count();
            (taken, stagger.next().map(|next| (next - start).as_millis() / INTERVAL.as_millis()))
        };
        let cases = [
            ("a few go at once", 0.0, 10, (10, None)),
            ("what is left of the interval", 0.5, 100, (54, Some(1))),
            ("none, in the same interval", 0.9, 1, (0, Some(1))),
            ("the next interval", 1.1, 100, (64, Some(2))),
            ("three that passed while nobody looked", 4.2, 1000, (192, Some(5))),
            ("the last ones", 5.0, 30, (30, None)),
            ("a long time later", 500.0, 1000, (64, Some(501))),
        ];
        for (what, intervals, wanted, expected) in cases {
            assert_eq!(taken(intervals, wanted), expected, "{what}");
        }
    }

    #[test]
    fn a_message_with_more_orders_than_an_interval_has_goes_out_whole() {
        let mut stagger = Stagger::default();
        stagger.at(Instant::now());
        assert!(stagger.takes(ORDERS * 3) && !stagger.takes(1));
    }
}
