//! Where the private keys are that were there before Pinion.
//!
//! Answers: does another placement have the key of one that was adopted, or could be?

use std::{cell::OnceCell, collections::HashMap};

use pinion_proto::{
    bundle::Fingerprint,
    id::{CertificateName, Guest, PlacementId},
    report::{Found, PlacementReport},
};

use crate::world::Reports;

/// Where the private keys are that were there before Pinion, as far as guests say.
pub(super) struct KeyPlaces<'s> {
    reports: &'s Reports,
    /// Up to two places of each key, counted when somebody asks first: only who takes something over does.
    places: OnceCell<HashMap<Fingerprint, Vec<(Guest, &'s CertificateName)>>>,
}

impl<'s> KeyPlaces<'s> {
    pub(super) fn of(reports: &'s Reports) -> Self {
        Self { reports, places: OnceCell::new() }
    }

    /// Another placement that has, or had, this private key.
    pub(super) fn elsewhere(
        &self,
        key: Fingerprint,
        guest: Guest,
        certificate: &CertificateName,
    ) -> Option<PlacementId> {
        let places = self.places.get_or_init(|| count(self.reports)).get(&key)?;
        let (guest, certificate) = places.iter().find(|place| **place != (guest, certificate))?;
        Some(PlacementId { certificate: (*certificate).clone(), guest: *guest })
    }
}

fn count(reports: &Reports) -> HashMap<Fingerprint, Vec<(Guest, &CertificateName)>> {
    let mut places: HashMap<Fingerprint, Vec<(Guest, &CertificateName)>> = HashMap::new();
    for (guest, entry) in reports.guests() {
        for (certificate, placement) in entry.placements() {
            for key in placement.report().into_iter().flat_map(keys) {
                let known = places.entry(key).or_default();
                // Two are enough to say that there is another one.
                if known.len() < 2 && !known.contains(&(guest, certificate)) {
                    known.push((guest, certificate));
                }
            }
        }
    }
    places
}

/// The keys of a placement that took something over, or could.
fn keys(report: &PlacementReport) -> impl Iterator<Item = Fingerprint> {
    let found = match report.found.as_deref() {
        Some(Found::Good(pair)) => Some(pair.leaf.key()),
        Some(Found::Unfit(_)) | None => None,
    };
    let held = report.held.as_ref().filter(|held| held.adopted || !report.originals.is_empty());
    report.originals.iter().filter_map(|original| original.key).chain(found).chain(held.map(|held| held.leaf.key()))
}
