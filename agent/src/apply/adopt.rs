//! Taking over a pair that was there before Pinion.
//!
//! Invariants: a good pair is left alone until the controller has seen the report of it; it is adopted only while every place
//! where it should be served shows it, and then nobody is notified of anything.

use pinion_proto::{
    bundle::{Fingerprint, Leaf},
    causes::chain,
    report::{self, FoundPair},
    spec::AdoptionDecision,
    stage::Stage,
};

use super::{
    attempt::Attempt,
    failure::{Failure, Interrupt},
    found::{self, Fit, Found, Unfit},
    looks::Looks,
};
use crate::probe::{self, Seen};

/// Looks at what is there while nothing is held, and adopts it if that was decided. Whether it is to be left as it is for
/// now: no request is made.
pub(super) async fn consider(attempt: &mut Attempt<'_>) -> Result<bool, Interrupt> {
    let ledger = &attempt.switch.ledger;
    let spec = ledger.spec.as_ref();
    let decision = spec.and_then(|spec| spec.adoption.as_ref()).map(|adoption| adoption.decision);
    let (Some(decision), None, None) = (decision, &ledger.held, &ledger.next) else {
        attempt.switch.found = None;
        return Ok(false);
    };
    let (generation, is_under_way) = (spec.and_then(|spec| spec.ordered), ledger.order.is_some());
    let found = look(attempt).await?;
    let is_undecided = !is_under_way && decision == AdoptionDecision::Undecided;
    let fit = match found {
        Found::Nothing => {
            attempt.switch.found = None;
            return Ok(false);
        }
        // The controller says which roots its issuer has, and this is looked at again.
        Found::Unknown => {
            attempt.switch.found = None;
            return Ok(is_undecided);
        }
        Found::Unfit(unfit) => {
            attempt.switch.found = Some(report::Found::Unfit(chain(&unfit)));
            return Ok(false);
        }
        Found::Fit(fit) => fit,
    };
    attempt.switch.found = Some(report::Found::Good(reported(&fit)));
    let AdoptionDecision::Adopt(leaf) = decision else { return Ok(is_undecided) };
    let (true, Some(generation), false) = (Fingerprint::of(leaf_of(&fit).der()) == leaf, generation, is_under_way)
    else {
        // It was decided of another one: the report says which is there.
        return Ok(!is_under_way);
    };
    adopt(attempt, fit, generation).await?;
    Ok(false)
}

/// What is in the places of the files, and is shown wherever it should be.
async fn look(attempt: &mut Attempt<'_>) -> Result<Found, Interrupt> {
    let job = attempt.job.clone();
    let found = attempt.switch.exchange(move |exchange, ledger| found::find(exchange, ledger, &job)).await?;
    let Found::Fit(fit) = found else { return Ok(found) };
    let looks = Looks::once(attempt.switch, &attempt.job.probes, leaf_of(&fit), probe::PATIENCE).await?;
    Ok(match looks.worst(attempt.switch) {
        None => Found::Fit(fit),
        Some(worst) => Found::Unfit(Unfit::NotShown(match worst.seen {
            Seen::Other(other) => {
                format!("{} shows another certificate, with serial {}", worst.target.name(), other.serial)
            }
            _ => format!("{} does not show it", worst.target.name()),
        })),
    })
}

async fn adopt(attempt: &mut Attempt<'_>, fit: Box<Fit>, generation: u64) -> Result<(), Interrupt> {
    let (job, failures, name) = (attempt.job.clone(), attempt.failures(), attempt.switch.name.clone());
    let stage = if job.probes.is_empty() { Stage::Reloaded } else { Stage::Served };
    let serial = leaf_of(&fit).serial().to_owned();
    let adopted =
        attempt.switch.exchange(move |exchange, ledger| found::adopt(exchange, ledger, &job, &fit, generation, stage));
    if adopted.await?.map_err(|e| Failure::exchange(&e, failures))? {
        tracing::info!(certificate = %name, generation, serial, "Adopted the pair that was there");
        attempt.switch.found = None;
        attempt.status.accept(attempt.switch, attempt.job);
        attempt.keep_claims();
        attempt.publish();
    }
    Ok(())
}

fn leaf_of(fit: &Fit) -> &Leaf {
    fit.credential.chain.leaf()
}

fn reported(fit: &Fit) -> FoundPair {
    let chain = &fit.credential.chain;
    FoundPair { leaf: chain.leaf().clone(), chain_ends: chain.expires(), root: fit.credential.root.fingerprint() }
}
