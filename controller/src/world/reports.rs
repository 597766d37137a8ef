//! What is known of the guests: who is linked, what each reports that it holds, what was tried for it.
//!
//! Answers the planner's every question about the world.
//! Invariant: what a guest says is a level: it replaces what was known, and saying it twice, or only the newest, leads
//! to the same state; what only grows (generations, ages) is kept beside it. What has to be parsed is parsed here,
//! once, on entry.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use pinion_proto::{
    bundle::Fingerprint,
    clock::Timestamp,
    id::{CertificateName, Guest, PlacementId},
    key::KeyAlgorithm,
    message::Hello,
    message::PurgeManner,
    report::{PlacementReport, Progress},
    spec::PlainName,
    stage::{Trouble, Validity},
};

use super::{
    age::{Age, Setback},
    guest_entry::{GuestEntry, Link},
    placement::{Attempt, DeliveryNote, PlacementEntry, ReportedExpiry},
    record::ReportRecord,
};
use crate::{
    freeze::Freezes,
    issuer::IssuerRoots,
    planner::{Turn, backoff::Backoff},
};

/// What is known of the guests, and what a plan asks besides: shared keys, issuers' roots, freezes.
#[derive(Debug, Clone, Default)]
pub struct Reports {
    guests: HashMap<Guest, GuestEntry>,
    shared_keys: HashMap<CertificateName, SharedKey>,
    roots: BTreeMap<PlainName, Arc<IssuerRoots>>,
    freezes: Freezes,
}

/// The key that the controller made last for a shared certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SharedKey {
    /// The SHA-256 of its subjectPublicKeyInfo, as [`pinion_proto::bundle::Leaf::key`].
    pub fingerprint: Fingerprint,
    /// What kind of key it is.
    pub algorithm: KeyAlgorithm,
}

impl Reports {
    /// What is known of a guest.
    #[must_use]
    pub fn guest(&self, guest: Guest) -> Option<&GuestEntry> {
        self.guests.get(&guest)
    }

    /// Every guest of which anything is known, in no order.
    pub fn guests(&self) -> impl ExactSizeIterator<Item = (Guest, &GuestEntry)> {
        self.guests.iter().map(|(guest, entry)| (*guest, entry))
    }

    /// Whether a guest's agent can be reached.
    #[must_use]
    pub fn link(&self, guest: Guest) -> Link {
        self.guest(guest).map(GuestEntry::link).unwrap_or_default()
    }

    /// What is known of a placement.
    #[must_use]
    pub fn placement(&self, id: &PlacementId) -> Option<&PlacementEntry> {
        self.guest(id.guest)?.placement(&id.certificate)
    }

    /// What keeps the hypervisor from bringing an agent into a guest.
    #[must_use]
    pub fn enrolment(&self, guest: Guest) -> Option<&Trouble> {
        self.guest(guest)?.enrolment()
    }

    /// What keeps the hypervisor from bringing an agent into a guest is this now; none when nothing does.
    pub fn set_enrolment(&mut self, guest: Guest, trouble: Option<Trouble>) {
        if trouble.is_some() {
            self.guests.entry(guest).or_default().enrolment = trouble;
        } else if let Some(entry) = self.guests.get_mut(&guest) {
            entry.enrolment = None;
        }
    }

    /// A guest's agent has linked; linked already, it keeps its `since`.
    pub fn link_up(&mut self, guest: Guest, now: Timestamp) {
        let entry = self.guests.entry(guest).or_default();
        if !matches!(entry.link, Link::Linked { .. }) {
            entry.link = Link::Linked { since: now };
        }
    }

    /// A guest's link is gone, and with it everything that was on its way.
    pub fn link_down(&mut self, guest: Guest, now: Timestamp) {
        let Some(entry) = self.guests.get_mut(&guest) else { return };
        if matches!(entry.link, Link::Linked { .. }) {
            entry.link = Link::Away { since: now };
        }
        for placement in entry.placements.values_mut() {
            placement.delivery = None;
        }
    }

    /// What in a hello shows that the guest was taken back to an earlier state.
    #[must_use]
    pub fn setback(&self, guest: Guest, hello: &Hello) -> Option<Setback> {
        let entry = self.guest(guest)?;
        let generation = |certificate: &_| Some(entry.placement(certificate)?.report()?.last_generation);
        entry.age?.setback(hello, generation)
    }

    /// A guest has joined anew: its counts begin anew, whatever the numbers of its identities. They begin below what is
    /// known where the shared state was restored from a backup and what is kept of the guest was not.
    pub fn forget_age(&mut self, guest: Guest) {
        if let Some(entry) = self.guests.get_mut(&guest) {
            entry.age = None;
        }
    }

    /// Notes how old a guest is that has just linked.
    pub fn note_age(&mut self, guest: Guest, hello: &Hello) {
        let entry = self.guests.entry(guest).or_default();
        entry.age = Some(Age::after(entry.age, hello));
    }

