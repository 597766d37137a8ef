//! What a placement has from an agent that allowed more by default.
//!
//! Invariant: it is noted once, from what the ledger says before any controller has spoken.

use std::sync::Arc;

use super::shared::Shared;
use crate::{ledger::Ledger, recipe};

/// Notes, before any controller has spoken, what an agent of before put where this one would not; true when the ledger
/// says more than it did.
pub(super) async fn note(mut ledger: Ledger, shared: &Arc<Shared>) -> (Ledger, bool) {
    if ledger.kept.is_some() {
        return (ledger, false);
    }
    let spec = ledger.spec.clone().filter(|_| ledger.held.is_some() && !ledger.retired);
    let context = Arc::clone(&shared.context);
    let looked = shared
        .inspection
        .run(move |_| spec.map(|spec| recipe::kept_from_earlier(&spec, &context.config)).unwrap_or_default());
    // Only a runtime that ends does not answer, and then nothing is written down.
    let Ok(kept) = looked.await else { return (ledger, false) };
    ledger.kept = Some(kept);
    let is_there = ledger.spec.is_some();
    (ledger, is_there)
}
