//! Certificates that were replaced, revoked at their issuer where its configuration says `revoke_replaced`, and those of
//! guests that a person calls compromised.
//!
//! Answers: which certificate may be revoked now, and what became of it?
//! Invariant: without a person's word revoked is only what this controller had signed for a placement that has come to its goal with a later
//! certificate of its own, and what no guest says that it holds. A guest's word starts or holds up the revocation of
//! its own placements' certificates; it never names a serial number. What is known is written down at once, so that a
//! restart loses nothing, and forgotten when the certificate has expired.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    time::Duration,
};

use pinion_proto::{
    bundle::{Fingerprint, Leaf},
    causes::chain,
    clock::Timestamp,
    id::{Guest, PlacementId},
    spec::PlainName,
};
use serde::{Deserialize, Serialize};
use tokio::{sync::mpsc, time::Instant};

use super::Reconciler;
use crate::{
    events::{Document, HostEvent, PlacementEvent, What},
    issuer::{IssuerError, Revocation, Serial},
    reports::{PlacementEntry, Reports},
    store::{Area, Store},
};

const DIRECTORY: &str = "replaced";

/// Nobody waits for a revocation: so few calls at once leave the issuer to those who wait for a signature.
const MOST_AT_ONCE: usize = 4;

/// More placements than the largest host has.
const MAX_PLACEMENTS: usize = 10_000;

/// Certificates of one placement: beyond this the oldest are left to expire.
const MOST_EACH: usize = 16;

/// A certificate that was signed and is not revoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Issued {
    generation: u64,
    serial: Serial,
    issuer: PlainName,
    not_after: Timestamp,
    /// It is revoked when its successor has come to its goal. Documents of before have no others.
    #[serde(default = "yes")]
    when_replaced: bool,
    /// Its key may be in other hands.
    #[serde(default)]
    compromised: bool,
    /// Its successor has come to its goal, or nobody waits for one.
    #[serde(default)]
    replaced: Option<Replaced>,
    /// It is revoked also while somebody holds it.
    #[serde(default)]
    at_once: bool,
}

fn yes() -> bool {
    true
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Replaced {
    failures: u32,
    not_before: Timestamp,
}

/// What is written down of a placement.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    placement: PlacementId,
    issued: Vec<Issued>,
}

/// What became of a revocation.
#[derive(Debug)]
pub(super) struct Outcome {
    id: PlacementId,
    serial: Serial,
    result: Result<(), IssuerError>,
}

/// Every certificate that may have to be revoked.
#[derive(Debug)]
pub(super) struct Revoking {
    issued: BTreeMap<PlacementId, Vec<Issued>>,
    under_way: HashSet<Serial>,
    /// Why each failed last; the same is not told again.
    told: HashMap<Serial, String>,
    unwritten: BTreeSet<PlacementId>,
    outcomes: mpsc::UnboundedSender<Outcome>,
}

