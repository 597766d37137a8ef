//! Everything known about the guests: who is linked, what each says that it holds, what was tried for it.
//!
//! Answers the planner's every question about the world.
//! Invariant: levels, not events. Each method replaces what was known, so that saying a thing twice, or
//! saying only the newest, leads to the same state. What has to be parsed is parsed here, once, on entry.

mod age;

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use pinion_proto::{
    bundle::{CertificateError, CertificateRequest, Fingerprint},
    clock::Timestamp,
    id::{CertificateName, Guest, PlacementId},
    key::KeyAlgorithm,
    report::{PlacementReport, Progress},
    stage::Trouble,
    wire::MOST_PLACEMENTS,
};
use serde::{Deserialize, Serialize};

pub use age::{Age, Setback};

use crate::{manifest::Gist, planner::backoff::Backoff};

/// Generations up to here are learned from what guests say: one that says the highest number there is must not make
/// the placement unusable for ever.
const MOST_LEARNED: u64 = u64::MAX / 2;

/// Placements that a guest does not hold any more, and of which the generations are remembered, are no more than it may
/// hold at once.
const MOST_REMEMBERED: usize = MOST_PLACEMENTS;

/// Everything known about the guests.
#[derive(Debug, Clone, Default)]
pub struct Reports {
    guests: HashMap<Guest, GuestEntry>,
    shared_keys: HashMap<CertificateName, SharedKey>,
}

/// What is known of one guest.
#[derive(Debug, Clone, Default)]
pub struct GuestEntry {
    link: Link,
    /// As its last hello said; none before the first.
    age: Option<Age>,
    enrolment: Option<Trouble>,
    placements: HashMap<CertificateName, PlacementEntry>,
    /// How many of the placements have a report.
    reported: usize,
}

/// Whether a guest's agent can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "link")]
pub enum Link {
    /// It has never been.
    #[default]
    NeverSeen,
    /// It is linked.
    Linked {
        /// Since when.
        since: Timestamp,
    },
    /// It was linked once.
    Away {
        /// Since when it is not.
        since: Timestamp,
    },
}

/// What is known of one placement.
#[derive(Debug, Clone, Default)]
pub struct PlacementEntry {
    report: Option<PlacementReport>,
    request: Option<Result<CertificateRequest, CertificateError>>,
    incoming_since: Option<Timestamp>,
    undelivered: u32,
    attempt: Option<Attempt>,
    renew_above: Option<u64>,
    purge: bool,
    delivery: Option<DeliveryNote>,
    holds: Option<Gist>,
    highest: u64,
    reached: u64,
}

/// The last issuance that failed, when none has succeeded since.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// How many failed in a row.
    pub failures: u32,
    /// When the next may be made.
    pub not_before: Timestamp,
    /// Why the last one failed.
    pub trouble: Trouble,
}

/// A certificate that was sent to a guest which has not said yet what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryNote {
    /// Which generation.
    pub generation: u64,
    /// When it was sent.
    pub sent: Timestamp,
    /// What the guest had to say against it, if it did.
    pub refused: Option<Trouble>,
}

/// The key that the controller made last for a shared certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SharedKey {
    /// The SHA-256 of its subjectPublicKeyInfo, as [`pinion_proto::bundle::Leaf::key`].
    pub fingerprint: Fingerprint,
    /// What kind of key it is.
    pub algorithm: KeyAlgorithm,
}

/// What is worth keeping of a guest over a restart of the controller; a document of its own for each guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestRecord {
    /// Which guest.
    pub guest: Guest,
    /// Since when it is away, as seen from a controller that has just started; none if it was never seen.
    pub last_seen: Option<Timestamp>,
    /// As its last hello said.
    #[serde(default)]
    pub age: Option<Age>,
    /// What it last said, and what was tried.
    pub placements: Vec<PlacementRecord>,
}

/// What is worth keeping of a placement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacementRecord {
    /// Which certificate.
    pub certificate: CertificateName,
    /// What the guest last said.
    #[serde(default)]
    pub report: Option<PlacementReport>,
    /// Since when the report's incoming generation is known.
    #[serde(default)]
    pub incoming_since: Option<Timestamp>,
    /// What was tried.
    #[serde(default)]
    pub attempt: Option<Attempt>,
    /// The generation that must be exceeded, when a renewal was asked for.
    #[serde(default)]
    pub renew_above: Option<u64>,
    /// Whether somebody asked for the removal of its files, which has not been done yet.
    #[serde(default)]
    pub purge: bool,
    /// The highest generation that the guest has ever reported.
    #[serde(default)]
    pub highest: u64,
    /// The highest generation that has come to its goal.
    #[serde(default)]
    pub reached: u64,
}

impl GuestEntry {
    /// Whether its agent can be reached.
    #[must_use]
    pub fn link(&self) -> Link {
        self.link
    }

    /// What keeps the hypervisor from bringing an agent into it.
    #[must_use]
    pub fn enrolment(&self) -> Option<&Trouble> {
        self.enrolment.as_ref()
    }

