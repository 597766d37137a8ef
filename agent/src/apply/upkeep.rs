//! Upkeep of what is in place: files that somebody changed are put right, and a service that shows something else is
//! notified again.
//!
//! Invariant: a service that was notified in vain is left alone for a while; its files are put right at each look.

use pinion_proto::stage::Stage;
use tokio::time::Instant;

use super::{
    attempt::Attempt,
    failure::{Failure, Interrupt},
    gone::Gone,
    looks::Looks,
    notify,
    rollback::{self, Symptom},
    root_store,
    settle::settle,
};
use crate::{
    probe::{self, Seen},
    reload,
};

/// What a look between two tries does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Upkeep {
    /// What is in place is elsewhere: the next try moves it.
    Nothing,
    /// What is held up is what is in place: it is tried when it is due, but a service that comes by itself is seen sooner.
    Glance,
    /// A newer one is held up, and the service was notified of this one in vain a moment ago.
    RepairAndGlance,
    /// A newer one is held up.
    Maintain,
}

impl Upkeep {
    pub(super) fn of(is_in_place: bool, is_newer_held_up: bool, is_due: bool) -> Self {
        match (is_in_place, is_newer_held_up, is_due) {
            (false, _, _) => Self::Nothing,
            (true, false, _) => Self::Glance,
            (true, true, false) => Self::RepairAndGlance,
            (true, true, true) => Self::Maintain,
        }
    }
}

/// Looks after what is in place while the next try is far off; true when the goal turns out to be reached.
pub(super) async fn look_after(attempt: &mut Attempt<'_>, upkeep: Upkeep) -> Result<bool, Interrupt> {
    match upkeep {
        Upkeep::Nothing => return Ok(false),
        Upkeep::Glance => return glance(attempt).await,
        Upkeep::RepairAndGlance => {
            repair(attempt).await?;
            if glance(attempt).await? {
                attempt.driver.succeeded(Instant::now());
            }
        }
        Upkeep::Maintain => match maintain(attempt).await {
            Ok(()) => attempt.driver.succeeded(Instant::now()),
            Err(Interrupt::Failed(failure)) => {
                let (name, config) = (&attempt.switch.name, attempt.switch.config());
                attempt.driver.back_off(&failure, name, config, Instant::now());
            }
            Err(Interrupt::Stopped) => return Err(Interrupt::Stopped),
        },
    }
    Ok(false)
}

/// Whether the service shows what is in place; nothing is done when it does not.
async fn glance(attempt: &mut Attempt<'_>) -> Result<bool, Interrupt> {
    let switch = &*attempt.switch;
    let targets = &attempt.job.probes;
    let (false, Some(leaf), false) = (targets.is_empty(), switch.leaf(), switch.is_unnotified()) else {
        return Ok(false);
    };
    let served = Looks::once(switch, targets, &leaf, probe::PATIENCE).await?.all_served();
    if served {
        attempt.reach(Stage::Served).await?;
    }
    Ok(served)
}

/// Puts right what somebody changed, and looks whether the service still shows what is in place.
pub(super) async fn maintain(attempt: &mut Attempt<'_>) -> Result<(), Interrupt> {
    if attempt.switch.ledger.held.is_none() {
        return Ok(());
    }
    Box::pin(repair(attempt)).await?;
    let Some(held) = &attempt.switch.ledger.held else { return Ok(()) };
    let (stage, is_unnotified) = (held.stage, held.unnotified);
    if stage > Stage::Installed && Box::pin(is_behind(attempt)).await? {
        tracing::warn!(certificate = %attempt.switch.name, "The service has other secrets than this certificate's, and gets these again");
        attempt.publish_stage(Stage::Installed);
        return Box::pin(notify::check_and_notify(attempt)).await;
    }
    let targets = &attempt.job.probes;
    let (false, Some(leaf), false) = (targets.is_empty(), held.bundle.leaf().cloned(), is_unnotified) else {
        if is_unnotified || stage < Stage::Reloaded {
            return Box::pin(notify::check_and_notify(attempt)).await;
        }
        return match &attempt.job.store {
            Some(store) => Box::pin(root_store::look_into(attempt, store)).await,
            None => attempt.reach(Stage::Reloaded).await,
        };
    };
    let mut looks = Looks::once(attempt.switch, targets, &leaf, probe::PATIENCE).await?;
    if stage > Stage::Installed && looks.worst(attempt.switch).is_some_and(|worst| worst.is_predecessor) {
        // After a reload nginx's old workers take connections beside the new ones for a moment: a single
        // look may meet one of them, and is no reason to notify the service once more.
        looks = Box::pin(settle(attempt, &targets.iter().collect::<Vec<_>>(), &leaf, &[])).await?;
    }
    let Some(worst) = looks.worst(attempt.switch) else { return attempt.reach(Stage::Served).await };
    let may_roll_back = worst.was_there && rollback::is_due(Symptom::Gone, attempt.switch.ledger.journal.as_ref());
    match FollowUp::of(worst.seen, worst.is_predecessor, stage, may_roll_back) {
        FollowUp::Reached => attempt.reach(Stage::Served).await,
        FollowUp::Notify => Box::pin(notify::check_and_notify(attempt)).await,
        FollowUp::NotifyAgain => {
            if let Seen::Other(other) = worst.seen {
                tracing::warn!(certificate = %attempt.switch.name, connect = %worst.target.connect, serial = other.serial, "The service shows another certificate than is installed");
            }
            notify::only_who_shows_another(attempt, &looks);
            attempt.publish_stage(Stage::Installed);
            Box::pin(notify::check_and_notify(attempt)).await
        }
        FollowUp::Watch => {
            attempt.publish_stage(Stage::Reloaded);
            Box::pin(notify::watch(attempt)).await
        }
        FollowUp::Report => {
            let connect = worst.target.name();
            let failure = match (worst.seen, Gone::of(worst.seen)) {
                (_, Some(gone)) => Failure::absent(&connect, gone),
                (Seen::Other(other), None) => Failure::stranger(&connect, other, leaf.serial()),
                (_, None) => Failure::not_looked_at(&connect),
            };
            let failure = looks.and_elsewhere(failure, worst.target);
            attempt.publish_stage(Stage::Reloaded);
            Err(failure.into())
        }
    }
}

