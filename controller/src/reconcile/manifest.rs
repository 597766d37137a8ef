//! The manifest in force, as the loop takes it in.

use std::sync::Arc;

use tokio::sync::watch;

use super::Reconciler;
use crate::{
    events::{HostEvent, What},
    manifest::file::InForce,
};

impl Reconciler {
    /// Takes the manifest in force, if it is another one than before.
    pub(super) fn look_at_manifest(&mut self, manifest: &mut watch::Receiver<InForce>) {
        // The sender is gone only at shutdown.
        if manifest.has_changed().unwrap_or(false) {
            let next = manifest.borrow_and_update().clone();
            self.new_manifest(next);
        }
    }

    /// Tells what is wrong with the manifest's file when the controller starts.
    pub(super) fn tell_manifest(&self) {
        if let (Some(problem), Some(since)) = (&self.manifest.problem, self.manifest.since) {
            let rejected = HostEvent::ManifestRejected { since: Some(since), problem: problem.clone() };
            self.event(What::Host(rejected), self.parts.clock.now());
        }
    }

    fn new_manifest(&mut self, next: InForce) {
        let now = self.parts.clock.now();
        if let Some(problem) = &next.problem {
            if self.manifest.problem.as_ref() != Some(problem) {
                let rejected = HostEvent::ManifestRejected { since: None, problem: problem.clone() };
                self.event(What::Host(rejected), now);
            }
        } else {
            let (certificates, placements) = (next.manifest.certificates.len(), next.manifest.placement_count());
            self.event(What::Host(HostEvent::ManifestInForce { certificates, placements }), now);
        }
        if !Arc::ptr_eq(&self.manifest.manifest, &next.manifest) {
            // What failed may have been mended by the change.
            self.reports.forget_attempts();
            self.sessions.tell_anew();
        }
        self.manifest = next;
    }
}
