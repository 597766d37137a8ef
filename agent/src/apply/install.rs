//! Putting the next bundle in place, and bringing its service to it.
//!
//! Invariants: two placements of one service never exchange files at the same time; several certificates that were ordered
//! for one service together are one reload.

use std::time::Duration;

use tokio::time::timeout;

use super::{
    attempt::Attempt,
    failure::{Failure, Interrupt},
    notify,
    settle::GLANCE,
};
use crate::{probe, reload};

/// Puts the next bundle in place and notifies the service.
pub(super) async fn install(attempt: &mut Attempt<'_>) -> Result<(), Interrupt> {
    let Some(bundle) = attempt.switch.ledger.next.clone() else { return Ok(()) };
    let failures = attempt.failures();
    reload::can_check(attempt.switch.config(), &attempt.job.validate)
        .map_err(|e| Failure::validate(&e, true, failures))?;
    let mut turn = match timeout(Duration::ZERO, attempt.turn()).await {
        Ok(turn) => turn?,
        Err(_) => {
            // The service is busy with another placement, for minutes perhaps: what has come is reported meanwhile.
            if attempt.switch.is_answered() {
                attempt.switch.save_rest().await;
            }
            attempt.publish();
            attempt.turn().await?
        }
    };
    let was_serving = match (&attempt.job.probe, bundle.leaf()) {
        (Some(target), Some(leaf)) => {
            attempt.switch.unless_stopped(probe::look(target, leaf, GLANCE)).await?.is_serving()
        }
        (Some(_), None) | (None, _) => false,
    };
    let placed = attempt.switch.forward(attempt.job, bundle, was_serving, failures).await;
    if let Some(service) = attempt.service() {
        service.no_longer_expect(&attempt.switch.name);
    }
    placed?;
    attempt.status.accept(attempt.switch, attempt.job);
    attempt.keep_claims();
    attempt.publish();
    notify::check(attempt).await?;
    let (Some(service), Some(action), Some(notified)) = (attempt.service(), attempt.action(), turn.as_mut()) else {
        return notify::notify(attempt, turn).await;
    };
    let exchange = notified.exchanged();
    if service.expects_others(&attempt.switch.name) {
        drop(turn);
        attempt.switch.unless_stopped(service.gathered(&attempt.switch.name)).await?;
        turn = attempt.turn().await?;
        if turn.as_ref().is_some_and(|notified| notified.covers(exchange, action)) {
            return notify::notified(attempt, turn).await;
        }
    }
    notify::notify(attempt, turn).await
}
