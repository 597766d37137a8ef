//! Which guests exist, what Proxmox says of each, and which one the manifest means.
//!
//! Invariant: a name stands for at most one guest; two guests of one name have to be told apart by number. What
//! Proxmox says goes before what the configuration says.

mod guest;
pub mod proxmox;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use pinion_proto::{
    hwaddr::HwAddr,
    id::{Guest, Vmid},
    stage::{Halt, Trouble},
};
use tokio::sync::watch;

pub use guest::{GuestInfo, GuestKind, Node};

use crate::{
    identity::{Machines, Whose},
    manifest::{GuestName, GuestRef},
};

/// The guests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
    guests: BTreeMap<Vmid, GuestInfo>,
    by_name: HashMap<GuestName, Vec<Vmid>>,
    complete: bool,
    problem: Option<String>,
    trouble: Option<Trouble>,
}

impl Inventory {
    /// Guests of which something is known, among perhaps others.
    #[must_use]
    pub fn new(guests: BTreeMap<Vmid, GuestInfo>) -> Self {
        let mut by_name: HashMap<GuestName, Vec<Vmid>> = HashMap::new();
        for (vmid, info) in &guests {
            // A name that no manifest can write needs no way back from it.
            if let Some(name) = info.name.as_deref().and_then(|name| name.parse().ok()) {
                by_name.entry(name).or_default().push(*vmid);
            }
        }
        Self { guests, by_name, complete: false, problem: None, trouble: None }
    }

    /// All guests of the cluster, as Proxmox tells them, and names that lead to a guest where Proxmox has no guest of
    /// that name.
    #[must_use]
    pub fn complete(guests: BTreeMap<Vmid, GuestInfo>, names: &BTreeMap<String, Vmid>) -> Self {
        let mut inventory = Self::new(guests);
        inventory.complete = true;
        let names = names.iter().filter_map(|(name, vmid)| Some((name.parse::<GuestName>().ok()?, *vmid)));
        for (name, vmid) in names {
            inventory.by_name.entry(name).or_insert_with(|| vec![vmid]);
        }
        inventory
    }

    /// Guests of which the names are known.
    #[must_use]
    pub fn from_names(names: BTreeMap<String, Vmid>) -> Self {
        let named = |(name, vmid)| (vmid, GuestInfo { name: Some(name), ..GuestInfo::default() });
        Self::new(names.into_iter().map(named).collect())
    }

    /// The inventory with what stands in the way of knowing it as it is now.
    #[must_use]
    pub fn with_problem(mut self, problem: Option<String>) -> Self {
        self.problem = problem;
        self
    }

    /// The inventory with why Proxmox does not say which guests run.
    #[must_use]
    pub fn with_trouble(mut self, trouble: Option<Trouble>) -> Self {
        self.trouble = trouble;
        self
    }

    /// Why Proxmox does not say which guests run, though its files can be read.
    #[must_use]
    pub fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref()
    }

    /// Why this is not what Proxmox would say now: what, where, why, what to do.
    #[must_use]
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// Whether a guest that is not in here does not exist.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// Every guest, by number.
    pub fn guests(&self) -> impl ExactSizeIterator<Item = (Vmid, &GuestInfo)> {
        self.guests.iter().map(|(vmid, info)| (*vmid, info))
    }

    /// What is known of a guest.
    #[must_use]
    pub fn guest(&self, vmid: Vmid) -> Option<&GuestInfo> {
        self.guests.get(&vmid)
    }

    /// A guest's name, for people.
    #[must_use]
    pub fn name(&self, vmid: Vmid) -> Option<&str> {
        self.guests.get(&vmid)?.name.as_deref()
    }

    /// Whether nothing may be said to a guest now, even if its agent is linked: another node's controller sees to
    /// it, or a backup of it is being made.
    #[must_use]
    pub fn hands_off(&self, guest: Guest) -> bool {
        let Guest::Vmid(vmid) = guest else { return false };
        self.guests.get(&vmid).is_some_and(|info| !info.is_here() || info.is_backed_up())
    }

    /// Whose network cards these are, of a caller that shows `claimed`'s identity: its own if only one is.
    #[must_use]
    pub fn whose(&self, claimed: Guest, hwaddrs: &[HwAddr]) -> Whose {
        let Guest::Vmid(vmid) = claimed else { return Whose::Nobodys };
        let has = |info: &GuestInfo| info.hwaddrs.iter().any(|own| hwaddrs.contains(own));
        let own = self.guests.get(&vmid);
        if own.is_some_and(has) {
            return Whose::Its;
        }
        let listed = own.is_some_and(|info| !info.hwaddrs.is_empty()) && !hwaddrs.is_empty();
        match self.guests.iter().find(|(_, info)| has(info)) {
            Some((other, _)) => Whose::Anothers(*other),
            None if listed => Whose::Strange,
            None => Whose::Nobodys,
        }
    }

    /// A virtual machine's `vmgenid`.
    #[must_use]
    pub fn vmgenid(&self, guest: Guest) -> Option<&str> {
        let Guest::Vmid(vmid) = guest else { return None };
        self.guests.get(&vmid)?.vmgenid.as_deref()
    }

    /// Which guest the manifest means. A VMID is taken as it is, known or not: the guest may be made later.
    ///
    /// # Errors
    /// A name that no guest has, or more than one.
    pub fn resolve(&self, guest: &GuestRef) -> Result<Guest, UnresolvedGuest> {
        match guest {
            GuestRef::Host => Ok(Guest::Host),
            GuestRef::Vmid(vmid) => Ok(Guest::Vmid(*vmid)),
            GuestRef::Name(name) => match self.by_name.get(name).map(Vec::as_slice) {
                Some([one]) => Ok(Guest::Vmid(*one)),
                None | Some([]) => Err(UnresolvedGuest::Unknown(name.clone())),
                Some(several) => Err(UnresolvedGuest::Ambiguous(name.clone(), several.to_vec())),
            },
        }
    }
}

/// The inventory as it is at each moment.
impl Machines for watch::Receiver<Arc<Inventory>> {
    fn whose(&self, claimed: Guest, hwaddrs: &[HwAddr]) -> Whose {
        self.borrow().whose(claimed, hwaddrs)
    }

    fn vmgenid(&self, guest: Guest) -> Option<String> {
        self.borrow().vmgenid(guest).map(str::to_owned)
    }
}

/// Why the manifest's name for a guest leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnresolvedGuest {
    /// No guest has the name.
    #[error("no guest named {0} is known to this host")]
    Unknown(GuestName),
    /// More than one has it.
    #[error("{} guests are named {}: {}", .1.len(), .0, list(.1))]
    Ambiguous(GuestName, Vec<Vmid>),
}

impl UnresolvedGuest {
    /// As a placement's trouble.
    #[must_use]
    pub fn trouble(&self) -> Trouble {
        let (name, remedy) = match self {
            Self::Unknown(name) => {
                (name, "write its VMID into the manifest, or correct the name; Pinion looks again when either changes")
            }
            Self::Ambiguous(name, _) => (name, "write the VMID into the manifest instead of the name"),
        };
        Trouble {
            halt: Halt::Blocked,
            attempt: format!("find the guest {name}"),
            cause: self.to_string(),
            remedy: remedy.to_owned(),
            retry_at: None,
        }
    }
}

fn list(vmids: &[Vmid]) -> String {
    vmids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
