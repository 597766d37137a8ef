//! Roots as a placement of their own: files that a store is made of, made anew when they change.
//!
//! Invariants: a root that is not wanted any more goes after the store has been made with those that are; what the store's
//! readers get is looked at, not what was told.

use std::{fs::File, io::Read};

use pinion_proto::{
    bundle::{RootCertificate, certificates_from_pem},
    causes::chain,
    spec::GuestPath,
    stage::Stage,
};

use super::{
    hold::Hold,
    placement::{Interrupt, Placement, Stopped},
    switch::same_paths,
};
use crate::{
    bundle::Bundle,
    recipe::{self, Job},
    reload,
};

/// A distribution's store has some 150 roots of 1.5 KiB; more than this is no store (bytes).
const MOST_STORE: u64 = 8 * 1024 * 1024;

impl Placement<'_> {
    /// One try for a placement of roots, from wherever it is. There is nobody to ask: what is wanted is in the job.
    pub(super) async fn trust(&mut self, job: &Job) -> Result<(), Interrupt> {
        let roots = job.trusted(&Bundle::of_roots(0));
        let there = |held: &crate::ledger::Installed| same_paths(job, held) && held.roots == roots;
        if self.ledger.held.as_ref().is_some_and(there) {
            self.unsaved |= self.ledger.next.take().is_some();
            self.maintain(job).await?;
        } else {
            self.ledger.last_generation = self.ledger.last_generation.saturating_add(1);
            self.ledger.next = Some(Bundle::of_roots(self.ledger.last_generation));
            self.install(job).await?;
        }
        let failures = self.backoff.failures();
        if self.blocking(|desk, ledger| desk.drop_former(ledger)).await?.map_err(|e| Hold::switch(&e, failures))? {
            tracing::info!(certificate = %self.name, "Removed roots that are not wanted any more");
            self.maintain(job).await?;
        }
        Ok(())
    }

    /// Looks whether the readers of a store get every root.
    pub(super) async fn look_into(&mut self, store: &GuestPath, job: &Job) -> Result<(), Interrupt> {
        let path = self.shared.context.config.under_root(store);
        let roots = job.roots.clone();
        let looked = tokio::task::spawn_blocking(move || missing(&path, &roots));
        match looked.await.map_err(|_| Interrupt::Stopped)? {
            Ok(0) => self.reach(Stage::Served).await,
            Ok(missing) => {
                self.set_stage(Stage::Installed);
                self.publish();
                Err(Hold::not_in_store(store, missing).into())
            }
            Err(cause) => Err(Hold::no_store(store, cause).into()),
        }
    }

    /// The job of what is in place, when a store is made of it.
    pub(super) fn store_of_roots(&self) -> Option<Job> {
        let config = &self.shared.context.config;
        let spec = self.ledger.spec.as_ref().filter(|spec| spec.trust && self.ledger.held.is_some())?;
        recipe::job(spec, config, &self.ledger.kept()).filter(|job| job.update.is_some())
    }

    /// Makes a store anew whose files were removed; what cannot be made then is told, and its files are gone all the same.
    pub(super) async fn make_store_anew(&mut self, job: &Job) -> Result<(), Stopped> {
        let (config, about) = (&self.shared.context.config, self.about(job));
        let Some(update) = &job.update else { return Ok(()) };
        if let Err(e) = self.unless_stopped(reload::update(config, update, &about)).await? {
            tracing::error!(
                certificate = %self.name,
                error = chain(&e),
                "The roots' files are removed and the store could not be made anew: run {}",
                update.join(" ")
            );
        }
        Ok(())
    }
}

/// How many of the roots are not in a store.
fn missing(store: &std::path::Path, roots: &[RootCertificate]) -> Result<usize, String> {
    let mut text = String::new();
    let read = File::open(store).and_then(|file| file.take(MOST_STORE).read_to_string(&mut text));
    read.map_err(|e| e.to_string())?;
    let there = certificates_from_pem(&text).map_err(|e| e.to_string())?;
    Ok(roots.iter().filter(|root| there.iter().all(|der| der != root.der())).count())
}
