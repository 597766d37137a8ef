//! Revocation: of certificates that were replaced, where their issuer's configuration says `revoke_replaced`, and of
//! those of guests that a person calls compromised.
//!
//! Answers: which certificate may be revoked now, and what became of it?
//! Invariant: unless a person asks, only a certificate is revoked that this controller had signed for a placement which
//! has come to its goal with a later certificate of its own, and that no guest says it holds. A guest's word starts or
//! holds up the revocation of its own placements' certificates; it never names a serial number. What is known is
//! written at once, so that a restart loses nothing, and forgotten when the certificate has expired (`record`).

mod record;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    time::Duration,
};

use pinion_proto::{
    bundle::Leaf,
    clock::Timestamp,
    id::{Guest, PlacementId},
    report::Held,
    spec::PlainName,
};
use serde::{Deserialize, Serialize};

pub(super) use record::write;

use super::effects::{Effects, RevokeCall, When};
use crate::{
    events::{PlacementEvent, What},
    issuer::{IssuerError, Issuers, Revocation, Serial},
    planner::backoff::Backoff,
    world::{PlacementEntry, Reports, World},
};

/// Nobody waits for a revocation: so few calls at once leave the issuer to those who wait for a signature.
const MAX_AT_ONCE: usize = 4;

/// More placements than the largest host has.
const MAX_PLACEMENTS: usize = 10_000;

/// Certificates of one placement: beyond this the oldest are left to expire.
const MAX_EACH: usize = 16;

/// A certificate that was signed and is not revoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Issued {
    generation: u64,
    serial: Serial,
    issuer: PlainName,
    not_after: Timestamp,
    /// It is revoked when its successor has come to its goal: as the configuration says when it is read.
    #[serde(default)]
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

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Replaced {
    failures: u32,
    not_before: Timestamp,
}

/// A certificate that was signed for a placement.
#[derive(Debug)]
pub(super) struct SignedLeaf<'a> {
    pub(super) id: &'a PlacementId,
    pub(super) generation: u64,
    pub(super) issuer: &'a PlainName,
    pub(super) leaf: &'a Leaf,
}

impl<'a> SignedLeaf<'a> {
    /// What a placement holds.
    pub(super) fn held(id: &'a PlacementId, held: &'a Held) -> Self {
        Self { id, generation: held.generation, issuer: &held.issuer, leaf: &held.leaf }
    }
}

/// What became of a revocation.
#[derive(Debug)]
pub(super) struct RevocationOutcome {
    pub(super) id: PlacementId,
    pub(super) serial: Serial,
    pub(super) result: Result<(), IssuerError>,
}

/// Every certificate that may have to be revoked.
#[derive(Debug, Default)]
pub(super) struct Revocations {
    issued: BTreeMap<PlacementId, Vec<Issued>>,
    /// Never more than [`MAX_AT_ONCE`].
    under_way: HashSet<Serial>,
    /// Why each failed last; the same is not recorded again.
    failed: HashMap<Serial, String>,
    unwritten: BTreeSet<PlacementId>,
}

impl Revocations {
    /// Takes note of a certificate that was signed, where its issuer can revoke.
    pub(super) fn note_signed(&mut self, signed: &SignedLeaf<'_>, issuers: &Issuers, effects: &mut Effects) {
        let SignedLeaf { id, generation, issuer, leaf } = *signed;
        if !issuers.can_revoke(issuer) {
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
            when_replaced: issuers.revokes_replaced(issuer),
            compromised: false,
            at_once: false,
        };
        if self.note(id, issued) {
            self.save(effects);
        }
    }

    /// Has revoked what was replaced. Returns when the next is due.
    pub(super) fn step(&mut self, world: &World, effects: &mut Effects) -> Option<Timestamp> {
        self.mark(world.reports(), effects.now());
        let (due, next) = self.due(world.reports(), effects.now());
        for (id, Issued { serial, issuer, not_after, compromised, .. }) in due {
            let why = if compromised { Revocation::KeyCompromise } else { Revocation::Superseded };
            self.under_way.insert(serial.clone());
            effects.revoke(RevokeCall { id, serial, issuer, why, not_after });
        }
        self.save(effects);
        next
    }

    /// Takes the issuer's answer.
    pub(super) fn take_outcome(&mut self, outcome: RevocationOutcome, backoff: Backoff, effects: &mut Effects) {
        let RevocationOutcome { id, serial, result } = outcome;
        self.under_way.remove(&serial);
        match result {
            Ok(()) => {
                self.failed.remove(&serial);
                let Some(Issued { issuer, generation, compromised, .. }) = self.take(&id, &serial) else { return };
                let revoked = PlacementEvent::Revoked { issuer, generation, serial: serial.into(), compromised };
                effects.event(What::Placement(id, revoked));
            }
            Err(error) => {
                let Some(issued) = self.get_mut(&id, &serial) else { return };
                let failures = issued.replaced.as_ref().map_or(0, |replaced| replaced.failures).saturating_add(1);
                // Rounded up: a moment has whole seconds.
                let not_before = effects.now() + (backoff.delay(failures, &id) + Duration::from_millis(999));
                let not_before = not_before.max(error.retry_at(effects.now(), &id).unwrap_or(not_before));
                issued.replaced = Some(Replaced { failures, not_before });
                let (issuer, generation) = (issued.issuer.clone(), issued.generation);
                self.unwritten.insert(id.clone());
                let cause = error.to_string();
                if self.failed.insert(serial.clone(), cause.clone()).as_ref() != Some(&cause) {
                    let failed = PlacementEvent::NotRevoked { issuer, generation, serial: serial.into(), cause };
                    effects.event(What::Placement(id, failed));
                }
            }
        }
    }

    /// Has written what has changed: at once what is revoked by itself, in time what only a person's word revokes,
    /// since the events have that until then.
    fn save(&self, effects: &mut Effects) {
        let by_itself =
            |id| self.issued.get(id).is_none_or(|all| all.iter().any(|one| one.when_replaced || one.at_once));
        if self.unwritten.iter().any(by_itself) {
            effects.save_revocations(When::AtOnce);
        } else if !self.unwritten.is_empty() {
            effects.save_revocations(When::Soon);
        }
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
        all.drain(..all.len().saturating_sub(MAX_EACH));
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
        due.truncate(MAX_AT_ONCE.saturating_sub(self.under_way.len()));
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

#[cfg(test)]
mod tests;