    /// Everything that a guest holds: what it does not name, it does not hold.
    pub fn hello(&mut self, guest: Guest, reports: Vec<PlacementReport>, now: Timestamp) {
        self.link_up(guest, now);
        let entry = self.guests.entry(guest).or_default();
        let named: HashMap<CertificateName, PlacementReport> =
            reports.into_iter().map(|report| (report.certificate.clone(), report)).collect();
        for (certificate, placement) in &mut entry.placements {
            // On a new link nothing is on its way.
            placement.delivery = None;
            if !named.contains_key(certificate) {
                placement.report = None;
                placement.holds = None;
                placement.request = None;
                placement.incoming_since = None;
            }
        }
        for (certificate, report) in named {
            entry.placements.entry(certificate).or_default().take(report, now);
        }
        entry.count_reported();
        entry.limit_memory();
    }

    /// One placement's new state.
    pub fn report(&mut self, guest: Guest, report: PlacementReport, now: Timestamp) {
        let entry = self.guests.entry(guest).or_default();
        let placement = entry.placements.entry(report.certificate.clone()).or_default();
        entry.reported += usize::from(placement.report.is_none());
        placement.take(report, now);
    }

    /// A guest has removed a placement's files.
    pub fn purged(&mut self, guest: Guest, certificate: &CertificateName) {
        if let Some(entry) = self.guests.get_mut(&guest) {
            if let Some(placement) = entry.placements.get_mut(certificate) {
                entry.reported -= usize::from(placement.report.is_some());
                **placement = placement.memory();
            }
            entry.limit_memory();
        }
    }

    /// Forgets a guest wholly, because a person said so.
    pub fn forget(&mut self, guest: Guest) {
        self.guests.remove(&guest);
    }

    /// An issuance for a placement has failed; the next is not made before the backoff's delay has passed.
    /// The trouble's own `retry_at` is replaced by that moment, unless it is later.
    pub fn attempt_failed(&mut self, id: &PlacementId, mut trouble: Trouble, backoff: &Backoff, now: Timestamp) {
        let placement = self.entry(id);
        let failures = placement.attempt.as_ref().map_or(0, |attempt| attempt.failures).saturating_add(1);
        // Rounded up: a moment has whole seconds, and a shorter pause cut down to none would be a storm.
        let pause = backoff.delay(failures, id) + Duration::from_millis(999);
        let not_before = (now + pause).max(trouble.retry_at.unwrap_or(now));
        trouble.retry_at = Some(not_before);
        placement.attempt = Some(Attempt { failures, not_before, trouble });
    }

    /// An issuance for a placement has succeeded.
    pub fn attempt_succeeded(&mut self, id: &PlacementId) {
        self.entry(id).attempt = None;
    }

    /// Forgets a placement's failed attempt: somebody waits for it, and says that it is worth another try.
    pub fn forget_attempt(&mut self, id: &PlacementId) {
        if self.placement(id).is_some() {
            self.entry(id).forget_attempt();
        }
    }

    /// Forgets every failed attempt: after the manifest or the issuers' configuration has changed, the
    /// reason may be gone, and everything is tried anew at once.
    pub fn forget_attempts(&mut self) {
        for placement in self.guests.values_mut().flat_map(|guest| guest.placements.values_mut()) {
            placement.forget_attempt();
        }
    }

    /// The clock shows less than before: no moment that was put down lies ahead, and what was refused is offered again.
    pub fn clock_moved_back(&mut self, now: Timestamp) {
        self.forget_attempts();
        for placement in self.guests.values_mut().flat_map(|guest| guest.placements.values_mut()) {
            placement.delivery = None;
            placement.incoming_since = placement.incoming_since.map(|since| since.min(now));
            placement.turn = placement.turn.map(|since| since.min(now));
        }
    }

    /// A certificate was sent to the guest.
    pub fn delivery_sent(&mut self, id: &PlacementId, generation: u64, now: Timestamp) {
        let placement = self.entry(id);
        placement.delivery = Some(DeliveryNote { generation, sent: now, refused: None });
        placement.sent = placement.sent.max(generation);
    }

    /// Somebody asks for a renewal: the generation that must be exceeded. A generation that is ordered and
    /// not signed yet is new enough, and so is one that is being installed without trouble when a renewal
    /// was asked for before; so asking again changes nothing, except that a backoff in progress is cut short.
    pub fn request_renewal_in_window(&mut self, id: &PlacementId) -> u64 {
        let placement = self.entry(id);
        placement.attempt = None;
        let report = placement.report.as_ref();
        let last = report.map_or(0, |report| report.last_generation);
        let incoming = report.and_then(|report| report.incoming.as_ref());
        let troubled = report.is_some_and(|report| report.trouble.is_some());
        let above = match (incoming.map(|incoming| (incoming.generation, &incoming.progress)), placement.renew_above) {
            (Some((generation, Progress::Requested(_))), asked) if placement.delivery.is_none() => {
                asked.unwrap_or(generation.saturating_sub(1))
            }
            (Some((_, Progress::Delivered)), Some(asked)) if !troubled => asked,
            (_, asked) => asked.unwrap_or(0).max(last),
        };
        placement.renew_above = Some(above);
        above
    }

