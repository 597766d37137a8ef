//! A placement's services: validate what is in place, notify them, and watch whether they show it.
//!
//! Invariants: a service that is to be left alone for now is not disturbed, and keeps no other one waiting; one that does not
//! come up with the new files gets the old ones back ([`super::rollback`]).

use pinion_proto::stage::Stage;
use tokio::time::Instant;

use super::{
    attempt::{Attempt, Notice},
    disturb,
    failure::{Failure, Interrupt},
    gone::Gone,
    looks::{GLANCE, Looks},
    pairing,
    rollback::{self, Symptom},
    root_store,
    service::{Exchanges, Turns},
    settle::settle,
};
use crate::{
    probe::{Other, Seen},
    recipe::{Job, Levels, ProbeTarget, ReloadAction},
    reload::{self, ReloadError},
};

/// Validates what is in place and notifies the services.
pub(super) async fn check_and_notify(attempt: &mut Attempt<'_>) -> Result<(), Interrupt> {
    let turn = attempt.turn().await?;
    check(attempt).await?;
    notify(attempt, turn, &Exchanges::new()).await
}

/// Validates what is in place; what does not pass is taken back.
pub(super) async fn check(attempt: &mut Attempt<'_>) -> Result<(), Interrupt> {
    let (about, validate) = (attempt.about(), &attempt.job.validate);
    let began = Instant::now();
    let checked = attempt.switch.unless_stopped(reload::check(attempt.switch.config(), validate, &about)).await?;
    attempt.status.spent(|timing| &mut timing.check, began);
    let Err(e) = checked else { return Ok(()) };
    let is_due = rollback::is_due(Symptom::Invalid, attempt.switch.ledger.journal.as_ref());
    let failure = Failure::validate(&e, is_due, attempt.failures());
    if !is_due {
        return Err(failure.into());
    }
    // The service was not notified, so it is not notified again either.
    Err(rollback::go_back(attempt, failure, false).await?.into())
}

/// Notifies the services, and watches them. `exchanges`: when the files in place came, for those who were notified since.
pub(super) async fn notify(attempt: &mut Attempt<'_>, mut turn: Turns, exchanges: &Exchanges) -> Result<(), Interrupt> {
    let (about, job, notices) = (attempt.about(), attempt.job, attempt.notices());
    if !notices.is_empty() && notices.iter().all(|notice| is_covered(job, &turn, exchanges, notice)) {
        return notified(attempt, turn).await;
    }
    if let Some(update) = &job.update
        && let Err(e) = attempt.switch.unless_stopped(reload::update(attempt.switch.config(), update, &about)).await?
    {
        // Roots that wait in their files harm nobody, and taking them away would need the same program.
        return Err(Failure::update(update, &e, attempt.failures()).into());
    }
    if let Some(held) = &attempt.switch.ledger.held {
        attempt.driver.told.of(held);
    }
    let (mut told, mut held_up) = (Vec::new(), None);
    for notice in &notices {
        let (service, action) = *notice;
        if attempt.driver.told.contains(action) {
            continue;
        }
        if !is_covered(job, &turn, exchanges, notice) && !has_started_with_it(attempt, notice).await? {
            match notify_one(attempt, action).await? {
                Outcome::Told => told.push(*notice),
                Outcome::HeldUp(failure) => {
                    held_up.get_or_insert(HeldUp { failure, is_absence: false });
                    continue;
                }
                Outcome::Absent(error) => {
                    let failure = Failure::reload(action.to_string(), &error, attempt.failures());
                    held_up.get_or_insert(HeldUp { failure: Box::new(failure), is_absence: true });
                    continue;
                }
                Outcome::Refused(error) => {
                    told.push(*notice);
                    return refused(attempt, &told, notice, &error).await;
                }
            }
            turn.notified(job.turn_of(service), action);
        }
        attempt.driver.told.add(action);
    }
    match held_up {
        None => notified(attempt, turn).await,
        Some(held_up) => {
            drop(turn);
            not_all_notified(attempt, &told, held_up).await
        }
    }
}

/// Whether a service was notified for another placement since the files came.
fn is_covered(job: &Job, turn: &Turns, exchanges: &Exchanges, (service, action): &Notice<'_>) -> bool {
    turn.covers(job.turn_of(service), exchanges, action)
}

/// What became of the notification of one service.
enum Outcome {
    Told,
    /// It is not to be disturbed now.
    HeldUp(Box<Failure>),
    /// It is not there.
    Absent(ReloadError),
    /// It does not take it.
    Refused(ReloadError),
}

