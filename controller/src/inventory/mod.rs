//! Which guests exist, what Proxmox says of each, and which one the manifest means.
//!
//! Invariant: a name stands for at most one guest: the one that it has meant so far, for as long as that exists; two
//! guests that have got one name at once have to be named by number. What Proxmox says goes before what the
//! configuration says.

mod guest;
mod known_names;
pub mod proxmox;
mod unresolved;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use pinion_proto::{
    clock::Timestamp,
    field_names::did_you_mean,
    hwaddr::HwAddr,
    id::{Guest, Vmid},
    report::GuestFacts,
    stage::Trouble,
};

pub use guest::{GuestInfo, GuestKind, Node};
pub(crate) use known_names::{KnownNames, NameChange};
pub use unresolved::{NoGuest, UnresolvedGuest};

use crate::{
    identity::Whose,
    manifest::{GuestName, GuestRef},
};

/// The guests that this host knows, and their names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
    guests: BTreeMap<Vmid, GuestInfo>,
    by_name: HashMap<GuestName, Vec<Vmid>>,
    /// Names that the configuration has, and no guest on Proxmox.
    configured: HashSet<GuestName>,
    /// Which guests the manifest's names have meant so far.
    known_names: Arc<KnownNames>,
    knowledge: Knowledge,
    problem: Option<Trouble>,
    trouble: Option<Trouble>,
    alike: Vec<Alike>,
}

/// Guests that have one network card and cannot be distinguished: none of them is let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alike {
    /// The guests that share the name.
    pub guests: Vec<Vmid>,
    /// Why not, and what to do.
    pub trouble: Trouble,
}

