//! Roots as a placement of their own: files that a store is made of, made anew when they change.
//!
//! Invariant: a root that is not wanted any more goes after the store has been made with those that are.

use super::{
    attempt::Attempt,
    failure::{Failure, Interrupt},
    install::install,
    upkeep::maintain,
};
use crate::{bundle::Bundle, ledger::Installed};

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