    /// What is known of one of its placements.
    #[must_use]
    pub fn placement(&self, certificate: &CertificateName) -> Option<&PlacementEntry> {
        self.placements.get(certificate)
    }

    /// How many placements it has reported.
    #[must_use]
    pub fn reported(&self) -> usize {
        self.reported
    }

    /// Forgets the generations of placements that are not held, when there are more of them than a guest may hold.
    fn limit_memory(&mut self) {
        self.placements.retain(|_, placement| !placement.is_memory() || placement.highest > 0);
        if self.placements.len() > MOST_REMEMBERED + self.reported {
            self.placements.retain(|_, placement| !placement.is_memory());
        }
    }

    fn count_reported(&mut self) {
        self.reported = self.placements.values().filter(|placement| placement.report.is_some()).count();
    }

    /// Everything known of its placements, in no order.
    pub fn placements(&self) -> impl ExactSizeIterator<Item = (&CertificateName, &PlacementEntry)> {
        self.placements.iter()
    }
}

impl PlacementEntry {
    /// What the guest last said.
    #[must_use]
    pub fn report(&self) -> Option<&PlacementReport> {
        self.report.as_ref()
    }

    /// The gist of what is held, to compare with a placement's in one step.
    #[must_use]
    pub fn holds(&self) -> Option<Gist> {
        self.holds
    }

    /// The report's request, parsed; none when it has none, or an empty one because the key is shared.
    #[must_use]
    pub fn request(&self) -> Option<&Result<CertificateRequest, CertificateError>> {
        self.request.as_ref()
    }

    /// Since when the report's incoming generation has been where it is.
    #[must_use]
    pub fn incoming_since(&self) -> Option<Timestamp> {
        self.incoming_since
    }

    /// How many incoming generations in a row were given up before one was delivered.
    #[must_use]
    pub fn undelivered(&self) -> u32 {
        self.undelivered
    }

    /// The last issuance that failed.
    #[must_use]
    pub fn attempt(&self) -> Option<&Attempt> {
        self.attempt.as_ref()
    }

    /// The generation that must be exceeded, when a renewal was asked for.
    #[must_use]
    pub fn renew_above(&self) -> Option<u64> {
        self.renew_above
    }

    /// The highest generation that the guest has ever reported: the next order is above it, whatever the guest knows
    /// by now.
    #[must_use]
    pub fn highest(&self) -> u64 {
        self.highest.max(self.report.as_ref().map_or(0, |report| report.last_generation))
    }

    /// The highest generation that has come to its goal. A guest gives that up only by being taken back to an earlier
    /// state.
    #[must_use]
    pub fn reached(&self) -> u64 {
        self.reached
    }

    /// A certificate on its way.
    #[must_use]
    pub fn delivery(&self) -> Option<&DeliveryNote> {
        self.delivery.as_ref()
    }

    /// Takes a report, which replaces the one before it.
    fn take(&mut self, report: PlacementReport, now: Timestamp) {
        let incoming = report.incoming.as_ref();
        let before = self.report.as_ref().and_then(|report| report.incoming.as_ref());
        if incoming.map(place) != before.map(place) {
            self.incoming_since = incoming.map(|_| now);
        }
        let held = report.held.as_ref().map(|held| held.generation);
        match (before, incoming) {
            // It was given up for another before it was delivered.
            (Some(old), Some(new)) if new.generation != old.generation && old.progress != Progress::Delivered => {
                self.undelivered = self.undelivered.saturating_add(1);
            }
            (_, Some(new)) if new.progress == Progress::Delivered => self.undelivered = 0,
            _ => {}
        }
        let unchanged = before.is_some() && before == incoming;
        if !unchanged {
            self.request = match incoming.map(|incoming| &incoming.progress) {
                Some(Progress::Requested(der)) if !der.is_empty() => Some(CertificateRequest::parse(der)),
                _ => None,
            };
        }
        if let Some(note) = &mut self.delivery {
            match incoming {
                Some(incoming)
                    if incoming.generation == note.generation && incoming.progress != Progress::Delivered =>
                {
                    // Perhaps written before the delivery arrived; with a trouble, the answer to it.
                    note.refused.clone_from(&report.trouble);
                }
                _ => self.delivery = None,
            }
        }
        if let Some(above) = self.renew_above
            && held.is_some_and(|generation| generation > above)
        {
            self.renew_above = None;
        }
        let held_before = self.report.as_ref().and_then(|report| report.held.as_ref()).map(|held| held.generation);
        if held > held_before {
            self.undelivered = 0;
        }
        self.highest = self.highest.max(report.last_generation.min(MOST_LEARNED));
        if let Some(generation) = held.filter(|_| report.stage >= report.goal) {
            self.reached = self.reached.max(generation.min(MOST_LEARNED));
        }
        self.holds = report
            .held
            .as_ref()
            .and_then(|held| Some(Gist::of(held.leaf.names(), held.leaf.key_algorithm()?, &held.issuer)));
        self.report = Some(report);
    }

    /// Whether nothing is left but which generations there were.
    fn is_memory(&self) -> bool {
        self.report.is_none() && self.attempt.is_none() && self.renew_above.is_none() && self.delivery.is_none()
    }

