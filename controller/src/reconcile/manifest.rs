//! The manifest in force, as the loop takes it in.

use std::sync::Arc;

use tokio::sync::watch;

use super::Reconciler;
use crate::{
    events::{Event, Kind},
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
            let text =
                format!("The manifest on disk is not taken, the one before stays in force, since {since}: {problem}");
            self.event(Event::new(self.parts.clock.now(), Kind::Failed, text));
        }
    }

    fn new_manifest(&mut self, next: InForce) {
        let now = self.parts.clock.now();
        if let Some(problem) = &next.problem {
            if self.manifest.problem.as_ref() != Some(problem) {
                let text = format!("The manifest on disk is not taken, the one before stays in force: {problem}");
                self.event(Event::new(now, Kind::Failed, text));
            }
        } else {
            let placements = next.manifest.placement_count();
            let text = format!(
                "A manifest with {} certificates in {placements} places is in force",
                next.manifest.certificates.len()
            );
            self.event(Event::new(now, Kind::Manifest, text));
        }
        if !Arc::ptr_eq(&self.manifest.manifest, &next.manifest) {
            // What failed may have been mended by the change.
            self.reports.forget_attempts();
            self.sessions.tell_anew();
        }
        self.manifest = next;
    }
}