/// Whether a service has gone back to what it had before it was notified.
async fn is_behind(attempt: &Attempt<'_>) -> Result<bool, Interrupt> {
    let config = attempt.switch.config();
    for (_, action) in attempt.notices() {
        if attempt.switch.unless_stopped(reload::is_behind(config, action, || attempt.about())).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What follows from what a service shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FollowUp {
    /// It shows what it should.
    Reached,
    /// It was not notified yet.
    Notify,
    /// It was, and shows a certificate that was there before.
    NotifyAgain,
    /// It was, and is gone: it gets its time to come back, and then its old files.
    Watch,
    /// It was, and nothing more can be done.
    Report,
}

impl FollowUp {
    fn of(seen: &Seen, is_predecessor: bool, stage: Stage, may_roll_back: bool) -> Self {
        let was_notified = stage > Stage::Installed;
        match seen {
            Seen::Served => Self::Reached,
            _ if !was_notified => Self::Notify,
            Seen::Other(_) if is_predecessor => Self::NotifyAgain,
            Seen::Other(_) => Self::Report,
            Seen::NotListening(_) | Seen::NoTls(_) if may_roll_back => Self::Watch,
            Seen::NotAllowed | Seen::NotListening(_) | Seen::NoTls(_) => Self::Report,
        }
    }
}

/// Puts files right that somebody changed.
async fn repair(attempt: &mut Attempt<'_>) -> Result<(), Interrupt> {
    let failures = attempt.failures();
    let job = attempt.job.clone();
    let differs = attempt.switch.inspect(move |exchange, ledger| exchange.differs(ledger, &job)).await?;
    if !differs.map_err(|e| Failure::exchange(&e, failures))? {
        return Ok(());
    }
    let _turn = attempt.turn().await?;
    let job = attempt.job.clone();
    let repaired = attempt.switch.exchange(move |exchange, ledger| exchange.repair(ledger, &job)).await?;
    if repaired.map_err(|e| Failure::exchange(&e, failures))? {
        tracing::warn!(certificate = %attempt.switch.name, "Files were not as they should be; they are put right");
    }
    attempt.publish();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::{Other, Unlike};

    #[test]
    fn what_is_looked_after_depends_on_what_is_held_up() {
        for (is_in_place, is_newer_held_up, is_due, upkeep) in [
            (false, false, true, Upkeep::Nothing),
            (false, true, true, Upkeep::Nothing),
            (true, false, false, Upkeep::Glance),
            (true, false, true, Upkeep::Glance),
            (true, true, false, Upkeep::RepairAndGlance),
            (true, true, true, Upkeep::Maintain),
        ] {
            let found = Upkeep::of(is_in_place, is_newer_held_up, is_due);
            assert_eq!(found, upkeep, "in place {is_in_place}, newer {is_newer_held_up}, due {is_due}");
        }
    }

    #[test]
    fn what_follows_from_a_look_depends_on_how_far_it_had_come() {
        use FollowUp::{Notify, NotifyAgain, Reached, Report, Watch};
        let gone = || Seen::NotListening("refused".into());
        let other = || Seen::Other(Other { serial: "12".into(), der: Box::default(), asked: None });
        for (seen, is_predecessor, at_installed, at_reloaded, with_old_files) in [
            (Seen::Served, false, Reached, Reached, Reached),
            (other(), true, Notify, NotifyAgain, NotifyAgain),
            // Another restart would show it again.
            (other(), false, Notify, Report, Report),
            (Seen::NotAllowed, false, Notify, Report, Report),
            (Seen::NoTls(Unlike::for_test()), false, Notify, Report, Watch),
            (gone(), false, Notify, Report, Watch),
        ] {
            let of = |stage, may_roll_back| FollowUp::of(&seen, is_predecessor, stage, may_roll_back);
            for may_roll_back in [false, true] {
                assert_eq!(of(Stage::Installed, may_roll_back), at_installed, "{seen:?}");
            }
            for stage in [Stage::Reloaded, Stage::Served] {
                assert_eq!(of(stage, false), at_reloaded, "{seen:?} at {stage}");
                assert_eq!(of(stage, true), with_old_files, "{seen:?} at {stage}");
            }
        }
    }
}
