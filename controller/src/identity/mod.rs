//! Who is who on the links: Pinion's own CA, join tokens, and the identities that guests hold.
//!
//! Answers: may this caller become, or go on being, that guest?
//! Invariant: an identity is given for a live token once, or for the newest identity of the same guest; which
//! identity is the newest is on disk before anything is given out. Services' certificates have no part in this.

mod asking;
mod ca;
mod decided;
mod domain;
mod error;
mod forgotten;
mod grant;
mod guests;
mod handover;
mod loss;
mod machine;
mod next_root;
mod node;
mod record;
mod refused;
pub(crate) mod renewal;
pub(crate) mod rollover;
mod token;

use std::{net::SocketAddr, path::Path, sync::Arc};

use pinion_proto::{
    bundle::{EndorsedRoot, Fingerprint, RootCertificate},
    clock::{Clock, Timestamp},
    id::{Guest, TrustDomain},
    message::{IssuedIdentity, JoinRequest},
    report::GuestFacts,
    tls::Peer,
    token::JoinToken,
};

use self::{
    asking::Deadline, grant::Grant, guests::Guests, loss::Wish, machine::Machine, rollover::Rollover, token::Tokens,
};
pub use self::{
    ca::{ControllerIdentity, IdentityCa},
    error::IdentityError,
    machine::{LinkCaller, Machines, NoMachines, Whose},
    record::GuestRecord,
    refused::{JoinRefused, Refused},
    rollover::RolloverProgress,
    token::TokenRefused,
};
pub(crate) use self::{
    domain::{set_domain, settle_domain, stored_domain},
    loss::{GivenUp, NewRoot, PIN, pinned},
    next_root::{NEXT as NEXT_OF_ROOT_PROCESS, NextWish},
};
pub(crate) use crate::authority::documents::{PUBLIC_ROOT, ROOT_BEFORE, ROOT_DOCUMENT};
use crate::{
    authority::Traces,
    channel::client::Client,
    store::{Store, StoreError},
};

/// The identities of one installation. Calls block for as long as the disk takes.
#[derive(Debug)]
pub struct Identities {
    ca: IdentityCa,
    rollover: Rollover,
    /// Why the next root is not known or has not taken over, in words.
    late: Option<String>,
    tokens: Tokens,
    guests: Guests,
    machines: Arc<dyn Machines>,
    clock: Arc<dyn Clock>,
}

impl Identities {
    /// Reads the identities from the shared area, or makes the root at first start, in the trust domain given,
    /// or in one of its own (`<8 random hexadecimal digits>.pinion`). Later starts keep the stored domain.
    /// `machines` tells a guest from its copies.
    ///
    /// # Errors
    /// A document cannot be read or written, the stored trust domain is not the one that is asked for, or there was a
    /// root and it is gone.
    pub fn open(
        store: &Arc<Store>,
        clock: Arc<dyn Clock>,
        trust_domain: Option<&TrustDomain>,
        machines: Arc<dyn Machines>,
    ) -> Result<Self, IdentityError> {
        let wish = loss::spend_new_root(store)?;
        Self::open_own(store, clock, trust_domain, machines, None, wish)
    }

    /// With a root that this controller holds itself.
    fn open_own(
        store: &Arc<Store>,
        clock: Arc<dyn Clock>,
        trust_domain: Option<&TrustDomain>,
        machines: Arc<dyn Machines>,
        host: Option<&Path>,
        wish: Wish,
    ) -> Result<Self, IdentityError> {
        let (guests, now) = (Guests::new(store.clone()), clock.now());
        let mut traces = if wish == Wish::AtOnce { Traces::default() } else { loss::traces(store, host)? };
        next_root::allow(store, &mut traces.pinned, None)?;
        rollover::advance(store, &guests, &mut traces.pinned, now)?;
        let ca = IdentityCa::load_or_make(store, trust_domain, traces, now)?;
        // One of the root process's that is on its way goes on.
        if wish == Wish::Rollover && next_root::stored(store)?.is_none() {
            rollover::begin(store, ca.trust_domain(), now)?;
        }
        let rollover = ca.rollover(store, now)?;
        Ok(Self { ca, rollover, late: None, tokens: Tokens::new(store.clone()), guests, machines, clock })
    }

