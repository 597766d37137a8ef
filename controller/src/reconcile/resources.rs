//! What the loop works with, outside itself.

use std::sync::Arc;

use pinion_proto::{clock::Clock, id::Guest, spec::PlainName};
use prometheus_client::metrics::histogram::Histogram;

use crate::{
    events::Events,
    identity::Identities,
    issuer::Issuers,
    notify::Notifier,
    planner::backoff::Backoff,
    store::{Store, StoreError},
};

/// What the loop works with.
#[derive(Debug)]
pub struct Resources {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where what happens is recorded.
    pub events: Arc<Events>,
    /// Where what is known is written.
    pub store: Arc<Store>,
    /// Which guests have an identity.
    pub identities: Arc<Identities>,
    /// Who signs.
    pub issuers: Arc<Issuers>,
    /// Who is told what is wrong.
    pub notifier: Arc<Notifier>,
    /// How long to wait after failures.
    pub backoff: Backoff,
    /// What this node is called.
    pub node: PlainName,
    /// How long the loop's passes take.
    pub passes: Histogram,
}

impl Resources {
    /// Refuses a guest's identity from now on. Whether it had one.
    pub(super) fn refuse(&self, guest: Guest) -> Result<bool, StoreError> {
        match self.identities.guest(guest) {
            Ok(None) => Ok(false),
            // A record that cannot be read is one more reason to forget it.
            Ok(Some(_)) | Err(_) => self.identities.forget(guest).map(|()| true),
        }
    }
}

#[cfg(test)]
mod tests;
