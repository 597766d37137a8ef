//! Roots as a placement of their own: files that a store is made of, made anew when they change.
//!
//! Invariants: a root that is not wanted any more goes after the store has been made with those that are; what the store's
//! readers get is looked at, not what was notified.

use std::{fs::File, io::Read};

use pinion_proto::{
    bundle::{RootCertificate, certificates_from_pem},
    causes::chain,
    spec::GuestPath,
    stage::Stage,
};

use super::{
    attempt::{self, Attempt},
    failure::{Failure, Interrupt, Stopped},
    install::install,
    switch::FileSwitch,
    upkeep::maintain,
};
use crate::{
    bundle::Bundle,
    ledger::Installed,
    recipe::{self, Job},
    reload,
};

/// A distribution's store has some 150 roots of 1.5 KiB; more than this is no store (bytes).
const MAX_STORE: u64 = 8 * 1024 * 1024;

/// One try for a placement of roots, from wherever it is. There is nobody to ask: what is wanted is in the job.
pub(super) async fn trust(attempt: &mut Attempt<'_>) -> Result<(), Interrupt> {
    let roots = attempt.job.trusted(&Bundle::of_roots(0));
    let is_there = |held: &Installed| held.roots == roots;
    if attempt.switch.in_place(attempt.job).is_some_and(is_there) {
        if attempt.switch.ledger.next.take().is_some() {
            attempt.switch.changed();
        }
        maintain(attempt).await?;
    } else {
        let ledger = &mut attempt.switch.ledger;
        ledger.last_generation = ledger.last_generation.saturating_add(1);
        ledger.next = Some(Bundle::of_roots(ledger.last_generation));
        install(attempt).await?;
    }
    let failures = attempt.failures();
    let dropped = attempt.switch.exchange(|exchange, ledger| exchange.drop_former(ledger)).await?;
    if dropped.map_err(|e| Failure::exchange(&e, failures))? {
        tracing::info!(certificate = %attempt.switch.name, "Removed roots that are not wanted any more");
        maintain(attempt).await?;
    }
    Ok(())
}

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
fn missing(store: &std::path::Path, roots: &[RootCertificate]) -> Result<usize, String> {
    let mut text = String::new();
    let read = File::open(store).and_then(|file| file.take(MAX_STORE).read_to_string(&mut text));
    read.map_err(|e| e.to_string())?;
    let there = certificates_from_pem(&text).map_err(|e| e.to_string())?;
    Ok(roots.iter().filter(|root| there.iter().all(|der| der != root.der())).count())
}
