//! How fast a guest may go: messages on one link, and what it does to the disk by linking and by renewing.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use pinion_proto::{clock::Timestamp, id::Guest};
use tokio::time::Instant;

use crate::allowance::{Allowance, Left};

/// Messages a second that one guest may send for long; a broken one cannot keep the loop from the others.
const MESSAGES_A_SECOND: u32 = 200;

/// An agent that is restarted over and over links less often.
const LINKS: Allowance = Allowance { most: 30, every: Duration::from_secs(1) };

/// An identity is renewed every 20 days; each renewal is a write to a disk that a cluster may share.
const RENEWALS: Allowance = Allowance { most: 5, every: Duration::from_secs(60) };

/// Lets a guest send [`MESSAGES_A_SECOND`] and makes it wait past that.
pub(super) struct Pace {
    second: Instant,
    messages: u32,
}

impl Pace {
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
pub(super) struct Paces {
    links: Mutex<HashMap<Guest, Left>>,
    /// Of those that show an identity of the guest which is not good.
    refusals: Mutex<HashMap<Guest, Left>>,
    renewals: Mutex<HashMap<Guest, Left>>,
}

impl Paces {
    /// Whether the guest may link once more; or be refused once more, whoever shows an identity of it that is not good.
    pub(super) fn link(&self, guest: Guest, good: bool, now: Timestamp) -> bool {
        take(if good { &self.links } else { &self.refusals }, guest, LINKS, now)
    }

    /// Whether the guest may have its identity renewed once more.
    pub(super) fn renew(&self, guest: Guest, now: Timestamp) -> bool {
        take(&self.renewals, guest, RENEWALS, now)
    }
}

fn take(all: &Mutex<HashMap<Guest, Left>>, guest: Guest, allowance: Allowance, now: Timestamp) -> bool {
    all.lock().unwrap_or_else(PoisonError::into_inner).entry(guest).or_insert_with(|| allowance.whole(now)).take(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_identities_of_a_guest_use_up_none_of_its_links() {
        let (paces, now) = (Paces::default(), Timestamp::from_unix(1_800_000_000));
        let guest = "101".parse().expect("a guest");
        assert_eq!((0..1000).filter(|_| paces.link(guest, false, now)).count(), 30, "nor are they heard for ever");
        assert!(paces.link(guest, true, now));
    }
}