impl Revoking {
    /// Nothing yet, and where the outcomes come: never more than [`MOST_AT_ONCE`].
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<Outcome>) {
        let (outcomes, receiver) = mpsc::unbounded_channel();
        let (under_way, told, unwritten) = (HashSet::new(), HashMap::new(), BTreeSet::new());
        (Self { issued: BTreeMap::new(), under_way, told, unwritten, outcomes }, receiver)
    }

    /// Takes note of a certificate that was signed. False when that is known, or there is no room.
    fn note(&mut self, id: &PlacementId, issued: Issued) -> bool {
        if self.issued.len() >= MAX_PLACEMENTS && !self.issued.contains_key(id) {
            return false;
        }
        let all = self.issued.entry(id.clone()).or_default();
        if all.iter().any(|other| other.serial == issued.serial) {
            return false;
        }
        all.push(issued);
        all.sort_by_key(|issued| issued.generation);
        all.drain(..all.len().saturating_sub(MOST_EACH));
        self.unwritten.insert(id.clone());
        true
    }

    /// Forgets what has expired, and marks what placements have replaced by now.
    fn mark(&mut self, reports: &Reports, now: Timestamp) {
        for (id, all) in &mut self.issued {
            let before = all.len();
            all.retain(|issued| issued.not_after >= now);
            let mut changed = all.len() != before;
            if let Some((generation, leaf)) = reports.placement(id).and_then(in_use)
                && all.iter().any(|one| one.generation == generation && one.serial.as_str() == leaf.serial())
            {
                let older = |one: &&mut Issued| one.generation <= generation && one.serial.as_str() != leaf.serial();
                for one in all.iter_mut().filter(older).filter(|one| one.when_replaced && one.replaced.is_none()) {
                    one.replaced = Some(Replaced { failures: 0, not_before: now });
                    changed = true;
                }
            }
            if changed {
                self.unwritten.insert(id.clone());
            }
        }
        self.issued.retain(|_, all| !all.is_empty());
    }

    /// What is to be revoked now, the soonest to expire first, and when the next is. What somebody holds is not.
    fn due(&self, reports: &Reports, now: Timestamp) -> (Vec<(PlacementId, Issued)>, Option<Timestamp>) {
        let replaced = || self.issued.iter().flat_map(|(id, all)| all.iter().map(move |one| (id, one)));
        let replaced = || replaced().filter_map(|(id, one)| Some((id, one, one.replaced.as_ref()?.not_before)));
        if replaced().next().is_none() {
            return (Vec::new(), None);
        }
        let held = held(reports);
        let mut due = Vec::new();
        let mut next: Option<Timestamp> = None;
        for (id, one, not_before) in replaced() {
            let in_use = !one.at_once && held.contains(one.serial.as_str());
            if self.under_way.contains(&one.serial) || in_use {
                continue;
            }
            if not_before <= now {
                due.push((id.clone(), one.clone()));
            } else {
                next = Some(next.map_or(not_before, |next| next.min(not_before)));
            }
        }
        due.sort_by_key(|(_, one)| one.not_after);
        due.truncate(MOST_AT_ONCE.saturating_sub(self.under_way.len()));
        (due, next)
    }

    /// Whether a certificate of a placement is remembered.
    pub(super) fn knows(&self, id: &PlacementId, serial: &str) -> bool {
        self.issued.get(id).is_some_and(|all| all.iter().any(|one| one.serial.as_str() == serial))
    }

    /// Everything that a guest has had is revoked now. Each, with its issuer and serial number.
    pub(super) fn compromise(&mut self, guest: Guest, now: Timestamp) -> Vec<(PlacementId, PlainName, Serial)> {
        let mut found = Vec::new();
        for (id, all) in self.issued.iter_mut().filter(|(id, _)| id.guest == guest) {
            for one in all.iter_mut().filter(|one| one.not_after >= now) {
                (one.compromised, one.at_once) = (true, true);
                one.replaced = Some(Replaced { failures: 0, not_before: now });
                found.push((id.clone(), one.issuer.clone(), one.serial.clone()));
            }
            self.unwritten.insert(id.clone());
        }
        found
    }

    /// What a placement has is revoked when it serves another: its key may be in other hands.
    pub(super) fn revoke_when_replaced(&mut self, id: &PlacementId) {
        for one in self.issued.get_mut(id).into_iter().flatten() {
            (one.compromised, one.when_replaced) = (true, true);
        }
        self.unwritten.insert(id.clone());
    }

    /// The certificate that is revoked now, taken out.
    fn take(&mut self, id: &PlacementId, serial: &Serial) -> Option<Issued> {
        let all = self.issued.get_mut(id)?;
        let index = all.iter().position(|one| one.serial == *serial)?;
        let taken = all.remove(index);
        if all.is_empty() {
            self.issued.remove(id);
        }
        self.unwritten.insert(id.clone());
        Some(taken)
    }

    fn get_mut(&mut self, id: &PlacementId, serial: &Serial) -> Option<&mut Issued> {
        self.issued.get_mut(id)?.iter_mut().find(|one| one.serial == *serial)
    }

    /// What has changed since it was written down: none stands for a document that is not needed any more.
    pub(super) fn take_unwritten(&mut self) -> Vec<(String, Option<Record>)> {
        let changed = std::mem::take(&mut self.unwritten).into_iter();
        let document = |id: PlacementId| {
            let issued = self.issued.get(&id).cloned();
            (name(&id), issued.map(|issued| Record { placement: id, issued }))
        };
        changed.map(document).collect()
    }
}

impl Reconciler {
    /// Takes note of a certificate that was signed, where its issuer can revoke.
    pub(super) fn note_signed(&mut self, id: &PlacementId, generation: u64, issuer: &PlainName, leaf: &Leaf) {
        if !self.parts.issuers.can_revoke(issuer) {
            return;
        }
        let serial = match Serial::try_from(leaf.serial().to_owned()) {
            Ok(serial) => serial,
            Err(why) => return tracing::warn!(placement = %id, why, "A certificate will not be revoked"),
        };
        let issued = Issued {
            generation,
            serial,
            issuer: issuer.clone(),
            not_after: leaf.not_after(),
            replaced: None,
            when_replaced: self.parts.issuers.revokes_replaced(issuer),
            compromised: false,
            at_once: false,
        };
        if self.revoking.note(id, issued) {
            self.write_revoking();
        }
    }

    /// Has revoked what was replaced. Returns when the next is due.
    pub(super) fn revoke(&mut self, now: Timestamp) -> Option<Timestamp> {
        self.revoking.mark(&self.reports, now);
        let (due, next) = self.revoking.due(&self.reports, now);
        for (id, Issued { serial, issuer, not_after, compromised, .. }) in due {
            let why = if compromised { Revocation::KeyCompromise } else { Revocation::Superseded };
            self.revoking.under_way.insert(serial.clone());
            let (issuers, outcomes) = (self.parts.issuers.clone(), self.revoking.outcomes.clone());
            tokio::spawn(async move {
                let result = issuers.revoke(&issuer, &serial, why, not_after).await;
                // The loop is gone only at shutdown: then it is asked for once more after the next start.
                outcomes.send(Outcome { id, serial, result }).ok();
            });
        }
        self.write_revoking();
        next
    }