    /// As [`Self::open`], on a host whose root process may hold the root's key: then this controller has an authority
    /// below it. `host` is the directory that stands for `/`, where a file may name the root; the last is whether a new
    /// installation leaves its root to a root process that is there.
    ///
    /// # Errors
    /// As [`Self::open`]; also where the root is not the one that is named, or the root process does not sign.
    pub async fn open_on_host(
        store: &Arc<Store>,
        clock: Arc<dyn Clock>,
        trust_domain: Option<&TrustDomain>,
        machines: Arc<dyn Machines>,
        (host, root_process, begins_there): (&Path, &Client, bool),
    ) -> Result<Self, IdentityError> {
        rollover::resume(store)?;
        let wish = loss::spend_new_root(store)?;
        let begins_there = begins_there && root_process.is_there();
        let (tokens, guests) = (Tokens::new(store.clone()), Guests::new(store.clone()));
        let (deadline, now) = (Deadline::of_start(), clock.now());
        let unknown = handover::learn(store, root_process, deadline).await?;
        let waits = handover::advance(store, root_process, &guests, deadline, now).await?;
        let late = unknown.or(waits);
        if let Some(why) = &late {
            tracing::warn!("{why}");
        }
        let Some(grant) = node::grant(store, root_process, host, (wish, begins_there), (deadline, now)).await? else {
            return Ok(Self { late, ..Self::open_own(store, clock, trust_domain, machines, Some(host), wish)? });
        };
        let ca = IdentityCa::under(store, trust_domain, grant)?;
        let rollover = ca.rollover(store, now)?;
        Ok(Self { ca, rollover, late, tokens, guests, machines, clock })
    }

    /// Every root under which agents' identities are accepted now.
    #[must_use]
    pub fn trusted_roots(&self) -> Vec<RootCertificate> {
        let Rollover { next, former, .. } = &self.rollover;
        let next = next.as_ref().map(|next| &next.root);
        std::iter::once(self.ca.root()).chain(next).chain(former).cloned().collect()
    }

    /// The root that agents are to trust beside the one that signs, while it is on its way.
    #[must_use]
    pub fn next_root(&self) -> Option<&EndorsedRoot> {
        self.rollover.next.as_ref()
    }

    /// An agent says which roots it trusts.
    ///
    /// # Errors
    /// The disk refuses; it says so again at its next link.
    pub fn note_roots(&self, guest: Guest, roots: &[Fingerprint]) -> Result<(), StoreError> {
        match self.next_root().map(|next| next.root.fingerprint()).filter(|next| roots.contains(next)) {
            Some(next) => self.guests.note_root(guest, next),
            None => Ok(()),
        }
    }

    /// How far the next root is; none where there is none.
    ///
    /// # Errors
    /// A guest's record cannot be read.
    pub fn rollover(&self) -> Result<Option<RolloverProgress>, StoreError> {
        let Some(next) = self.next_root().map(|next| next.root.fingerprint()) else { return Ok(None) };
        let all = self.guests.all()?;
        let (guests, missing) = (all.len(), rollover::missing(&all, next));
        Ok(Some(RolloverProgress { next, held_by_root_process: self.rollover.held_by_root_process, guests, missing }))
    }

    /// What keeps the next root from being known, or from taking over although every guest trusts it.
    #[must_use]
    pub fn rollover_late(&self) -> Option<&str> {
        self.late.as_deref()
    }

    /// Since when this controller's authority under the root is what it is, and the root; none where it is the root.
    pub(crate) fn node(&self) -> Option<(Timestamp, Fingerprint)> {
        Some((self.ca.node_since()?, self.ca.root().fingerprint()))
    }

    fn renewed_node(&self, grant: Grant) {
        self.ca.renewed_node(grant);
    }

    /// The root by which agents know the controller.
    #[must_use]
    pub fn root(&self) -> &RootCertificate {
        self.ca.root()
    }

    /// Whose authority the root is.
    #[must_use]
    pub fn trust_domain(&self) -> &TrustDomain {
        self.ca.trust_domain()
    }

    /// A fresh identity for the controller itself, good for 30 days; make another one well before.
    ///
    /// # Errors
    /// The root has expired, or there are no random numbers.
    pub fn issue_controller(&self) -> Result<ControllerIdentity, IdentityError> {
        self.ca.issue_controller(self.clock.now())
    }

    /// A join token for a guest, good once and for 10 minutes; it takes the place of an earlier one.
    /// `controllers` are the addresses that the guest can reach the controller by.
    ///
    /// # Errors
    /// The guest is locked, too many tokens are live, or the disk refuses.
    pub fn create_token(&self, guest: Guest, controllers: Vec<SocketAddr>) -> Result<JoinToken, TokenRefused> {
        if let Some(why) = self.guests.read(guest)?.and_then(|record| record.locked) {
            return Err(TokenRefused::Locked { guest, why });
        }
        let secret = self.tokens.create(guest, self.clock.now())?;
        Ok(JoinToken { guest, secret, root: self.ca.root().clone(), controllers })
    }

    /// Whether a request shows a live token; it is not spent by this.
    #[must_use]
    pub fn is_live(&self, request: &JoinRequest, now: Timestamp) -> bool {
        self.tokens.is_live(request.guest, &request.secret, now)
    }

