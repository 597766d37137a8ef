//! Which guests exist, and which one the manifest means.
//!
//! Invariant: a name stands for at most one guest; two guests of one name have to be told apart by number.

use std::{
    collections::{BTreeMap, HashMap},
    str::FromStr,
};

use pinion_proto::{
    id::{Guest, Vmid},
    stage::{Halt, Trouble},
};

use serde::{Deserialize, Serialize};

use crate::manifest::{GuestName, GuestRef};

/// The guests of this host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
    guests: BTreeMap<Vmid, GuestInfo>,
    by_name: HashMap<GuestName, Vec<Vmid>>,
}

/// What a guest is to Proxmox: which of its tools reach it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GuestKind {
    /// A container: `pct`.
    Lxc,
    /// A virtual machine: `qm`, and the QEMU guest agent in it.
    Qemu,
}

/// What is known of a guest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GuestInfo {
    /// Its name in Proxmox, as it is written there.
    pub name: Option<String>,
}

impl Inventory {
    /// The guests with what is known of each.
    #[must_use]
    pub fn new(guests: BTreeMap<Vmid, GuestInfo>) -> Self {
        let mut by_name: HashMap<GuestName, Vec<Vmid>> = HashMap::new();
        for (vmid, info) in &guests {
            // A name that no manifest can write needs no way back from it.
            if let Some(name) = info.name.as_deref().and_then(|name| GuestName::from_str(name).ok()) {
                by_name.entry(name).or_default().push(*vmid);
            }
        }
        Self { guests, by_name }
    }

    /// Guests of which the names are known.
    #[must_use]
    pub fn from_names(names: BTreeMap<String, Vmid>) -> Self {
        Self::new(names.into_iter().map(|(name, vmid)| (vmid, GuestInfo { name: Some(name) })).collect())
    }

    /// Every guest, by number.
    pub fn guests(&self) -> impl ExactSizeIterator<Item = (Vmid, &GuestInfo)> {
        self.guests.iter().map(|(vmid, info)| (*vmid, info))
    }

    /// A guest's name, for people.
    #[must_use]
    pub fn name(&self, vmid: Vmid) -> Option<&str> {
        self.guests.get(&vmid)?.name.as_deref()
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
mod tests {
    use super::*;

    fn vmid(number: u32) -> Vmid {
        Vmid::try_from(number).expect("a VMID")
    }

    fn named(text: &str) -> GuestRef {
        GuestRef::Name(text.parse().expect("a guest's name"))
    }

    #[test]
    fn names_are_found_whatever_their_case() {
        let inventory = Inventory::from_names([("Gateway".to_owned(), vmid(101))].into());
        assert_eq!(inventory.resolve(&named("gateWAY")), Ok(Guest::Vmid(vmid(101))));
        assert_eq!(inventory.resolve(&GuestRef::Host), Ok(Guest::Host));
    }

    #[test]
    fn a_number_is_taken_as_it_is() {
        assert_eq!(Inventory::default().resolve(&GuestRef::Vmid(vmid(4711))), Ok(Guest::Vmid(vmid(4711))));
    }

    #[test]
    fn a_name_must_lead_to_one_guest() {
        let twin = |number| (vmid(number), GuestInfo { name: Some("web".to_owned()) });
        let inventory = Inventory::new([twin(200), twin(201)].into());
        let error = inventory.resolve(&named("web")).expect_err("two guests have it");
        assert_eq!(error.to_string(), "2 guests are named web: 200, 201");
        let error = inventory.resolve(&named("wbe")).expect_err("none has it");
        assert_eq!(error.to_string(), "no guest named wbe is known to this host");
        assert_eq!(error.trouble().halt, Halt::Blocked);
    }
}
