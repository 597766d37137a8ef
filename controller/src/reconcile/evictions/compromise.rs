//! What a guest held whose keys may be in other hands: its certificates are revoked, and the keys that it shared are
//! given up.
//!
//! Invariant: a guest's word alone never has anything revoked: only what this controller is known to have had signed
//! for it.

use std::{
    cell::OnceCell,
    collections::{BTreeSet, HashSet},
};

use pinion_proto::{
    causes::chain,
    clock::Timestamp,
    id::{CertificateName, Guest, PlacementId},
    report::Held,
};

use super::{Effects, Resources, Revocations, World};
use crate::{
    events::{CertificateEvent, Events, Kind, What},
    manifest::Placement,
    reconcile::{effects::When, revocation::SignedLeaf},
    world::{Change, shared_keys},
};

/// What the events say was signed, by guest, certificate and serial number. They are two files of some megabytes: read
/// once for a command, and only if somebody asks.
struct SignedBefore<'e> {
    events: &'e Events,
    now: Timestamp,
    read: OnceCell<HashSet<(Guest, CertificateName, String)>>,
}

impl<'e> SignedBefore<'e> {
    fn new(events: &'e Events, now: Timestamp) -> Self {
        Self { events, now, read: OnceCell::new() }
    }

    /// Whether this controller had the certificate signed for that placement.
    fn has(&self, id: &PlacementId, serial: &str) -> bool {
        let read = || {
            let events = self.events.recent(usize::MAX, self.now);
            let issued = events.into_iter().filter(|event| event.kind == Kind::Issued);
            issued.filter_map(|event| Some((event.guest?, event.certificate?, event.serial?))).collect()
        };
        self.read.get_or_init(read).contains(&(id.guest, id.certificate.clone(), serial.to_owned()))
    }
}

/// Has revoked what a guest held, and notes in `rekey` the shared keys that it had, to be given up. What was done, in
/// lines.
pub(super) fn revoke(
    rekey: &mut BTreeSet<CertificateName>,
    guest: Guest,
    world: &World,
    revocations: &mut Revocations,
    resources: &Resources,
    effects: &mut Effects,
) -> Vec<String> {
    let (mut lines, issuers) = (Vec::new(), &resources.issuers);
    let held = held(world, guest);
    let signed = SignedBefore::new(&resources.events, effects.now());
    for (certificate, held) in &held {
        let id = PlacementId { certificate: certificate.clone(), guest };
        if held.leaf.not_after() < effects.now() {
            continue;
        }
        let serial = held.leaf.serial();
        if !issuers.can_revoke(&held.issuer) {
            lines.push(format!(
                "{certificate} with serial {serial} cannot be revoked, because issuer {} has no revocation; clients that \
                 trust this issuer accept it until {}",
                held.issuer,
                held.leaf.not_after()
            ));
        } else if !revocations.knows(&id, serial) && signed.has(&id, serial) {
            revocations.note_signed(&SignedLeaf::held(&id, held), issuers, effects);
        } else if !revocations.knows(&id, serial) {
            lines.push(format!(
                "the guest reports {certificate} with serial {serial}, but Pinion has no record that it was \
                 signed for this guest, and does not revoke it: if it is the guest's, revoke it at {} by hand",
                held.issuer
            ));
        }
    }
    for (id, issuer, serial) in revocations.compromise(guest, effects.now()) {
        lines.push(format!("{} with serial {serial} is being revoked at {issuer}", id.certificate));
    }
    effects.save_revocations(When::AtOnce);
    for name in shared_with(world, guest, &held) {
        lines.push(format!(
            "{name} gets another key in all other places; their certificates with the old key are revoked as \
             soon as they serve the new one"
        ));
        rekey.insert(name);
    }
    lines
}

/// Gives up shared keys that a compromised guest had, as far as the shared state can be written: these leave `rekey`.
/// Guests that are `evicted` get no others.
pub(super) fn give_keys_up(
    rekey: &mut BTreeSet<CertificateName>,
    evicted: impl Fn(Guest) -> bool,
    world: &World,
    revocations: &mut Revocations,
    resources: &Resources,
    effects: &mut Effects,
) {
    let signed = SignedBefore::new(&resources.events, effects.now());
    for name in rekey.clone() {
        if let Err(error) = shared_keys::give_up(&resources.store, &name) {
            tracing::debug!(certificate = %name, error = chain(&error), "A shared key cannot be given up yet");
            continue;
        }
        rekey.remove(&name);
        effects.change(Change::SharedKey(name.clone(), None));
        effects.event(What::Certificate(name.clone(), CertificateEvent::SharedKeyGivenUp));
        let placements = world.manifest().certificate(&name).into_iter().flat_map(|c| &c.placements);
        for placement in placements.filter(|placement| !placement.purge) {
            let Ok(guest) = world.inventory().resolve(&placement.guest) else { continue };
            if evicted(guest) {
                continue;
            }
            let id = PlacementId { certificate: name.clone(), guest };
            if let Some(held) = world.report(&id).and_then(|report| report.held.as_ref())
                && resources.issuers.can_revoke(&held.issuer)
                && !revocations.knows(&id, held.leaf.serial())
                && signed.has(&id, held.leaf.serial())
            {
                revocations.note_signed(&SignedLeaf::held(&id, held), &resources.issuers, effects);
            }
            revocations.revoke_when_replaced(&id);
            effects.change(Change::Renewal(id));
            effects.save_at_once(guest);
        }
    }
}

/// What a guest says that it holds.
fn held(world: &World, guest: Guest) -> Vec<(CertificateName, Held)> {
    let placements = world.reports().guest(guest).into_iter().flat_map(|entry| entry.placements());
    placements.filter_map(|(name, entry)| Some((name.clone(), entry.report()?.held.clone()?))).collect()
}

/// The shared certificates that the manifest has in a guest, or that it holds.
fn shared_with(world: &World, guest: Guest, held: &[(CertificateName, Held)]) -> Vec<CertificateName> {
    let here = |placement: &Placement| world.inventory().resolve(&placement.guest) == Ok(guest);
    let shared = world.manifest().certificates.iter().filter(|certificate| certificate.is_shared());
    let with = shared.filter(|certificate| {
        certificate.placements.iter().any(here) || held.iter().any(|(name, _)| *name == certificate.name)
    });
    with.map(|certificate| certificate.name.clone()).collect()
}