/// Why not every service was notified.
struct HeldUp {
    failure: Box<Failure>,
    is_absence: bool,
}

async fn notify_one(attempt: &mut Attempt<'_>, action: &ReloadAction) -> Result<Outcome, Interrupt> {
    match disturb::may_disturb(attempt.switch, action) {
        Ok(()) => {}
        Err(Interrupt::Failed(failure)) => return Ok(Outcome::HeldUp(failure)),
        Err(Interrupt::Stopped) => return Err(Interrupt::Stopped),
    }
    let generation = attempt.about().generation;
    tracing::info!(certificate = %attempt.switch.name, generation, "Notifying the service: {action}");
    let began = Instant::now();
    let told = attempt.tell(action).await?;
    attempt.status.spent(|timing| &mut timing.reload, began);
    Ok(match told {
        Ok(()) => Outcome::Told,
        Err(error) if error.is_absence() => Outcome::Absent(error),
        Err(error) => Outcome::Refused(error),
    })
}

/// Whether a service was started when the files were in place already, and so need not be notified. A restart in the middle
/// of a start would only begin it anew.
async fn has_started_with_it(attempt: &Attempt<'_>, notice: &Notice<'_>) -> Result<bool, Interrupt> {
    let (switch, about) = (&*attempt.switch, attempt.about());
    let targets = pairing::likely(attempt.job, notice.0);
    let (false, Some(leaf), true) = (targets.is_empty(), switch.leaf(), switch.is_in_place_for(GLANCE)) else {
        return Ok(false);
    };
    if switch.is_unnotified() {
        return Ok(false);
    }
    // What cannot be asked now is asked, and reported, when the service is notified.
    let Ok(Some(age)) = switch.unless_stopped(reload::age(switch.config(), notice.1, &about)).await? else {
        return Ok(false);
    };
    if !switch.is_in_place_for(age) {
        return Ok(false);
    }
    Ok(Looks::once(switch, targets, &leaf, GLANCE).await?.has_no_other())
}

/// Before services are notified again: those that show the certificate need not be. Where only the order of the probes says
/// which service is which, all are for once before a stronger action, unless that disturbs them.
pub(super) fn only_who_shows_another(attempt: &mut Attempt<'_>, looks: &Looks<'_>) {
    attempt.driver.told.forget();
    if let Some(held) = &attempt.switch.ledger.held {
        attempt.driver.told.of(held);
    }
    let (job, is_last) = (attempt.job, attempt.driver.escalation.is_last_of_level());
    let is_certain = job.probes.iter().any(|target| target.unit.is_some());
    for (service, action) in attempt.notices() {
        let shows_another = |target: &&ProbeTarget| !looks.is_served_at(target);
        let again = if action.may_disturb() {
            pairing::own(job, service).iter().any(shows_another)
        } else {
            (is_last && !is_certain) || pairing::likely(job, service).iter().any(shows_another)
        };
        if !again {
            attempt.driver.told.add(action);
        }
    }
}

/// Watches what becomes of the services that were notified.
async fn notified(attempt: &mut Attempt<'_>, turn: Turns) -> Result<(), Interrupt> {
    drop(turn);
    attempt.driver.told.forget();
    if let Some(held) = &mut attempt.switch.ledger.held
        && std::mem::take(&mut held.unnotified)
    {
        attempt.switch.changed();
    }
    attempt.publish_stage(Stage::Reloaded);
    match &attempt.job.store {
        _ if !attempt.job.probes.is_empty() => watch(attempt).await,
        Some(store) => root_store::look_into(attempt, store).await,
        None => attempt.reach(Stage::Reloaded).await,
    }
}

/// Some services know of what is in place, and one does not.
async fn not_all_notified(attempt: &mut Attempt<'_>, told: &[Notice<'_>], held_up: HeldUp) -> Result<(), Interrupt> {
    let targets = &attempt.job.probes;
    if let (false, Some(leaf)) = (targets.is_empty(), attempt.switch.leaf()) {
        // Some services read their files by themselves, and some are run by something that is not a unit.
        if held_up.is_absence
            && !attempt.switch.is_unnotified()
            && Looks::once(attempt.switch, targets, &leaf, GLANCE).await?.all_served()
        {
            return attempt.reach(Stage::Served).await;
        }
        // Those that were notified must not stay away meanwhile.
        if let (false, Some(journal)) = (told.is_empty(), &attempt.switch.ledger.journal) {
            let is_expected = |target: &&ProbeTarget| !journal.silent.contains(&target.connect);
            let expected: Vec<_> = targets.iter().filter(is_expected).collect();
            let actions: Vec<_> = told.iter().map(|(_, action)| *action).collect();
            let looks = settle(attempt, &expected, &leaf, &actions).await?;
            undo_if_gone(attempt, told, &looks).await?;
        }
    }
    Err(Interrupt::Failed(held_up.failure))
}

