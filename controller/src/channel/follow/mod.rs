//! The controller's side of `guests`: the inventory as the root process tells it.
//!
//! Answers: which guests are there, and whose are the network cards of a caller? Invariant: one call is held at a time;
//! whatever goes wrong leaves the guests as they were known, and is reported. Until Proxmox has listed them for the first time,
//! nothing is taken for complete.

mod starts;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use pinion_proto::{
    id::{Guest, Vmid},
    report::GuestFacts,
    stage::{Halt, Trouble},
};
use tokio::{sync::watch, time::timeout};

use super::{
    client::Client,
    listing::{ListedGuest, Listing, Revision},
    protocol::Failure,
};
use crate::{
    identity::{Machines, Whose},
    inventory::{Alike, Inventory, proxmox::InventoryProblem},
};
use starts::Starts;

/// The first plan is made from what is there, if the list comes within this time: it is longer than a look takes, also
/// one that finds pmxcfs hanging.
const FIRST_ANSWER: Duration = Duration::from_secs(5);

/// Between two tries when the root process does not answer; it is a connection on a local socket.
const RETRY: Duration = Duration::from_secs(1);

/// At the host's start the root process may come up a moment later, and systemd restarts it within 3 s: its silence is reported
/// from this try on.
const FAILURES_TOLD: u32 = 5;

/// The guests as they are known, at each moment.
#[derive(Debug, Clone)]
pub struct KnownGuests {
    inventory: watch::Receiver<Arc<Inventory>>,
    starts: Arc<Starts>,
}

impl KnownGuests {
    /// What a configuration says, where nobody else tells.
    #[must_use]
    pub fn configured(names: BTreeMap<String, Vmid>) -> Self {
        let (_, inventory) = watch::channel(Arc::new(Inventory::from_names(names)));
        Self { inventory, starts: Arc::default() }
    }

    /// The inventory, now and at each change.
    #[must_use]
    pub fn inventory(&self) -> watch::Receiver<Arc<Inventory>> {
        self.inventory.clone()
    }
}

impl Machines for KnownGuests {
    fn whose(&self, claimed: Guest, facts: &GuestFacts) -> Whose {
        let Guest::Vmid(vmid) = claimed else { return Whose::Nobodys };
        let which =
            |inventory: &Inventory, guests: &[Vmid], start: &str| self.starts.which(inventory, vmid, guests, start);
        self.inventory.borrow().whose(claimed, facts, which)
    }

    fn whose_by_now(&self, claimed: Guest, facts: &GuestFacts) -> Whose {
        let Guest::Vmid(vmid) = claimed else { return Whose::Nobodys };
        let which = |inventory: &Inventory, guests: &[Vmid], start: &str| {
            self.starts.which_by_now(inventory, vmid, guests, start)
        };
        self.inventory.borrow().whose(claimed, facts, which)
    }

    fn vmgenid(&self, guest: Guest) -> Option<String> {
        self.inventory.borrow().vmgenid(guest).map(str::to_owned)
    }
}

/// Asks the root process for as long as it is driven.
#[derive(Debug)]
pub struct Follower {
    client: Client,
    names: BTreeMap<String, Vmid>,
    has: Option<Revision>,
    failures: u32,
    inventory: watch::Sender<Arc<Inventory>>,
    starts: Arc<Starts>,
}

impl Follower {
    /// With names that the configuration has for guests.
    #[must_use]
    pub fn new(client: Client, names: BTreeMap<String, Vmid>) -> Self {
        let inventory = watch::Sender::new(Arc::new(Inventory::awaited(names.clone())));
        Self { client, names, has: None, failures: 0, inventory, starts: Arc::default() }
    }

    /// The guests as they are known, now and later.
    #[must_use]
    pub fn known_guests(&self) -> KnownGuests {
        KnownGuests { inventory: self.inventory.subscribe(), starts: self.starts.clone() }
    }

    /// Asks once, and not for long: what has not come by then comes later.
    pub async fn first(&mut self) {
        if let Ok(answer) = timeout(FIRST_ANSWER, self.client.guests(None)).await {
            self.take(answer);
        }
    }

    /// Follows until the future is dropped.
    pub async fn run(mut self) {
        let apart = starts::tell_apart(self.client.clone(), self.starts.clone(), self.inventory.clone());
        let follow = async {
            loop {
                let answer = self.client.guests(self.has).await;
                let failed = answer.is_err();
                self.take(answer);
                if failed {
                    tokio::time::sleep(RETRY).await;
                }
            }
        };
        tokio::join!(apart, follow);
    }

    fn take(&mut self, answer: Result<Listing, Failure>) {
        match answer {
            Ok(listing) => {
                self.failures = 0;
                self.has = Some(listing.revision);
                let next = self.inventory_of(listing);
                self.publish(|alike| next.with_alike(alike));
            }
            Err(failure) => {
                self.failures = self.failures.saturating_add(1);
                if self.failures >= FAILURES_TOLD {
                    let last = Inventory::clone(&self.inventory.borrow());
                    let trouble = unanswered(&failure);
                    self.publish(|alike| last.with_problem(Some(trouble)).with_alike(alike));
                }
            }
        }
    }

    /// What follows from a listing. One that could not be made leaves the guests that were known before.
    fn inventory_of(&self, listing: Listing) -> Inventory {
        let Listing { guests, problem, states_unknown, .. } = listing;
        let known = match guests {
            Some(guests) => Inventory::complete(guests.into_iter().map(ListedGuest::info).collect(), &self.names),
            None => Inventory::clone(&self.inventory.borrow()),
        };
        known.with_problem(problem.map(unread)).with_trouble(states_unknown.map(states_trouble))
    }

    /// Replaces the inventory if it is another one, with what is known of guests that are alike.
    fn publish(&self, next: impl FnOnce(Vec<Alike>) -> Inventory) {
        self.inventory.send_if_modified(|before| {
            let next = next(before.alike().to_vec());
            let other = **before != next;
            if other {
                *before = Arc::new(next);
            }
            other
        });
    }
}

/// What stands in the way of knowing the guests, as the host's trouble.
fn unread(InventoryProblem { cause, remedy }: InventoryProblem) -> Trouble {
    Trouble {
        halt: Halt::Waiting,
        attempt: "read which guests there are".into(),
        cause,
        remedy: format!("{remedy}; Pinion keeps the last list of guests, and continues by itself"),
        retry_at: None,
    }
}

/// The root process does not answer.
fn unanswered(failure: &Failure) -> Trouble {
    Trouble {
        halt: Halt::Waiting,
        attempt: "ask the root process which guests there are".into(),
        cause: failure.text.clone(),
        remedy: format!("{}; Pinion keeps the last list of guests", failure.cause.remedy()),
        retry_at: None,
    }
}

/// Which guests run is not known, though it is known which there are.
fn states_trouble(why: String) -> Trouble {
    Trouble {
        halt: Halt::Waiting,
        attempt: "find out which guests run".into(),
        cause: why,
        remedy: "run `journalctl -u pinion-channel`; until then Pinion does not know which guests are stopped, and \
            treats each as running"
            .into(),
        retry_at: None,
    }
}

#[cfg(test)]
mod tests;
