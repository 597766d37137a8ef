//! Which machine it is that shows an identity.
//!
//! Answers: is the caller the guest that it says it is, or something that was copied from it? Invariant: what a caller
//! says of itself can only take from it; an identity is good by its serial number alone or not at all.

use std::{collections::HashMap, fmt, net::SocketAddr};

use pinion_proto::{
    id::{Guest, Vmid},
    report::GuestFacts,
};

/// Tells guests apart by the network cards that the hypervisor gave each.
pub trait Machines: fmt::Debug + Send + Sync {
    /// Who it is that says this of itself and shows `claimed`'s identity.
    fn whose(&self, claimed: Guest, facts: &GuestFacts) -> Whose;

    /// The same by what is known already: nobody is looked into on account of this caller.
    fn whose_by_now(&self, claimed: Guest, facts: &GuestFacts) -> Whose {
        self.whose(claimed, facts)
    }

    /// The hypervisor's mark of a virtual machine's life (`vmgenid`): another one after each rollback or restoration.
    /// None for a container, or where nobody tells.
    fn vmgenid(&self, guest: Guest) -> Option<String>;
}

/// What the hypervisor says of a caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Machine {
    pub(super) whose: Whose,
    /// That of the guest whose identity is shown.
    pub(super) vmgenid: Option<String>,
}

/// Whose a caller's network cards are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// The guest's whose identity it shows.
    Its,
    /// The caller's network cards are those of another guest.
    Anothers(Vmid),
    /// Not the guest's whose identity it shows, as far as the hypervisor lists its cards; and no other's that it lists.
    Strange,
    /// More than one guest's, of which one is this, and nobody knows yet which of them calls.
    Alike(Vmid),
    /// The hypervisor is to tell whose they are, and has not yet.
    Unknown,
    /// There is no hypervisor that could tell whose they are.
    Nobodys,
}

/// Where the hypervisor tells nothing.
#[derive(Debug)]
pub struct NoMachines;

impl Machines for NoMachines {
    fn whose(&self, _: Guest, _: &GuestFacts) -> Whose {
        Whose::Nobodys
    }

    fn vmgenid(&self, _: Guest) -> Option<String> {
        None
    }
}

/// Who shows an identity, as far as it says.
#[derive(Debug, Clone, Copy)]
pub struct LinkCaller<'c> {
    /// What it says of itself.
    pub facts: &'c GuestFacts,
    /// Where it calls from.
    pub from: SocketAddr,
}

impl fmt::Display for LinkCaller<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.facts.hostname, self.from.ip())?;
        match self.facts.hwaddrs.first() {
            Some(card) => write!(f, " with network card {card}"),
            None => Ok(()),
        }
    }
}

/// The last two starts of each guest, by which two live holders of one identity show: a start that was followed by
/// another one is over, and does not come again.
#[derive(Debug, Default)]
pub(super) struct Starts(HashMap<Guest, (Start, Option<Start>)>);

#[derive(Debug, Clone)]
struct Start {
    boot_id: String,
    caller: String,
}

/// Two machines that hold one identity, in words.
#[derive(Debug)]
pub(super) struct Twins {
    pub(super) one: String,
    pub(super) other: String,
}

impl Starts {
    /// Notes who calls. Twins, when the caller's start is one that was over.
    pub(super) fn note(&mut self, guest: Guest, caller: LinkCaller<'_>) -> Result<(), Twins> {
        if caller.facts.boot_id.is_empty() {
            return Ok(());
        }
        let start = Start { boot_id: caller.facts.boot_id.clone(), caller: caller.to_string() };
        match self.0.get_mut(&guest) {
            None => {
                self.0.insert(guest, (start, None));
            }
            Some((current, _)) if current.boot_id == start.boot_id => {}
            Some((current, previous)) => {
                if previous.as_ref().is_some_and(|previous| previous.boot_id == start.boot_id) {
                    return Err(Twins { one: start.caller, other: current.caller.clone() });
                }
                *previous = Some(std::mem::replace(current, start));
            }
        }
        Ok(())
    }

    /// The guest has a new identity: whoever held the one before is out.
    pub(super) fn forget(&mut self, guest: Guest) {
        self.0.remove(&guest);
    }
}