/// A service did not take the notification.
async fn refused(
    attempt: &mut Attempt<'_>,
    told: &[Notice<'_>],
    (service, action): &Notice<'_>,
    error: &ReloadError,
) -> Result<(), Interrupt> {
    attempt.driver.blame(service);
    let failure = Failure::reload(action.to_string(), error, attempt.failures());
    attempt.driver.escalation.failed();
    attempt.driver.told.forget();
    let failure = failure.disturbing();
    if !rollback::is_due(Symptom::Refused, attempt.switch.ledger.journal.as_ref()) {
        return Err(failure.into());
    }
    let failure = rollback::go_back(attempt, failure, true).await?;
    Err(rollback::notify_of_old(attempt, told, failure).await?.into())
}

/// Watches services that were notified until they show the leaf, or their time is up.
pub(super) async fn watch(attempt: &mut Attempt<'_>) -> Result<(), Interrupt> {
    let (targets, Some(leaf)) = (&attempt.job.probes, attempt.switch.leaf()) else { return Ok(()) };
    let notices = attempt.notices();
    let actions: Vec<_> = notices.iter().map(|(_, action)| *action).collect();
    let targets: Vec<_> = targets.iter().collect();
    let began = Instant::now();
    let looks = settle(attempt, &targets, &leaf, &actions).await?;
    attempt.status.spent(|timing| &mut timing.probe, began);
    undo_if_gone(attempt, &notices, &looks).await?;
    let Some(worst) = looks.worst(attempt.switch) else { return attempt.reach(Stage::Served).await };
    let connect = worst.target.name();
    let failure = match worst.seen {
        Seen::Served | Seen::NotAllowed => Failure::not_looked_at(&connect),
        Seen::Other(other) if !worst.is_predecessor => Failure::stranger(&connect, other, leaf.serial()),
        Seen::Other(Other { serial, .. }) => {
            attempt.driver.escalation.failed();
            let failure = Failure::other(&connect, serial, leaf.serial());
            blame(attempt, &looks, worst.target, failure)
        }
        Seen::NotListening(_) | Seen::NoTls(_) => match Gone::of(worst.seen) {
            Some(gone) => Failure::silent(&connect, gone, worst.target.restart),
            None => Failure::not_looked_at(&connect),
        },
    };
    Err(looks.and_elsewhere(failure, worst.target).into())
}

/// Notes which services show another certificate: they alone are notified more firmly. Where several may be behind the
/// place, none of them is disturbed for it, and a person can say which it is.
fn blame(attempt: &mut Attempt<'_>, looks: &Looks<'_>, at: &ProbeTarget, failure: Failure) -> Failure {
    let job = attempt.job;
    for service in &job.services {
        if pairing::own(job, service).iter().any(|target| !looks.is_served_at(target)) {
            attempt.driver.blame(service);
        }
    }
    let behind = pairing::behind(job, at);
    let disturbs = |service: &&&Levels| service.iter().any(ReloadAction::may_disturb);
    match behind.as_slice() {
        [one] if attempt.action(one).is_disruptive() => failure.disturbing(),
        [] | [_] => failure,
        several if several.iter().any(|service| disturbs(&service)) => {
            let names: Vec<_> = several.iter().map(|service| service.strongest().service()).collect();
            failure.behind_one_of(&at.name(), &names)
        }
        _ => failure,
    }
}

/// Puts the old files back where a service was there before the new ones came, and is not now.
async fn undo_if_gone(attempt: &mut Attempt<'_>, told: &[Notice<'_>], looks: &Looks<'_>) -> Result<(), Interrupt> {
    let Some(worst) = looks.worst(attempt.switch) else { return Ok(()) };
    let (Some(gone), true) = (Gone::of(worst.seen), worst.was_there) else { return Ok(()) };
    if !rollback::is_due(Symptom::Gone, attempt.switch.ledger.journal.as_ref()) {
        return Ok(());
    }
    let failure = Failure::broke(&worst.target.name(), gone, worst.target.restart);
    let _turn = attempt.turn().await?;
    attempt.driver.told.forget();
    let failure = rollback::go_back(attempt, failure, true).await?;
    Err(rollback::notify_of_old(attempt, told, failure).await?.into())
}
