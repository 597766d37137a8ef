//! Rate limits of a guest: messages on one link, and what it does to the disk by linking and by renewing.

use std::{collections::HashMap, sync::Mutex, time::Duration};

use pinion_proto::{clock::Timestamp, id::Guest, lock::lock};
use tokio::time::Instant;

use crate::rate_limit::{RateLimit, TokenBucket};

/// Messages a second that one guest may send for long; a broken one cannot keep the loop from the others.
const MESSAGES_A_SECOND: u32 = 200;

/// An agent that is restarted over and over links less often.
const LINKS: RateLimit = RateLimit { burst: 30, every: Duration::from_secs(1) };

/// An identity is renewed every 20 days; each renewal is a write to a disk that a cluster may share.
const RENEWALS: RateLimit = RateLimit { burst: 5, every: Duration::from_secs(60) };

/// Lets a guest send [`MESSAGES_A_SECOND`] and makes it wait past that.
pub(super) struct MessageRate {
    second: Instant,
    messages: u32,
}

impl MessageRate {
    pub(super) fn new() -> Self {
        Self { second: Instant::now(), messages: 0 }
    }

    pub(super) async fn step(&mut self) {
        self.messages += 1;
        if self.messages >= MESSAGES_A_SECOND {
            tokio::time::sleep_until(self.second + Duration::from_secs(1)).await;
            *self = Self::new();
        } else if self.second.elapsed() >= Duration::from_secs(1) {
            *self = Self::new();
        }
    }
}

/// What is left to each guest that was busy lately, over all of its connections.
#[derive(Debug, Default)]
pub(super) struct GuestRates {
    links: Mutex<HashMap<Guest, TokenBucket>>,
    /// Of those that show an identity of the guest which is not good.
    refusals: Mutex<HashMap<Guest, TokenBucket>>,
    renewals: Mutex<HashMap<Guest, TokenBucket>>,
}

impl GuestRates {
    /// Whether the guest may link once more; or be refused once more, whoever shows an identity of it that is not good.
    pub(super) fn link(&self, guest: Guest, good: bool, now: Timestamp) -> bool {
        take(if good { &self.links } else { &self.refusals }, guest, LINKS, now)
    }

    /// Whether the guest may have its identity renewed once more.
    pub(super) fn renew(&self, guest: Guest, now: Timestamp) -> bool {
        take(&self.renewals, guest, RENEWALS, now)
    }
}

fn take(all: &Mutex<HashMap<Guest, TokenBucket>>, guest: Guest, limit: RateLimit, now: Timestamp) -> bool {
    lock(all).entry(guest).or_insert_with(|| limit.full(now)).take(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_identities_of_a_guest_use_up_none_of_its_links() {
        let (rates, now) = (GuestRates::default(), Timestamp::from_unix(1_800_000_000));
        let guest = "101".parse().expect("a guest");
        assert_eq!((0..1000).filter(|_| rates.link(guest, false, now)).count(), 30, "nor are they heard for ever");
        assert!(rates.link(guest, true, now));
    }

    const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

    #[test]
    fn thirty_links_at_once_and_then_one_a_second() {
        let rates = GuestRates::default();
        let [guest, other] = ["101", "102"].map(|guest| guest.parse().expect("a guest"));
        let links =
            |guest, after| (0..100).filter(|_| rates.link(guest, true, NOW + Duration::from_secs(after))).count();
        assert_eq!([links(guest, 0), links(guest, 0), links(guest, 1), links(guest, 3)], [30, 0, 1, 2]);
        assert_eq!(links(other, 0), 30, "another guest is not concerned");
        assert_eq!(links(guest, 3600), 30);
    }

    #[test]
    fn five_renewals_of_an_identity_at_once_and_then_one_a_minute() {
        let rates = GuestRates::default();
        let guest = "101".parse().expect("a guest");
        let renewals = |after| (0..100).filter(|_| rates.renew(guest, NOW + Duration::from_secs(after))).count();
        assert_eq!([renewals(0), renewals(59), renewals(60), renewals(240)], [5, 0, 1, 3]);
        assert!(rates.link(guest, true, NOW), "its links are counted apart");
    }

    /// Whether a step is taken without waiting.
    async fn is_free(rate: &mut MessageRate) -> bool {
        tokio::select! {
            biased;
            () = rate.step() => true,
            () = std::future::ready(()) => false,
        }
    }

    #[tokio::test]
    async fn the_two_hundredth_message_of_a_second_waits_for_the_next_one() {
        let mut rate = MessageRate::new();
        // A second that has hardly begun, however slow this machine is.
        rate.second = Instant::now() + Duration::from_secs(3600);
        for n in 1..200 {
            assert!(is_free(&mut rate).await, "message {n}");
        }
        assert!(!is_free(&mut rate).await, "one too many");
        rate.second = Instant::now();
        rate.messages = 199;
        let began = Instant::now();
        rate.step().await;
        assert!(began.elapsed() >= Duration::from_secs(1) - Duration::from_millis(5), "{:?}", began.elapsed());
        assert_eq!(rate.messages, 0, "another second");
    }

    #[tokio::test]
    async fn a_second_that_is_over_does_not_count() {
        let mut rate = MessageRate::new();
        for _ in 0..1000 {
            rate.second = Instant::now().checked_sub(Duration::from_secs(1)).expect("this machine is up longer");
            assert!(is_free(&mut rate).await);
            assert_eq!(rate.messages, 0);
        }
    }
}