    /// Has written down what has changed: at once what is revoked by itself, in time what only a person's word revokes, since
    /// the events have that until then.
    fn write_revoking(&mut self) {
        let Revoking { issued, unwritten, .. } = &self.revoking;
        let by_itself = |id| issued.get(id).is_none_or(|all| all.iter().any(|one| one.when_replaced || one.at_once));
        if unwritten.iter().any(by_itself) {
            self.write_at = Some(Instant::now());
        } else if !unwritten.is_empty() {
            self.write_at.get_or_insert_with(|| Instant::now() + super::WRITE_DELAY);
        }
    }

    /// Takes the issuer's answer.
    pub(super) fn revoked(&mut self, outcome: Outcome) {
        let now = self.parts.clock.now();
        let Outcome { id, serial, result } = outcome;
        self.revoking.under_way.remove(&serial);
        match result {
            Ok(()) => {
                self.revoking.told.remove(&serial);
                let Some(Issued { issuer, generation, compromised, .. }) = self.revoking.take(&id, &serial) else {
                    return;
                };
                let revoked = PlacementEvent::Revoked { issuer, generation, serial: serial.into(), compromised };
                self.event(What::Placement(id, revoked), now);
            }
            Err(error) => {
                let backoff = self.parts.backoff;
                let Some(issued) = self.revoking.get_mut(&id, &serial) else { return };
                let failures = issued.replaced.as_ref().map_or(0, |replaced| replaced.failures).saturating_add(1);
                // Rounded up: a moment has whole seconds.
                let not_before = now + backoff.delay(failures, &id) + Duration::from_millis(999);
                issued.replaced = Some(Replaced { failures, not_before });
                let (issuer, generation) = (issued.issuer.clone(), issued.generation);
                self.revoking.unwritten.insert(id.clone());
                let cause = error.to_string();
                if self.revoking.told.insert(serial.clone(), cause.clone()).as_ref() != Some(&cause) {
                    let failed = PlacementEvent::NotRevoked { issuer, generation, serial: serial.into(), cause };
                    self.event(What::Placement(id, failed), now);
                }
            }
        }
    }

    /// Takes what was to be revoked when the controller stopped. What its issuer does not revoke any more is forgotten;
    /// a document that cannot be understood is told and passed over.
    pub(super) fn restore_revoking(&mut self) {
        let (now, store) = (self.parts.clock.now(), self.parts.store.clone());
        let fail = |this: &Self, error: &dyn std::error::Error| {
            this.event(What::Host(HostEvent::Unreadable(Document::Revocations, chain(error))), now);
        };
        let documents = store.list(Area::Local, DIRECTORY).unwrap_or_else(|error| {
            fail(self, &error);
            Vec::new()
        });
        for document in documents {
            let document = format!("{DIRECTORY}/{document}");
            match store.read::<Record>(Area::Local, &document) {
                Ok(Some(Record { placement, issued })) if name(&placement) == document => {
                    // Also those without a certificate that is still of interest are written, which removes them.
                    self.revoking.unwritten.insert(placement.clone());
                    for mut one in issued.into_iter().filter(|one| self.parts.issuers.can_revoke(&one.issuer)) {
                        // Somebody may have changed the configuration since.
                        one.when_replaced = one.compromised || self.parts.issuers.revokes_replaced(&one.issuer);
                        self.revoking.note(&placement, one);
                    }
                }
                Ok(_) => {}
                Err(error) => fail(self, &error),
            }
        }
    }
}

/// Writes down what changed.
pub(super) fn write(store: &Store, changed: Vec<(String, Option<Record>)>) {
    for (name, record) in changed {
        let done = match &record {
            Some(record) => store.write(Area::Local, &name, record),
            None => store.remove(Area::Local, &name),
        };
        if let Err(error) = done {
            tracing::warn!(error = chain(&error), "Cannot keep which certificates were replaced");
        }
    }
}

/// What a placement has come to its goal with.
fn in_use(entry: &PlacementEntry) -> Option<(u64, &Leaf)> {
    let report = entry.report().filter(|report| report.stage >= report.goal)?;
    report.held.as_ref().map(|held| (held.generation, &held.leaf))
}

/// Every serial number that a guest says it holds.
fn held(reports: &Reports) -> HashSet<&str> {
    let entries = reports.guests().flat_map(|(_, guest)| guest.placements());
    entries.filter_map(|(_, entry)| Some(entry.report()?.held.as_ref()?.leaf.serial())).collect()
}

/// A document's name. A certificate's own may be as long as a document's, so a hash of it stands here.
fn name(id: &PlacementId) -> String {
    let certificate = Fingerprint::of(id.certificate.as_str().as_bytes()).short();
    format!("{DIRECTORY}/{}-{certificate:016x}", id.guest)
}

#[cfg(test)]
mod tests;
