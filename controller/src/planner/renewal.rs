//! When a certificate is renewed, and what else makes another one necessary.
//!
//! At two thirds of its real life, which is the CA's decision and not the manifest's, and ends with whatever ends first in
//! the chain; less a jitter of up to a twentieth of the life, which is a function of the placement's name, so that two plans
//! agree and those that were issued together are not renewed together. `renew_before` overrides both. Before that, when the
//! manifest asks for something else than is held, or a person for another one.

use std::time::Duration;

use pinion_proto::{
    clock::Timestamp,
    id::{CertificateName, Guest},
    key::Rotation,
    report::Held,
    spread,
};

use super::{case::Case, decision::Why};
use crate::{
    manifest::{LeafPolicy, PlacedLeaf},
    world::PlacementEntry,
};

/// When what a placement holds is renewed.
#[must_use]
pub fn renew_at(certificate: &CertificateName, policy: &LeafPolicy, guest: Guest, held: &Held) -> Timestamp {
    let life = Validity::of(held);
    match policy.renew_before {
        Some(before) => life.end - life.scaled(before, policy.duration),
        None => life.begin + (life.two_thirds() - life.jitter(certificate, guest)),
    }
}

/// Why a new generation is needed; none when what is held is good.
pub(super) fn why(case: &Case<'_>, leaf: PlacedLeaf<'_>, held: &Held, renew_at: Option<Timestamp>) -> Option<Why> {
    if case.entry.and_then(PlacementEntry::renew_above).is_some_and(|above| held.generation <= above) {
        return Some(Why::Requested);
    }
    // Nearly all are as they should be, and that is seen by one comparison.
    if case.entry.and_then(PlacementEntry::holds) != Some(leaf.spec_hash)
        && let Some(changed) = changed(leaf, held)
    {
        return Some(changed);
    }
    if sharing_changed(case, leaf.policy, held) {
        return Some(Why::KeySharingChanged { shared: leaf.policy.shared });
    }
    if held.adopted
        && let Some(placement) = case.keys.elsewhere(held.leaf.key(), case.reach.guest, &case.certificate.name)
    {
        return Some(Why::KeyElsewhere { placement });
    }
    if let Some(had) = case.entry.map(PlacementEntry::reached).filter(|had| *had > held.generation) {
        return Some(Why::TakenBack { held: held.generation, had });
    }
    renew_at.filter(|at| *at <= case.now).map(|since| Why::Due { since })
}

/// What the manifest has otherwise than what is held, as it was ordered or as the certificate itself says.
pub(super) fn changed(leaf: PlacedLeaf<'_>, held: &Held) -> Option<Why> {
    let PlacedLeaf { policy, names: wanted, .. } = leaf;
    let issuer = &policy.issuer;
    if held.leaf.names() != wanted {
        return Some(Why::NamesChanged {
            added: wanted.missing_from(held.leaf.names()).cloned().collect(),
            removed: held.leaf.names().missing_from(wanted).cloned().collect(),
        });
    }
    // What was ordered is compared, never what the certificate says: a CA that puts another common name, or none,
    // would be asked for ever.
    if let Some(ordered) = held.common_name.as_ref().filter(|ordered| **ordered != policy.common_name) {
        return Some(Why::CommonNameChanged { held: ordered.clone(), wanted: policy.common_name.clone() });
    }
    if held.leaf.key_algorithm() != Some(policy.key.algorithm) {
        let wanted = policy.key.algorithm;
        return Some(Why::KeyAlgorithmChanged { held: held.leaf.key_algorithm(), wanted });
    }
    if held.issuer != *issuer {
        return Some(Why::IssuerChanged { held: held.issuer.clone(), wanted: issuer.clone() });
    }
    None
}

fn sharing_changed(case: &Case<'_>, policy: &LeafPolicy, held: &Held) -> bool {
    let has_shared_key = case.shared_key.map(|key| key.fingerprint == held.leaf.key());
    if policy.shared {
        case.keys_differ || has_shared_key == Some(false)
    } else {
        // A key that is never to change stays, even if it was shared once.
        has_shared_key == Some(true) && policy.key.rotation == Rotation::Always
    }
}

/// A number from 0 to `max`, both included, that is a function of the placement's name.
#[must_use]
pub fn spread(certificate: &CertificateName, guest: Guest, max: u64) -> u64 {
    let guest = match guest {
        Guest::Host => 0,
        Guest::Vmid(vmid) => vmid.number(),
    };
    spread::number(certificate.as_str().bytes().chain(*b"@").chain(guest.to_le_bytes()), max)
}

struct Validity {
    begin: Timestamp,
    end: Timestamp,
}

impl Validity {
    fn of(held: &Held) -> Self {
        Self { begin: held.leaf.not_before(), end: held.expires() }
    }

    fn length(&self) -> Duration {
        self.end.since(self.begin)
    }

    fn two_thirds(&self) -> Duration {
        Duration::from_secs(self.length().as_secs() / 3 * 2)
    }

    fn jitter(&self, certificate: &CertificateName, guest: Guest) -> Duration {
        Duration::from_secs(spread(certificate, guest, self.length().as_secs() / 20))
    }

    /// `before` as it was meant for a life of `duration`: as it is, or in proportion when the CA gave less, so
    /// that "10 of 30 days" becomes "8 of 24 hours" and not a renewal at each look.
    fn scaled(&self, before: Duration, duration: Duration) -> Duration {
        let life = self.length();
        if life >= duration || duration.is_zero() {
            return before;
        }
        let seconds = u128::from(before.as_secs()) * u128::from(life.as_secs()) / u128::from(duration.as_secs());
        Duration::from_secs(u64::try_from(seconds).unwrap_or(u64::MAX))
    }
}
