//! What is known: the manifest in force, which guests there are, what they reported, which roots the issuers have.
//!
//! Answers: everything that a plan and the parts of the loop ask about the world outside.
//! Invariant: changed by the methods of this folder alone: the loop's inputs are noted as they come, and what a part of
//! the loop learns is a `Change`. It is restored from the store in one way (`restore`). Nothing here is only known
//! here: the agents report it again.

mod age;
mod change;
mod guest_entry;
mod placement;
mod record;
mod reports;
mod restore;
pub(crate) mod shared_keys;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use pinion_proto::{
    bundle::Fingerprint,
    clock::Timestamp,
    id::{CertificateName, Guest, PlacementId},
    message::Hello,
    report::{GuestFacts, PlacementReport},
    spec::PlainName,
};

pub use age::{Age, Setback};
pub(crate) use change::Change;
pub use guest_entry::{GuestEntry, Link};
pub use placement::{Attempt, DeliveryNote, PlacementEntry, ReportedExpiry};
pub use record::{PlacementRecord, ReportRecord};
pub use reports::{Reports, SharedKey};
pub(crate) use restore::{KNOWN_NAMES, remove_record, restore, write_record};

use crate::{
    config::advertise::Reachable,
    inventory::{Inventory, KnownNames},
    issuer::IssuerRoots,
    manifest::{Manifest, file::InForce},
    planner::{self, Plan, backoff::Backoff},
};

/// Everything that is known. All of it can be lost, and comes back with the agents' reports.
#[derive(Debug, Clone)]
pub(crate) struct World {
    manifest: InForce,
    inventory: Arc<Inventory>,
    reports: Reports,
    /// What linked guests say of themselves.
    facts: HashMap<Guest, GuestFacts>,
    /// Guests that hold identities newer than what is on record: they must rejoin.
    must_rejoin: BTreeSet<Guest>,
    reachable: Reachable,
    /// Issuers that shortened certificates, and to what.
    shortened: BTreeMap<PlainName, Duration>,
    /// Why the state that nodes share cannot be written, if so.
    shared_state_problem: Option<String>,
    backoff: Backoff,
}

impl World {
    /// A world of which nothing is known but the manifest.
    pub(crate) fn new(manifest: InForce, backoff: Backoff) -> Self {
        Self {
            manifest,
            inventory: Arc::default(),
            reports: Reports::default(),
            facts: HashMap::new(),
            must_rejoin: BTreeSet::new(),
            reachable: Reachable::default(),
            shortened: BTreeMap::new(),
            shared_state_problem: None,
            backoff,
        }
    }

    /// How long to wait after failures.
    pub(crate) fn backoff(&self) -> Backoff {
        self.backoff
    }

