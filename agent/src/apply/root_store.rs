//! The store that a guest's programs read roots from: is every root in it, and how is it made anew?
//!
//! Invariant: what the store's readers get is looked at, not what was notified.

use std::{fs::File, io::Read, path::Path};

use pinion_proto::{
    bundle::{RootCertificate, certificates_from_pem},
    causes::chain,
    spec::GuestPath,
    stage::Stage,
};

use super::{
    attempt::{self, Attempt},
    failure::{Failure, Interrupt, Stopped},
    switch::FileSwitch,
};
use crate::{
    recipe::{self, Job},
    reload,
};

/// A distribution's store has some 150 roots of 1.5 KiB; more than this is no store (bytes).
const MAX_STORE: u64 = 8 * 1024 * 1024;

/// Looks whether the readers of a store get every root.
pub(super) async fn look_into(attempt: &mut Attempt<'_>, store: &GuestPath) -> Result<(), Interrupt> {
    let path = attempt.switch.config().under_root(store);
    let roots = attempt.job.roots.clone();
    let looked = tokio::task::spawn_blocking(move || missing(&path, &roots));
    match looked.await.map_err(|_| Interrupt::Stopped)? {
        Ok(0) => attempt.reach(Stage::Served).await,
        Ok(missing) => {
            attempt.publish_stage(Stage::Installed);
            Err(Failure::not_in_store(store, missing).into())
        }
        Err(cause) => Err(Failure::no_store(store, cause).into()),
    }
}

/// The job of what is in place, when a store is made of it.
pub(super) fn store_of_roots(switch: &FileSwitch) -> Option<Job> {
    let ledger = &switch.ledger;
    let spec = ledger.spec.as_ref().filter(|spec| spec.content.is_roots() && ledger.held.is_some())?;
    recipe::job(spec, switch.config(), &ledger.kept()).filter(|job| job.update.is_some())
}

/// Makes a store anew whose files were removed; what cannot be made then is logged, and its files are gone all the same.
pub(super) async fn make_store_anew(switch: &FileSwitch, job: &Job) -> Result<(), Stopped> {
    let Some(update) = &job.update else { return Ok(()) };
    let about = attempt::about(switch, job);
    if let Err(e) = switch.unless_stopped(reload::update(switch.config(), update, &about)).await? {
        tracing::error!(
            certificate = %switch.name,
            error = chain(&e),
            "The roots' files are removed and the store could not be made anew: run {}",
            update.join(" ")
        );
    }
    Ok(())
}

/// How many of the roots are not in a store.
fn missing(store: &Path, roots: &[RootCertificate]) -> Result<usize, String> {
    let mut text = String::new();
    let read = File::open(store).and_then(|file| file.take(MAX_STORE).read_to_string(&mut text));
    read.map_err(|e| e.to_string())?;
    let there = certificates_from_pem(&text).map_err(|e| e.to_string())?;
    Ok(roots.iter().filter(|root| there.iter().all(|der| der != root.der())).count())
}
