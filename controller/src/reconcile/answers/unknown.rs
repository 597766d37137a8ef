//! What a manifest names that this host does not know, with what was probably meant: guests and recipes.
//!
//! Invariant: a warning and no mistake. A guest may be created later, and a guest may have recipes of its own.

use std::collections::BTreeSet;

use pinion_proto::{
    field_names::did_you_mean,
    id::{Guest, PlacementId, Vmid},
};

use crate::{
    inventory::{Inventory, UnresolvedGuest},
    manifest::{Certificate, GuestRef, Manifest, SHIPPED_RECIPES},
    world::World,
};

/// Every guest and recipe that nobody here knows.
pub(super) fn unknown(manifest: &Manifest, world: &World) -> Vec<String> {
    let known = recipes_at_work(world);
    let mut warnings = BTreeSet::new();
    for certificate in &manifest.certificates {
        for placement in &certificate.placements {
            warnings.extend(guest(world.inventory(), &placement.guest, certificate));
            if let Some(recipe) = placement.recipe.as_ref().map(|recipe| recipe.as_str())
                && !SHIPPED_RECIPES.contains(&recipe)
                && !known.contains(recipe)
            {
                let meant = did_you_mean(recipe, SHIPPED_RECIPES.into_iter().chain(known.iter().copied()));
                warnings.insert(format!(
                    "no recipe `{recipe}` is shipped, and no guest is known to have it, but {} names it{meant}",
                    certificate.name
                ));
            }
        }
    }
    warnings.into_iter().collect()
}

/// The recipes by which guests hold something: they have these.
fn recipes_at_work(world: &World) -> BTreeSet<&str> {
    let placements = world
        .manifest()
        .certificates
        .iter()
        .flat_map(|certificate| certificate.placements.iter().map(move |placement| (certificate, placement)));
    let at_work = placements.filter_map(|(certificate, placement)| {
        let guest = world.inventory().resolve(&placement.guest).ok()?;
        let report = world.report(&PlacementId { certificate: certificate.name.clone(), guest })?;
        placement.recipe.as_ref().filter(|_| report.held.is_some() || !report.roots.is_empty())
    });
    at_work.map(|recipe| recipe.as_str()).collect()
}

/// What is wrong with how a guest is named.
fn guest(inventory: &Inventory, meant: &GuestRef, certificate: &Certificate) -> Option<String> {
    let by = &certificate.name;
    match (meant, inventory.resolve(meant)) {
        (_, Err(UnresolvedGuest::Awaited(_))) => None,
        (_, Err(UnresolvedGuest::Unknown(name, probably))) => {
            Some(format!("this host knows no guest named {name}, which {by} names{probably}"))
        }
        (_, Err(why)) => Some(format!("{why}; {by} names it")),
        (GuestRef::Name(name), Ok(Guest::Vmid(guest))) => match inventory.holders(name) {
            [] | [_] => None,
            several => Some(format!(
                "{} guests are named {name}, which {by} names; it means guest {guest}, which had the name first",
                several.len()
            )),
        },
        (GuestRef::Vmid(vmid), _) if inventory.is_complete() && inventory.guest(*vmid).is_none() => {
            Some(format!("Proxmox lists no guest {vmid}, which {by} names{}", like(inventory, *vmid)))
        }
        _ => None,
    }
}

/// The guest that was probably meant by a number: numbers are alike, so only one that no other is as near to.
fn like(inventory: &Inventory, vmid: Vmid) -> String {
    let (text, numbers) = (vmid.to_string(), || inventory.guests().map(|(vmid, _)| vmid.to_string()));
    let near: Vec<_> =
        numbers().filter(|number| !did_you_mean(&text, [number.as_str()].into_iter()).is_empty()).collect();
    let [one] = near.as_slice() else { return String::new() };
    let name = one.parse::<u32>().ok().and_then(|number| Vmid::try_from(number).ok());
    let name = name.and_then(|vmid| inventory.name(vmid)).map(|name| format!(" ({name})")).unwrap_or_default();
    format!("; did you mean {one}{name}?")
}

#[cfg(test)]
mod tests;
