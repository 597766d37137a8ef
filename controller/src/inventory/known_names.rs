//! Which guest each name in the manifest has meant so far.
//!
//! Answers: what does a name mean after a guest was renamed?
//! Invariant: a name goes over to another guest by itself only when the one that had it is gone. While that exists, a
//! person says which of the two is meant. Only Proxmox's names are kept: the configuration's are a person's word.

use std::collections::{BTreeMap, BTreeSet};

use pinion_proto::{
    clock::Timestamp,
    id::{Vmid, shown},
    stage::{Halt, Trouble},
};
use serde::{Deserialize, Serialize};

use super::unresolved::list;
use crate::manifest::GuestName;

/// Which guests there are, and their names.
pub(super) trait Listing {
    /// Whether it is all that there is.
    fn is_complete(&self) -> bool;

    /// Whether it is all that there is, and up to date.
    fn is_proof(&self) -> bool;

    /// The guests that have a name now, on Proxmox or as the configuration says.
    fn holders(&self, name: &GuestName) -> &[Vmid];

    /// Whether the configuration alone has a name.
    fn is_configured(&self, name: &GuestName) -> bool;

    /// A guest's name, empty where it has none; none where there is no such guest.
    fn name_now(&self, guest: Vmid) -> Option<&str>;
}

/// Which guest each name in the manifest has meant so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KnownNames {
    names: BTreeMap<GuestName, NameOwner>,
}

/// The guest that a name means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct NameOwner {
    guest: Vmid,
    /// When it was found to have another name; none while it has this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
}

/// What has become of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NameChange {
    /// Its guest exists, and has another name.
    Renamed {
        /// The guest.
        guest: Vmid,
        /// The trouble of its placements.
        trouble: Trouble,
    },
    /// Its guest has the name again.
    Back {
        /// The guest.
        guest: Vmid,
        /// The name.
        name: GuestName,
    },
    /// Its guest is gone, and another one has the name.
    Moved {
        /// The name.
        name: GuestName,
        /// The guest that is gone.
        from: Vmid,
        /// The one that has the name.
        to: Vmid,
    },
}

impl KnownNames {
    /// What the names that the manifest uses mean from now on, and what has changed of that.
    pub(super) fn observe(
        &self,
        used: BTreeSet<&GuestName>,
        listing: &impl Listing,
        now: Timestamp,
    ) -> (Self, Vec<NameChange>) {
        // A list that is not up to date proves nothing.
        if !listing.is_proof() {
            return (self.clone(), Vec::new());
        }
        let (mut next, mut changes) = (Self::default(), Vec::new());
        for name in used.into_iter().filter(|name| !listing.is_configured(name)) {
            let holder = match listing.holders(name) {
                [one] => Some(*one),
                _ => None,
            };
            let owner = match (self.names.get(name), holder) {
                (Some(owner), _) if listing.holders(name).contains(&owner.guest) => {
                    if owner.until.is_some() {
                        changes.push(NameChange::Back { guest: owner.guest, name: name.clone() });
                    }
                    Some(NameOwner { until: None, ..*owner })
                }
                (Some(owner), _) if listing.name_now(owner.guest).is_some() => {
                    let gone = NameOwner { until: owner.until.or(Some(now)), ..*owner };
                    if owner.until.is_none() {
                        let trouble = gone.trouble(name, listing);
                        changes.push(NameChange::Renamed { guest: owner.guest, trouble });
                    }
                    Some(gone)
                }
                (before, Some(holder)) => {
                    if let Some(before) = before {
                        changes.push(NameChange::Moved { name: name.clone(), from: before.guest, to: holder });
                    }
                    Some(NameOwner { guest: holder, until: None })
                }
                (_, None) => None,
            };
            next.names.extend(owner.map(|owner| (name.clone(), owner)));
        }
        (next, changes)
    }

    /// The same, with this guest for a name: a person says so.
    pub(crate) fn with(&self, name: GuestName, guest: Vmid) -> Self {
        let mut next = self.clone();
        next.names.insert(name, NameOwner { guest, until: None });
        next
    }

    /// The guest that a name has meant so far; none where that does not exist, or nobody has asked for the name before.
    pub(super) fn owner(&self, name: &GuestName, listing: &impl Listing) -> Option<Vmid> {
        self.existing(name, listing).map(|owner| owner.guest)
    }

    /// The trouble of a name whose guest exists and is called otherwise.
    pub(super) fn renamed(&self, name: &GuestName, listing: &impl Listing) -> Option<Trouble> {
        let owner = self.existing(name, listing)?;
        (!listing.holders(name).contains(&owner.guest)).then(|| owner.trouble(name, listing))
    }

    fn existing(&self, name: &GuestName, listing: &impl Listing) -> Option<&NameOwner> {
        let owner = self.names.get(name)?;
        (listing.is_complete() && !listing.is_configured(name) && listing.name_now(owner.guest).is_some())
            .then_some(owner)
    }
}

impl NameOwner {
    fn trouble(&self, name: &GuestName, listing: &impl Listing) -> Trouble {
        let guest = self.guest;
        let until = self.until.map_or_else(|| "before".to_owned(), |until| format!("until {until}"));
        let named_now = match listing.name_now(guest) {
            None | Some("") => "has no name now".to_owned(),
            Some(name) => format!("is named {} now", shown(name)),
        };
        let back = format!("for guest {guest}, write {guest} into the manifest, or give it its name back");
        let (taken, remedy) = match listing.holders(name) {
            [] => (String::new(), back),
            [one] => (
                format!("; {name} is guest {one} now"),
                format!(
                    "for guest {one}, run `pinion guest accept-name {name}`, or write {one} into the manifest; {back}"
                ),
            ),
            several => {
                let several = list(several);
                (
                    format!("; guests {several} are named {name} now"),
                    format!("write the number of the guest that is meant into the manifest; {back}"),
                )
            }
        };
        Trouble {
            halt: Halt::Blocked,
            attempt: format!("find the guest {name}"),
            cause: format!("guest {guest} was named {name} {until}, and {named_now}{taken}"),
            remedy,
            retry_at: None,
        }
    }
}

#[cfg(test)]
mod tests;
