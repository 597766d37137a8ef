//! Putting the next bundle in place, and bringing its service to it.
//!
//! Invariants: two placements of one service never exchange files at the same time; several certificates that were ordered
//! for one service together are one reload.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::{
    attempt::Attempt,
    exchange::Before,
    failure::{Failure, Interrupt},
    looks::{GLANCE, Looks},
    notify,
};
use crate::reload;

/// Puts the next bundle in place and notifies the service.
pub(super) async fn install(attempt: &mut Attempt<'_>) -> Result<(), Interrupt> {
    let Some(bundle) = attempt.switch.ledger.next.clone() else { return Ok(()) };
    let failures = attempt.failures();
    reload::can_check(attempt.switch.config(), &attempt.job.validate)
        .map_err(|e| Failure::validate(&e, true, failures))?;
    attempt.status.renewal_installs(bundle.generation());
    let began = Instant::now();
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
    attempt.status.spent(|timing| &mut timing.turn, began);
    let began = Instant::now();
    let before = match bundle.leaf() {
        Some(leaf) => Looks::once(attempt.switch, &attempt.job.probes, leaf, GLANCE).await?.before(),
        None => Before::default(),
    };
    attempt.status.spent(|timing| &mut timing.look, began);
    let began = Instant::now();
    let placed = attempt.switch.forward(attempt.job, bundle, before, failures).await;
    let services = attempt.services();
    for (_, service) in &services {
        service.no_longer_expect(&attempt.switch.name);
    }
    placed?;
    attempt.status.spent(|timing| &mut timing.write, began);
    attempt.status.accept(attempt.switch, attempt.job);
    attempt.keep_claims();
    attempt.publish();
    notify::check(attempt).await?;
    let exchanges = turn.exchanged();
    if services.iter().any(|(_, service)| service.expects_others(&attempt.switch.name)) {
        let began = Instant::now();
        drop(turn);
        for (_, service) in &services {
            attempt.switch.unless_stopped(service.gathered(&attempt.switch.name)).await?;
        }
        turn = attempt.turn().await?;
        attempt.status.spent(|timing| &mut timing.gather, began);
    }
    notify::notify(attempt, turn, &exchanges).await
}