    /// Nothing but which generations there were.
    fn memory(&self) -> Self {
        Self { highest: self.highest, ..Self::default() }
    }
}

/// What makes an incoming generation another one, or further on.
fn place(incoming: &pinion_proto::report::Incoming) -> (u64, bool) {
    (incoming.generation, incoming.progress == Progress::Delivered)
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
                *placement = placement.memory();
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
        if self.placement(id).is_some_and(|entry| entry.attempt.is_some()) {
            self.entry(id).attempt = None;
        }
    }

    /// Forgets every failed attempt: after the manifest or the issuers' configuration has changed, the
    /// reason may be gone, and everything is tried anew at once.
    pub fn forget_attempts(&mut self) {
        for placement in self.guests.values_mut().flat_map(|guest| guest.placements.values_mut()) {
            placement.attempt = None;
        }
    }

    /// A certificate was sent to the guest.
    pub fn delivery_sent(&mut self, id: &PlacementId, generation: u64, now: Timestamp) {
        self.entry(id).delivery = Some(DeliveryNote { generation, sent: now, refused: None });
    }

    /// Somebody asks for a renewal: the generation that must be exceeded. A generation that is ordered and
    /// not signed yet is new enough, and so is one that is being installed without trouble when a renewal
    /// was asked for before; so asking again changes nothing, except that a backoff in progress is cut short.
    pub fn request_renewal(&mut self, id: &PlacementId) -> u64 {
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

    /// Somebody asks for the removal of a retired placement's files.
    pub fn request_purge(&mut self, id: &PlacementId) {
        self.entry(id).purge = true;
    }

    /// The placement is wanted again, so nobody wants its files removed any more.
    pub fn forget_purge(&mut self, id: &PlacementId) {
        if let Some(guest) = self.guests.get_mut(&id.guest)
            && let Some(placement) = guest.placements.get_mut(&id.certificate)
        {
            placement.purge = false;
        }
    }

    /// Every placement whose files somebody wants removed.
    pub fn purges_asked(&self) -> impl Iterator<Item = PlacementId> {
        self.guests.iter().flat_map(|(guest, entry)| {
            let asked = entry.placements.iter().filter(|(_, placement)| placement.purge);
            asked.map(|(certificate, _)| PlacementId { certificate: certificate.clone(), guest: *guest })
        })
    }

    /// The key that the controller made last for a shared certificate.
    #[must_use]
    pub fn shared_key(&self, certificate: &CertificateName) -> Option<&SharedKey> {
        self.shared_keys.get(certificate)
    }

    /// Notes the key that the controller makes certificates of this name with from now on. It is kept also
    /// when the certificate is no longer shared: then whoever still holds it gets a key of its own.
    pub fn set_shared_key(&mut self, certificate: CertificateName, key: SharedKey) {
        self.shared_keys.insert(certificate, key);
    }

    /// What is worth keeping of a guest; `now` stands for its last sign of life while it is linked.
    #[must_use]
    pub fn record(&self, guest: Guest, now: Timestamp) -> Option<GuestRecord> {
        let entry = self.guest(guest)?;
        let last_seen = match entry.link {
            Link::NeverSeen => None,
            Link::Linked { .. } => Some(now),
            Link::Away { since } => Some(since),
        };
        // Sorted, so that the same knowledge is the same document.
        let placements: BTreeMap<_, _> = entry.placements().collect();
        let placements = placements.into_iter().map(|(certificate, placement)| PlacementRecord {
            certificate: certificate.clone(),
            report: placement.report.clone(),
            incoming_since: placement.incoming_since,
            attempt: placement.attempt.clone(),
            renew_above: placement.renew_above,
            purge: placement.purge,
            highest: placement.highest,
            reached: placement.reached,
        });
        Some(GuestRecord { guest, last_seen, age: entry.age, placements: placements.collect() })
    }

    /// Takes what was kept, before the guest has linked again.
    pub fn restore(&mut self, record: GuestRecord) {
        let link = record.last_seen.map_or(Link::NeverSeen, |since| Link::Away { since });
        let placements = record.placements.into_iter().map(|kept| {
            let mut entry = PlacementEntry {
                attempt: kept.attempt,
                renew_above: kept.renew_above,
                purge: kept.purge,
                ..PlacementEntry::default()
            };
            if let Some(report) = kept.report {
                // Any moment does: the one that was kept replaces it.
                entry.take(report, Timestamp::from_unix(0));
            }
            entry.incoming_since = kept.incoming_since;
            entry.highest = entry.highest.max(kept.highest);
            entry.reached = entry.reached.max(kept.reached);
            (kept.certificate, entry)
        });
        let (age, placements) = (record.age, placements.collect());
        let mut entry = GuestEntry { link, age, enrolment: None, placements, reported: 0 };
        entry.count_reported();
        self.guests.insert(record.guest, entry);
    }

    fn entry(&mut self, id: &PlacementId) -> &mut PlacementEntry {
        self.guests.entry(id.guest).or_default().placements.entry(id.certificate.clone()).or_default()
    }
}
