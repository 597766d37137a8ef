//! What a guest's reports bring that is new, told as events.
//!
//! Invariant: told by the difference to what was known, so that a report which is repeated says nothing twice.

use pinion_proto::{
    bundle::CertificateRequest,
    clock::Timestamp,
    content::Content,
    id::{Guest, PlacementId},
    report::{PlacementReport, Progress},
    stage::{Stage, Trouble},
};

use super::Reconciler;
use crate::{
    events::{PlacementEvent, What},
    manifest::Placement,
    planner::misfit,
};

impl Reconciler {
    /// Says what a report brings that is new.
    pub(super) fn tell_progress(&mut self, guest: Guest, report: &PlacementReport, now: Timestamp) {
        let id = PlacementId { certificate: report.certificate.clone(), guest };
        let before = self.reports.placement(&id).and_then(|entry| entry.report());
        let held = |report: &PlacementReport| report.held.as_ref().map(|held| held.generation);
        let at = |report: &PlacementReport| (held(report), report.stage);
        if let Some(now_held) = &report.held
            && before.map(at) != Some(at(report))
            && report.stage >= Stage::Installed
        {
            // What comes back has been served, and is what the service has if it does not take the newer one.
            let back = before.is_some_and(|before| held(before) > Some(now_held.generation));
            let (generation, serial) = (now_held.generation, now_held.leaf.serial().to_owned());
            let stage = PlacementEvent::Stage { stage: report.stage, back, generation, serial };
            self.heard(Some(guest), What::Placement(id.clone(), stage).at(now));
        }
        if let Some(trouble) = &report.trouble {
            let same = |old: &Trouble| {
                (old.halt, &old.attempt, &old.cause) == (trouble.halt, &trouble.attempt, &trouble.cause)
            };
            let before = self.reports.placement(&id).and_then(|entry| entry.report());
            if !before.and_then(|before| before.trouble.as_ref()).is_some_and(same) {
                let held_up = What::Placement(id.clone(), PlacementEvent::HeldUp(trouble.clone()));
                self.heard(Some(guest), held_up.at(now));
            }
        }
        self.tell_misfit(&id, report, now);
    }

    /// A request with other names or another kind of key than were ordered is never signed; here it is told.
    fn tell_misfit(&mut self, id: &PlacementId, report: &PlacementReport, now: Timestamp) {
        let Some(incoming) = &report.incoming else { return };
        let Progress::Requested(der) = &incoming.progress else { return };
        if der.is_empty() || self.sessions.ordered(id) != Some(incoming.generation) {
            return;
        }
        let known = self.reports.placement(id).and_then(|entry| entry.report()).and_then(|r| r.incoming.as_ref());
        if known == Some(incoming) {
            return;
        }
        let Some(certificate) = self.manifest.manifest.certificate(&id.certificate) else { return };
        let here = |placement: &&Placement| self.inventory.resolve(&placement.guest) == Ok(id.guest);
        let Some(placement) = certificate.placements.iter().find(here) else { return };
        let Content::Leaf(leaf) = certificate.content_at(placement) else { return };
        let why = match CertificateRequest::parse(der) {
            Ok(request) => match misfit(&request, leaf) {
                Some(misfit) => misfit.to_string(),
                None => return,
            },
            Err(error) => error.to_string(),
        };
        let refused = PlacementEvent::RequestRefused { generation: incoming.generation, why };
        self.heard(Some(id.guest), What::Placement(id.clone(), refused).at(now));
    }
}
