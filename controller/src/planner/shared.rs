//! Keys that several placements share, which the controller makes.

use pinion_proto::{
    key::{KeyPolicy, Rotation},
    report::Held,
};

use crate::{
    inventory::Inventory,
    manifest::Certificate,
    world::{Reports, SharedKey},
};

/// Whether a certificate for one more placement needs a new shared key: there is none of the right kind, or
/// the placement has had the current one and keys are to change with each certificate. Those that hold an
/// older one follow with the current one, so that one round of renewals makes one key.
///
/// Asked at the moment of signing, after which the new key is the current one.
#[must_use]
pub fn needs_new_shared_key(current: Option<&SharedKey>, policy: KeyPolicy, held: Option<&Held>) -> bool {
    match current {
        Some(current) if current.algorithm == policy.algorithm => {
            policy.rotation == Rotation::Always && held.is_some_and(|held| held.leaf.key() == current.fingerprint)
        }
        _ => true,
    }
}

/// Whether the placements of a shared certificate hold different keys although the controller has made none:
/// it has only just become shared.
pub(super) fn keys_differ(certificate: &Certificate, inventory: &Inventory, reports: &Reports) -> bool {
    if !certificate.is_shared() || reports.shared_key(&certificate.name).is_some() {
        return false;
    }
    let mut keys = certificate.placements.iter().filter(|placement| !placement.purge).filter_map(|placement| {
        let guest = inventory.resolve(&placement.guest).ok()?;
        let report = reports.guest(guest)?.placement(&certificate.name)?.report()?;
        Some(report.held.as_ref()?.leaf.key())
    });
    keys.next().is_some_and(|first| keys.any(|key| key != first))
}
