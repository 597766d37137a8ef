//! Looks at the issuers that the manifest names now and then, so that metrics and the page know how they are.
//!
//! Invariant: nothing is decided from what is found: an issuer that is asked to sign says itself whether it does.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::sleep};
use tracing::debug;

use super::Issuers;
use crate::manifest::file::InForce;

/// An authority's end and a clock's difference move slowly.
const EVERY: Duration = Duration::from_secs(5 * 60);

/// While one does not answer.
const WHILE_DOWN: Duration = Duration::from_secs(60);

/// Looks until the future is dropped; at once when the manifest changes.
pub(crate) async fn watch(issuers: Arc<Issuers>, mut manifest: watch::Receiver<InForce>) {
    loop {
        let named = manifest.borrow_and_update().manifest.clone();
        let mut pause = EVERY;
        for issuer in named.issuers() {
            if let Err(error) = issuers.glance(issuer).await {
                debug!(%issuer, %error, "An issuer is not as it should be");
                pause = WHILE_DOWN;
            }
        }
        tokio::select! {
            () = sleep(pause) => {}
            changed = manifest.changed() => if changed.is_err() { return },
        }
    }
}
