//! A placement's service: validate what is in place, notify it, and watch whether it shows it.
//!
//! Invariant: a service that is to be left alone for now is not disturbed; one that does not come up with the new files gets
//! the old ones back ([`super::rollback`]).

use pinion_proto::stage::Stage;

use super::{
    attempt::{Attempt, Turn},
    disturb,
    failure::{Failure, Interrupt},
    predecessor::is_predecessor,
    rollback::{self, Symptom},
    root_store,
    settle::{GLANCE, settle},
};
use crate::{
    probe::{self, Other, Seen},
    recipe::ReloadAction,
    reload::{self, ReloadError},
};

/// Validates what is in place and notifies the service.
pub(super) async fn check_and_notify(attempt: &mut Attempt<'_>) -> Result<(), Interrupt> {
    let turn = attempt.turn().await?;
    check(attempt).await?;
    notify(attempt, turn).await
}

/// Validates what is in place; what does not pass is taken back.
pub(super) async fn check(attempt: &mut Attempt<'_>) -> Result<(), Interrupt> {
    let (about, validate) = (attempt.about(), &attempt.job.validate);
    let checked = attempt.switch.unless_stopped(reload::check(attempt.switch.config(), validate, &about)).await?;
    let Err(e) = checked else { return Ok(()) };
    let is_due = rollback::is_due(Symptom::Invalid, attempt.switch.ledger.journal.as_ref());
    let failure = Failure::validate(&e, is_due, attempt.failures());
    if !is_due {
        return Err(failure.into());
    }
    // The service was not notified, so it is not notified again either.
    Err(rollback::go_back(attempt, failure, false).await?.into())
}

/// Notifies the service, and watches it.
pub(super) async fn notify(attempt: &mut Attempt<'_>, mut turn: Turn) -> Result<(), Interrupt> {
    let about = attempt.about();
    if let Some(update) = &attempt.job.update
        && let Err(e) = attempt.switch.unless_stopped(reload::update(attempt.switch.config(), update, &about)).await?
    {
        // Roots that wait in their files harm nobody, and taking them away would need the same program.
        return Err(Failure::update(update, &e, attempt.failures()).into());
    }
    if let Some(action) = attempt.action() {
        if has_started_with_it(attempt, action).await? {
            return notified(attempt, turn).await;
        }
        disturb::may_disturb(attempt.switch, action)?;
        tracing::info!(certificate = %attempt.switch.name, generation = about.generation, "Notifying the service: {action}");
        if let Err(e) = attempt.tell(action).await? {
            return not_notified(attempt, action, &e).await;
        }
        if let Some(service) = &mut turn {
            service.notified(action);
        }
    }
    notified(attempt, turn).await
}

/// Whether the service was started when the files were in place already, and so need not be notified. A restart in the middle
/// of a start would only begin it anew.
async fn has_started_with_it(attempt: &Attempt<'_>, action: &ReloadAction) -> Result<bool, Interrupt> {
    let (switch, about) = (&*attempt.switch, attempt.about());
    let (Some(target), Some(leaf), true) = (&attempt.job.probe, switch.leaf(), switch.is_in_place_for(GLANCE)) else {
        return Ok(false);
    };
    if switch.is_unnotified() {
        return Ok(false);
    }
    // What cannot be asked now is asked, and reported, when the service is notified.
    let Ok(Some(age)) = switch.unless_stopped(reload::age(switch.config(), action, &about)).await? else {
        return Ok(false);
    };
    if !switch.is_in_place_for(age) {
        return Ok(false);
    }
    let seen = switch.unless_stopped(probe::look(target, &leaf, GLANCE)).await?;
    Ok(matches!(seen, Seen::Served | Seen::NotListening(_)))
}

/// Watches what becomes of the service that was notified.
pub(super) async fn notified(attempt: &mut Attempt<'_>, turn: Turn) -> Result<(), Interrupt> {
    drop(turn);
    if let Some(held) = &mut attempt.switch.ledger.held
        && std::mem::take(&mut held.unnotified)
    {
        attempt.switch.changed();
    }
    attempt.publish_stage(Stage::Reloaded);
    match (&attempt.job.probe, &attempt.job.store) {
        (Some(_), _) => watch(attempt).await,
        (None, Some(store)) => root_store::look_into(attempt, store).await,
        (None, None) => attempt.reach(Stage::Reloaded).await,
    }
}

/// The service did not take the notification.
async fn not_notified(attempt: &mut Attempt<'_>, action: &ReloadAction, error: &ReloadError) -> Result<(), Interrupt> {
    let failure = Failure::reload(action.to_string(), error, attempt.failures());
    if error.is_absence() {
        // Some services read their files by themselves, and some are run by something that is not a unit.
        if let (Some(target), Some(leaf)) = (&attempt.job.probe, attempt.switch.leaf())
            && !attempt.switch.is_unnotified()
            && attempt.switch.unless_stopped(probe::look(target, &leaf, GLANCE)).await? == Seen::Served
        {
            return attempt.reach(Stage::Served).await;
        }
        return Err(failure.into());
    }
    attempt.driver.escalation.failed();
    let failure = failure.disturbing();
    if !rollback::is_due(Symptom::Refused, attempt.switch.ledger.journal.as_ref()) {
        return Err(failure.into());
    }
    let failure = rollback::go_back(attempt, failure, true).await?;
    Err(rollback::notify_of_old(attempt, Some(action), failure).await?.into())
}

/// Watches a service that was notified until it shows the leaf, or its time is up.
pub(super) async fn watch(attempt: &mut Attempt<'_>) -> Result<(), Interrupt> {
    let (Some(target), Some(leaf)) = (&attempt.job.probe, attempt.switch.leaf()) else { return Ok(()) };
    let connect = target.connect.to_string();
    match settle(attempt, target, &leaf, attempt.action()).await? {
        Seen::Served => attempt.reach(Stage::Served).await,
        Seen::NotAllowed => Err(Failure::not_looked_at(&connect).into()),
        Seen::Other(other) if !is_predecessor(attempt.switch, &other) => {
            Err(Failure::stranger(&connect, &other, leaf.serial()).into())
        }
        Seen::Other(Other { serial, .. }) => {
            let restarts = attempt.action().is_some_and(ReloadAction::is_disruptive);
            attempt.driver.escalation.failed();
            let failure = Failure::other(&connect, &serial, leaf.serial());
            Err(if restarts { failure.disturbing() } else { failure }.into())
        }
        Seen::NotListening(cause) | Seen::NoTls(cause) => {
            if !rollback::is_due(Symptom::Gone, attempt.switch.ledger.journal.as_ref()) {
                return Err(Failure::silent(&connect, &cause, target.restart).into());
            }
            let _turn = attempt.turn().await?;
            let failure = rollback::go_back(attempt, Failure::broke(&connect, &cause, target.restart), true).await?;
            Err(rollback::notify_of_old(attempt, attempt.action(), failure).await?.into())
        }
    }
}