    /// Spends a token and gives its guest a new identity; all its earlier ones are refused from now on, so the
    /// caller should close its links.
    ///
    /// # Errors
    /// Why is for the log and the event alone: the one who asks is told [`JoinRefused::told`], whatever it was.
    pub fn join(&self, request: &JoinRequest, now: Timestamp) -> Result<IssuedIdentity, JoinRefused> {
        // No token is spent on a record that nothing can be added to.
        self.guests.read(request.guest)?;
        self.tokens.spend(request.guest, &request.secret, now)?;
        let vmgenid = self.machines.vmgenid(request.guest);
        self.guests.replace(request.guest, &request.facts, vmgenid, now, |generation| {
            let issued = self.ca.issue_guest(request.guest, &request.csr, now)?;
            Ok((issued.serial, IssuedIdentity { chain: issued.chain, generation }))
        })
    }

    /// A new identity for a guest that showed this one on its link. The old one stays good until
    /// the new one is seen, because the agent may stop before it has stored it.
    ///
    /// # Errors
    /// As [`Self::admit`], a bad request, or the disk refuses.
    pub fn renew(&self, guest: Guest, shown: &Peer, csr: &[u8]) -> Result<IssuedIdentity, JoinRefused> {
        let now = self.clock.now();
        self.guests.renew(guest, shown, now, |generation| {
            let issued = self.ca.issue_guest(guest, csr, now)?;
            Ok((issued.serial, IssuedIdentity { chain: issued.chain, generation }))
        })
    }

    /// Whether a link of this guest, with this identity, may be.
    ///
    /// Showing an identity that was renewed away means that the guest was cloned or rolled back. Where its network
    /// cards tell which, a clone is sent away and the original undisturbed, and a guest that was rolled back has to
    /// join again; otherwise the guest is locked. It is locked too when two machines show one identity in turns. A
    /// virtual machine that has another `vmgenid` than before has to join again. One of our root that was given after
    /// everything that is on record says that the record was restored from a backup: it is not let in either.
    ///
    /// # Errors
    /// Why not.
    pub fn admit(&self, guest: Guest, shown: &Peer, caller: LinkCaller<'_>) -> Result<(), Refused> {
        // The hypervisor is asked only on account of what was given to the guest since it joined.
        let on_record = self.guests.read(guest)?.is_some_and(|record| record.has(&shown.serial));
        let whose = if on_record {
            self.machines.whose(guest, caller.facts)
        } else {
            self.machines.whose_by_now(guest, caller.facts)
        };
        self.guests.admit(guest, shown, Machine { whose, vmgenid: self.machines.vmgenid(guest) }, caller)
    }

    /// Who it is that says this of itself and shows `claimed`'s identity, as far as the hypervisor tells.
    #[must_use]
    pub fn whose(&self, claimed: Guest, facts: &GuestFacts) -> Whose {
        self.machines.whose(claimed, facts)
    }

    /// Trusts none of the identities that a guest has been given so far: it was rolled back, and has to join again.
    ///
    /// # Errors
    /// The disk refuses; it holds all the same, and is written as soon as it can be ([`Self::catch_up`]).
    pub fn distrust(&self, guest: Guest) -> Result<(), StoreError> {
        self.guests.distrust(guest)
    }

    /// What is known of a guest's identity; none when it never joined, or was forgotten.
    ///
    /// # Errors
    /// The document cannot be read.
    pub fn guest(&self, guest: Guest) -> Result<Option<GuestRecord>, StoreError> {
        self.guests.read(guest)
    }

    /// Every guest that has an identity.
    ///
    /// # Errors
    /// A document cannot be read.
    pub fn guests(&self) -> Result<Vec<(Guest, GuestRecord)>, StoreError> {
        self.guests.all()
    }

    /// Writes down what was decided about guests while the disk refused it, as far as it takes it now. Each link of such
    /// a guest tries that too.
    pub fn catch_up(&self) {
        self.guests.catch_up();
    }

    /// Refuses all of a guest's identities, and tokens for it, until it is unlocked. False when it has none.
    ///
    /// # Errors
    /// The disk refuses; as with [`Self::distrust`], it holds all the same.
    pub fn lock(&self, guest: Guest, why: &str) -> Result<bool, StoreError> {
        self.guests.set_lock(guest, Some(why))
    }

    /// Lets a guest join again; what was renewed away stays refused. False when it has no identity.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn unlock(&self, guest: Guest) -> Result<bool, StoreError> {
        self.guests.set_lock(guest, None)
    }

    /// Forgets a guest: its identity and its token are refused from now on.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn forget(&self, guest: Guest) -> Result<(), StoreError> {
        self.tokens.remove(guest)?;
        self.guests.forget(guest, self.clock.now())
    }

    /// Forgets a guest that a person puts out; where the disk refuses that, locks it instead.
    ///
    /// # Errors
    /// The disk refuses; as with [`Self::distrust`], it holds all the same.
    pub fn evict(&self, guest: Guest) -> Result<(), StoreError> {
        let Err(error) = self.forget(guest) else { return Ok(()) };
        Err(self.lock(guest, "it was evicted").err().unwrap_or(error))
    }
}

#[cfg(test)]
mod tests;