    /// The manifest in force.
    pub(crate) fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest.manifest
    }

    /// The same, with what is wrong with the file on disk.
    pub(crate) fn in_force(&self) -> &InForce {
        &self.manifest
    }

    /// Which guests there are.
    pub(crate) fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    /// What guests reported, and what was tried for them.
    pub(crate) fn reports(&self) -> &Reports {
        &self.reports
    }

    /// What is known of a placement.
    pub(crate) fn placement(&self, id: &PlacementId) -> Option<&PlacementEntry> {
        self.reports.placement(id)
    }

    /// What its guest reported last of a placement.
    pub(crate) fn report(&self, id: &PlacementId) -> Option<&PlacementReport> {
        self.placement(id)?.report()
    }

    /// Whether a guest is linked.
    pub(crate) fn is_linked(&self, guest: Guest) -> bool {
        matches!(self.reports.link(guest), Link::Linked { .. })
    }

    /// What a guest says of itself; none before it has linked.
    pub(crate) fn facts(&self, guest: Guest) -> Option<&GuestFacts> {
        self.facts.get(&guest)
    }

    /// What guests say of themselves, in no order.
    pub(crate) fn all_facts(&self) -> impl Iterator<Item = (Guest, &GuestFacts)> {
        self.facts.iter().map(|(guest, facts)| (*guest, facts))
    }

    /// Guests whose identities are newer than what is on record.
    pub(crate) fn must_rejoin(&self) -> &BTreeSet<Guest> {
        &self.must_rejoin
    }

    /// By which addresses guests reach this controller.
    pub(crate) fn reachable(&self) -> &Reachable {
        &self.reachable
    }

    /// Issuers that shorten certificates, and to what.
    pub(crate) fn shortened(&self) -> &BTreeMap<PlainName, Duration> {
        &self.shortened
    }

    /// Why the state that nodes share cannot be written, if so.
    pub(crate) fn shared_state_problem(&self) -> Option<&str> {
        self.shared_state_problem.as_deref()
    }

    /// What is written of a guest; none when nothing is known of it.
    pub(crate) fn record(&self, guest: Guest, now: Timestamp) -> Option<ReportRecord> {
        self.reports.record(guest, now)
    }

    /// What is to be done now.
    pub(crate) fn plan<'m>(&self, manifest: &'m Manifest, now: Timestamp) -> Plan<'m> {
        planner::plan(manifest, &self.inventory, &self.reports, now)
    }

    /// Another manifest is in force, or another problem with the file is known. What failed may be mended by the
    /// change.
    pub(crate) fn set_manifest(&mut self, next: InForce) {
        if !Arc::ptr_eq(&self.manifest.manifest, &next.manifest) {
            self.reports.forget_attempts();
        }
        self.manifest = next;
    }

    /// Other guests are there. What the manifest's names have meant so far stays.
    pub(crate) fn set_inventory(&mut self, next: Arc<Inventory>) {
        let known_names = self.inventory.known_names().clone();
        self.inventory = Arc::new(Arc::unwrap_or_clone(next).with_known_names(known_names));
    }

    /// The manifest's names mean these guests.
    fn set_known_names(&mut self, next: KnownNames) {
        let inventory = std::mem::take(&mut self.inventory);
        self.inventory = Arc::new(Arc::unwrap_or_clone(inventory).with_known_names(Arc::new(next)));
    }

    /// Guests reach this controller by other addresses.
    pub(crate) fn set_reachable(&mut self, next: Reachable) {
        self.reachable = next;
    }

    /// A guest has linked, with an identity that is on record.
    pub(crate) fn linked(&mut self, guest: Guest, hello: Hello, now: Timestamp) {
        self.reports.note_age(guest, &hello);
        self.reports.hello(guest, hello.reports, now);
        self.facts.insert(guest, hello.facts);
        self.must_rejoin.remove(&guest);
    }

    /// A guest reports one placement.
    pub(crate) fn reported(&mut self, guest: Guest, report: PlacementReport, now: Timestamp) {
        self.reports.report(guest, report, now);
    }

    /// A guest has removed a placement's files.
    pub(crate) fn purged(&mut self, guest: Guest, certificate: &CertificateName) {
        self.reports.purged(guest, certificate);
    }

    /// A guest has joined, perhaps anew: its counts begin anew.
    pub(crate) fn joined(&mut self, guest: Guest, now: Timestamp) {
        self.reports.link_down(guest, now);
        self.reports.forget_age(guest);
    }

    /// A certificate was sent to its guest.
    pub(crate) fn sent(&mut self, id: &PlacementId, generation: u64, now: Timestamp) {
        self.reports.delivery_sent(id, generation, now);
    }

    /// A person asks for a renewal, which waits for no window if it is to be `now`. The generation that must be
    /// exceeded.
    pub(crate) fn request_renewal(&mut self, id: &PlacementId, now: bool) -> u64 {
        if now { self.reports.request_renewal(id) } else { self.reports.request_renewal_in_window(id) }
    }

    /// Somebody waits for what a placement is now: the number that its guest reports when it has looked; none where its
    /// agent does not say that.
    pub(crate) fn request_look(&mut self, id: &PlacementId) -> Option<u64> {
        self.looks(id.guest).then(|| self.reports.request_look(id))
    }

    /// Whether a guest's agent looks when it is asked to, as it last said.
    pub(crate) fn looks(&self, guest: Guest) -> bool {
        self.facts(guest).is_some_and(|facts| facts.looks)
    }

    /// What its issuer's certificates end at is another root, where a certificate that was just signed shows that.
    pub(crate) fn roots_after(&self, issuer: &PlainName, root: Fingerprint) -> Option<IssuerRoots> {
        let known = self.reports.roots(issuer)?;
        (known.signing != root && known.is_current(root)).then(|| IssuerRoots { signing: root, ..(**known).clone() })
    }
}