/// How much is known of which guests there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Knowledge {
    /// There may be others: nobody tells of guests here.
    #[default]
    Partial,
    /// Proxmox is to tell of them, and has not yet.
    Awaited,
    /// Proxmox tells of all.
    Complete,
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
        Self { guests, by_name, ..Self::default() }
    }

    /// All guests of the cluster, as Proxmox tells them, and names that lead to a guest where Proxmox has no guest of
    /// that name.
    #[must_use]
    pub fn complete(guests: BTreeMap<Vmid, GuestInfo>, names: &BTreeMap<String, Vmid>) -> Self {
        let mut inventory = Self::new(guests);
        inventory.knowledge = Knowledge::Complete;
        let names = names.iter().filter_map(|(name, vmid)| Some((name.parse::<GuestName>().ok()?, *vmid)));
        for (name, vmid) in names {
            if !inventory.by_name.contains_key(&name) {
                inventory.configured.insert(name.clone());
                inventory.by_name.insert(name, vec![vmid]);
            }
        }
        inventory
    }

    /// Guests of which the names are known.
    #[must_use]
    pub fn from_names(names: BTreeMap<String, Vmid>) -> Self {
        let named = |(name, vmid)| (vmid, GuestInfo { name: Some(name), ..GuestInfo::default() });
        Self::new(names.into_iter().map(named).collect())
    }

    /// What is known before Proxmox has listed any guest: the names that the configuration has.
    #[must_use]
    pub fn awaited(names: BTreeMap<String, Vmid>) -> Self {
        Self { knowledge: Knowledge::Awaited, ..Self::from_names(names) }
    }

    /// The inventory with which guests the manifest's names have meant so far.
    #[must_use]
    pub(crate) fn with_known_names(mut self, known_names: Arc<KnownNames>) -> Self {
        self.known_names = known_names;
        self
    }

    /// What the names that the manifest uses mean from now on, and what has changed of that.
    pub(crate) fn names_from_now<'m>(
        &self,
        used: impl Iterator<Item = &'m GuestName>,
        now: Timestamp,
    ) -> (KnownNames, Vec<NameChange>) {
        self.known_names.observe(used.collect(), self, now)
    }

    /// Which guests the manifest's names have meant so far.
    #[must_use]
    pub(crate) fn known_names(&self) -> &Arc<KnownNames> {
        &self.known_names
    }

    /// The guests that have a name now.
    #[must_use]
    pub fn holders(&self, name: &GuestName) -> &[Vmid] {
        self.by_name.get(name).map_or(&[], Vec::as_slice)
    }

    /// The inventory with why it is not what Proxmox would say now.
    #[must_use]
    pub fn with_problem(mut self, problem: Option<Trouble>) -> Self {
        self.problem = problem;
        self
    }

    /// The inventory with which guests have one network card and cannot be distinguished.
    #[must_use]
    pub fn with_alike(mut self, alike: Vec<Alike>) -> Self {
        self.alike = alike;
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

    /// Why this is not what Proxmox would say now.
    #[must_use]
    pub fn problem(&self) -> Option<&Trouble> {
        self.problem.as_ref()
    }

    /// Which guests have one network card and cannot be distinguished.
    #[must_use]
    pub fn alike(&self) -> &[Alike] {
        &self.alike
    }

    /// Why this guest cannot be distinguished from another one.
    #[must_use]
    pub fn alike_trouble(&self, vmid: Vmid) -> Option<&Trouble> {
        self.alike.iter().find(|alike| alike.guests.contains(&vmid)).map(|alike| &alike.trouble)
    }

    /// Everything that keeps the guests from being known as they are: the host's troubles.
    pub fn troubles(&self) -> impl Iterator<Item = &Trouble> {
        self.problem.iter().chain(&self.trouble).chain(self.alike.iter().map(|alike| &alike.trouble))
    }

    /// Whether a guest that is not in here does not exist.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.knowledge == Knowledge::Complete
    }

    /// Whether Proxmox is to tell which guests there are, and has not yet.
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        self.knowledge == Knowledge::Awaited
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

    /// Whose network cards these are, of a caller that shows `claimed`'s identity. More than one guest has them where one
    /// was restored from another's backup and kept its cards; then `start` tells which of these it is, by the caller's
    /// `boot_id`.
    pub(crate) fn whose(
        &self,
        claimed: Guest,
        facts: &GuestFacts,
        start: impl FnOnce(&Self, &[Vmid], &str) -> Option<Vmid>,
    ) -> Whose {
        let Guest::Vmid(vmid) = claimed else { return Whose::Nobodys };
        if self.is_awaited() {
            return Whose::Unknown;
        }
        let of = |other: Vmid| if other == vmid { Whose::Its } else { Whose::Anothers(other) };
        match self.with_card(vmid, &facts.hwaddrs).as_slice() {
            [] => {
                let own = self.guests.get(&vmid);
                let listed = own.is_some_and(|info| !info.hwaddrs.is_empty()) && !facts.hwaddrs.is_empty();
                if listed { Whose::Strange } else { Whose::Nobodys }
            }
            [one] => of(*one),
            several => match start(self, several, &facts.boot_id) {
                Some(one) => of(one),
                None => Whose::Alike(several.iter().copied().find(|other| *other != vmid).unwrap_or(vmid)),
            },
        }
    }

    /// The guests that have one of these cards and may be the caller. Also those that are listed as stopped: what has only
    /// just been started is, for a moment, and may call within it.
    fn with_card(&self, claimed: Vmid, hwaddrs: &[HwAddr]) -> Vec<Vmid> {
        let has = |info: &GuestInfo| info.hwaddrs.iter().any(|own| hwaddrs.contains(own));
        let may_call = |vmid: Vmid, info: &GuestInfo| vmid == claimed || !info.template;
        let all = self.guests.iter().filter(|(vmid, info)| has(info) && may_call(**vmid, info));
        all.map(|(vmid, _)| *vmid).collect()
    }

    /// The guests that have a card in common with this one, and itself, as the hypervisor lists them: also those that are
    /// listed as stopped. None when it shares none.
    pub(crate) fn sharing(&self, vmid: Vmid) -> Vec<Vmid> {
        let own = self.guests.get(&vmid).map_or(&[][..], |info| &info.hwaddrs);
        let all = self.with_card(vmid, own);
        if all.len() > 1 { all } else { Vec::new() }
    }

    /// The guests that have a card in common with another one and may run, each such group by the numbers in it.
    #[must_use]
    pub fn alike_groups(&self) -> Vec<Vec<Vmid>> {
        let mut by_card: HashMap<HwAddr, Vec<Vmid>> = HashMap::new();
        for (vmid, info) in self.guests.iter().filter(|(_, info)| info.may_run()) {
            for card in &info.hwaddrs {
                let holders = by_card.entry(*card).or_default();
                if holders.last() != Some(vmid) {
                    holders.push(*vmid);
                }
            }
        }
        let mut groups: Vec<_> = by_card.into_values().filter(|holders| holders.len() > 1).collect();
        groups.sort_unstable();
        groups.dedup();
        groups
    }

    /// A virtual machine's `vmgenid`.
    #[must_use]
    pub fn vmgenid(&self, guest: Guest) -> Option<&str> {
        let Guest::Vmid(vmid) = guest else { return None };
        self.guests.get(&vmid)?.vmgenid.as_deref()
    }

    /// Which guest a word on the command line means: `host`, a VMID or a name.
    ///
    /// # Errors
    /// It is none of these, or a name that leads nowhere.
    pub fn guest_of(&self, word: &str) -> Result<Guest, NoGuest> {
        if let Ok(guest) = word.parse::<Guest>() {
            return Ok(guest);
        }
        if let Ok(number) = word.parse::<u32>() {
            return Err(NoGuest::NotAGuest(match Vmid::try_from(number) {
                Ok(_) => format!("`{word}` is not a VMID"),
                Err(error) => error.to_string(),
            }));
        }
        let name =
            word.parse().map_err(|_| NoGuest::NotAGuest(format!("`{word}` is neither a VMID nor a guest's name")))?;
        Ok(self.holder(&name)?)
    }

    /// A placement as somebody types it, with its guest's number in place of the guest's name; as it is, where no single
    /// guest has that name.
    #[must_use]
    pub fn placement_name(&self, text: &str) -> String {
        match text.rsplit_once('@').map(|(certificate, guest)| (certificate, self.guest_of(guest))) {
            Some((certificate, Ok(guest))) => format!("{certificate}@{guest}"),
            _ => text.to_owned(),
        }
    }

    /// Which guest the manifest means. A VMID is taken as it is, known or not: the guest may be made later. A name means
    /// the guest that it has meant so far, while that exists: [`Self::renamed`] says whether it is called so still.
    ///
    /// # Errors
    /// A name that no guest has, or more than one.
    pub fn resolve(&self, guest: &GuestRef) -> Result<Guest, UnresolvedGuest> {
        match guest {
            GuestRef::Host => Ok(Guest::Host),
            GuestRef::Vmid(vmid) => Ok(Guest::Vmid(*vmid)),
            GuestRef::Name(name) => match self.known_names.owner(name, self) {
                Some(owner) => Ok(Guest::Vmid(owner)),
                None => self.holder(name),
            },
        }
    }

    /// Why nothing is done for the guest that a name has meant so far: it is not called so any more.
    #[must_use]
    pub fn renamed(&self, guest: &GuestRef) -> Option<Trouble> {
        let GuestRef::Name(name) = guest else { return None };
        self.known_names.renamed(name, self)
    }

    /// Which guest was probably meant by a name that none has, as the end of a sentence.
    fn meant_by(&self, name: &GuestName) -> String {
        let mut names: Vec<_> = self.by_name.keys().map(GuestName::as_str).collect();
        names.sort_unstable();
        did_you_mean(name.as_str(), names.into_iter())
    }

    /// The one guest that has a name now.
    fn holder(&self, name: &GuestName) -> Result<Guest, UnresolvedGuest> {
        match self.holders(name) {
            [one] => Ok(Guest::Vmid(*one)),
            [] if self.is_awaited() => Err(UnresolvedGuest::Awaited(name.clone())),
            [] => Err(UnresolvedGuest::Unknown(name.clone(), self.meant_by(name))),
            several => Err(UnresolvedGuest::Ambiguous(name.clone(), several.to_vec())),
        }
    }
}

impl known_names::Listing for Inventory {
    fn is_complete(&self) -> bool {
        self.is_complete()
    }

    fn is_proof(&self) -> bool {
        self.is_complete() && self.problem.is_none()
    }

    fn holders(&self, name: &GuestName) -> &[Vmid] {
        self.holders(name)
    }

    fn is_configured(&self, name: &GuestName) -> bool {
        self.configured.contains(name)
    }

    fn name_now(&self, guest: Vmid) -> Option<&str> {
        self.guests.get(&guest).map(|info| info.name.as_deref().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests;