    /// As [`Self::request_renewal`], where whatever has been sent to the guest is of no use: it was signed by a clock
    /// that was set back since, and the guest may install it yet.
    pub fn request_another(&mut self, id: &PlacementId) {
        let above = self.request_renewal(id);
        let placement = self.entry(id);
        let incoming = placement.report.as_ref().and_then(|report| report.incoming.as_ref());
        // Its link may have broken since: it may have got it all the same.
        let sent = incoming
            .filter(|incoming| incoming.progress == Progress::Delivered || incoming.generation <= placement.sent)
            .map(|sent| sent.generation);
        placement.renew_above = Some(above.max(sent.unwrap_or(0)));
    }

    /// As [`Self::request_renewal_in_window`], and the renewal waits for no window.
    pub fn request_renewal(&mut self, id: &PlacementId) -> u64 {
        let above = self.request_renewal_in_window(id);
        self.entry(id).hurried = true;
        above
    }

    /// Notes whose turn begins, and whose is over.
    pub fn note_turn(&mut self, id: &PlacementId, turn: Turn, now: Timestamp) {
        self.entry(id).take_turn(turn, now);
    }

    /// Somebody waits for what a placement is now: the number that its guest reports when it has looked.
    pub fn request_look(&mut self, id: &PlacementId) -> u64 {
        let placement = self.entry(id);
        let looked = placement.report.as_ref().map_or(0, |report| report.looked);
        placement.look = placement.look.max(looked).saturating_add(1);
        placement.look
    }

    /// It was reported that the certificate of this serial number is expiring, or expired.
    pub fn note_expiry(&mut self, id: &PlacementId, serial: String, validity: Validity) {
        self.entry(id).expiry = Some(ReportedExpiry { serial, validity });
    }

    /// Somebody asks for the removal of a placement's files, or of what it has left behind.
    pub fn request_purge(&mut self, id: &PlacementId, manner: PurgeManner) {
        self.entry(id).purge = Some(manner);
    }

    /// Nobody wants a placement's files removed any more.
    pub fn forget_purge(&mut self, id: &PlacementId) {
        if let Some(guest) = self.guests.get_mut(&id.guest)
            && let Some(placement) = guest.placements.get_mut(&id.certificate)
        {
            placement.purge = None;
        }
    }

    /// Every placement whose files somebody wants removed.
    pub fn purges_asked(&self) -> impl Iterator<Item = (PlacementId, PurgeManner)> {
        self.guests.iter().flat_map(|(guest, entry)| {
            let asked = entry.placements.iter().filter_map(|(name, placement)| Some((name, placement.purge?)));
            asked.map(|(name, manner)| (PlacementId { certificate: name.clone(), guest: *guest }, manner))
        })
    }

    /// The key that the controller made last for a shared certificate.
    #[must_use]
    pub fn shared_key(&self, certificate: &CertificateName) -> Option<&SharedKey> {
        self.shared_keys.get(certificate)
    }

    /// The key of a shared certificate is given up.
    pub fn forget_shared_key(&mut self, certificate: &CertificateName) {
        self.shared_keys.remove(certificate);
    }

    /// Notes the key that the controller makes certificates of this name with from now on. It is kept also
    /// when the certificate is no longer shared: then whoever still holds it gets a key of its own.
    pub fn set_shared_key(&mut self, certificate: CertificateName, key: SharedKey) {
        self.shared_keys.insert(certificate, key);
    }

    /// The roots that an issuer's certificates end at; none before it was asked.
    #[must_use]
    pub fn roots(&self, issuer: &PlainName) -> Option<&Arc<IssuerRoots>> {
        self.roots.get(issuer)
    }

    /// An issuer's certificates end at these roots.
    pub fn set_roots(&mut self, issuer: PlainName, roots: IssuerRoots) {
        self.roots.insert(issuer, Arc::new(roots));
    }

    /// What is frozen.
    #[must_use]
    pub fn freezes(&self) -> &Freezes {
        &self.freezes
    }

    /// This is frozen from now on, and nothing else.
    pub fn set_freezes(&mut self, freezes: Freezes) {
        self.freezes = freezes;
    }

    /// What is worth keeping of a guest; `now` stands for its last sign of life while it is linked.
    #[must_use]
    pub fn record(&self, guest: Guest, now: Timestamp) -> Option<ReportRecord> {
        Some(ReportRecord::of(guest, self.guest(guest)?, now))
    }

    /// Takes what was kept, before the guest has linked again.
    pub fn restore(&mut self, record: ReportRecord) {
        self.guests.insert(record.guest, record.into_entry());
    }

    fn entry(&mut self, id: &PlacementId) -> &mut PlacementEntry {
        self.guests.entry(id.guest).or_default().placements.entry(id.certificate.clone()).or_default()
    }
}
