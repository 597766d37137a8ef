//! The way back: when the old files are put back, and how the service comes to them.
//!
//! Answers: what makes Pinion take new files away again, and what is done when that fails too?
//! Invariants: the old files are kept until the new ones are served, and come back when the service refuses the new ones;
//! where nothing was before, nothing is taken away.

use pinion_proto::{causes::chain, stage::Stage};

use super::{
    attempt::{Attempt, Notice},
    failure::{Failure, Interrupt},
    looks::{GLANCE, Looks},
    settle::settle,
};
use crate::ledger::Journal;

/// What is wrong with new files that are in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Symptom {
    /// They do not pass their check.
    Invalid,
    /// The service does not take the notification.
    Refused,
    /// The service does not answer after it.
    Gone,
}

/// Whether the old files are to be put back.
pub(super) fn is_due(symptom: Symptom, journal: Option<&Journal>) -> bool {
    // Where nothing was before, taking the new files away helps no service; and two placements of one service whose
    // configuration names the files of both would wait for each other for ever.
    let Some(journal) = journal else { return false };
    let has_old = journal.previous.is_some() || journal.saved.iter().any(|saved| saved.file.is_some());
    match symptom {
        Symptom::Invalid | Symptom::Refused => has_old,
        // A service that was not there before may never have been started.
        Symptom::Gone => has_old && journal.was_serving,
    }
}

/// Puts the old files back; the failure, with that added. `notified`: the service may have read the new files.
pub(super) async fn go_back(attempt: &mut Attempt<'_>, failure: Failure, notified: bool) -> Result<Failure, Interrupt> {
    let back = attempt.switch.back(notified).await?;
    attempt.keep_claims();
    attempt.publish();
    let name = &attempt.switch.name;
    match back {
        Ok(()) => {
            tracing::warn!(certificate = %name, "Rolled back to the old files");
            Ok(failure.and("the old files are back in place"))
        }
        Err(e) => {
            tracing::error!(certificate = %name, error = chain(&e), "Could not put the old files back");
            let worse = Failure::exchange(&e, attempt.failures());
            Err(worse.and("this was while putting the old files back, which is tried again first").into())
        }
    }
}

/// Notifies services of the old files, and looks whether they serve them: one may all the same when it does not take them
/// anew. Each is notified with its mildest action, and where that fails with the one that it was notified with last: what a
/// restart has ended only a restart brings back.
pub(super) async fn notify_of_old(
    attempt: &mut Attempt<'_>,
    notices: &[Notice<'_>],
    mut failure: Failure,
) -> Result<Failure, Interrupt> {
    if notices.is_empty() {
        return Ok(failure);
    }
    let (mut used, mut all_notified) = (Vec::new(), true);
    for (service, last) in notices {
        // Never refused, because what was ended must come back.
        let mildest = service.mildest();
        let mut notified = attempt.tell(mildest).await?;
        let mut action = mildest;
        if notified.is_err() && *last != mildest {
            action = last;
            notified = attempt.tell(last).await?;
        }
        match notified {
            Ok(()) => used.push(action),
            Err(e) => {
                tracing::error!(certificate = %attempt.switch.name, error = chain(&e), "The service does not take the old files either");
                failure = failure.neither(&e);
                all_notified = false;
            }
        }
    }
    if all_notified {
        attempt.switch.set_stage(Stage::Reloaded);
    }
    let targets = &attempt.job.probes;
    if let (false, Some(leaf)) = (targets.is_empty(), attempt.switch.leaf()) {
        let looks = match all_notified {
            true => settle(attempt, &targets.iter().collect::<Vec<_>>(), &leaf, &used).await?,
            false => Looks::once(attempt.switch, targets, &leaf, GLANCE).await?,
        };
        failure = looks.add_to(failure);
        if looks.all_served() {
            attempt.switch.set_stage(Stage::Served);
        }
    }
    attempt.publish();
    Ok(failure)
}

#[cfg(test)]
mod tests {
    use pinion_proto::spec::Layout;
    use zeroize::Zeroizing;

    use super::*;
    use crate::{
        bundle::Bundle,
        ledger::{Installed, Phase, Saved, SavedFile},
    };

    fn journal(pinions: bool, foreign: bool, was_serving: bool) -> Journal {
        let held = Installed {
            bundle: Bundle::of_roots(1),
            stage: Stage::Served,
            files: Vec::new(),
            layout: Layout::Copy,
            roots: Box::default(),
            trusted: Box::default(),
            unnotified: false,
            adopted: false,
            as_found: Vec::new(),
        };
        let file = SavedFile {
            uid: 0,
            gid: 0,
            mode: "0644".parse().expect("a mode"),
            acl: None,
            content: Zeroizing::default(),
        };
        let saved = [None, foreign.then_some(file)];
        Journal {
            phase: Phase::Forward,
            saved: saved.map(|file| Saved { path: "/x".into(), file, generation: None }).to_vec(),
            previous: pinions.then(|| Box::new(held)),
            was_serving,
            silent: Vec::new(),
        }
    }

    #[test]
    fn old_files_come_back_where_there_were_any_and_the_service_was_there() {
        use Symptom::{Gone, Invalid, Refused};
        for (pinions, foreign, was_serving, due) in [
            (false, false, false, [false, false, false]),
            (false, false, true, [false, false, false]),
            (true, false, false, [true, true, false]),
            (false, true, false, [true, true, false]),
            (true, false, true, [true, true, true]),
            (false, true, true, [true, true, true]),
        ] {
            let journal = journal(pinions, foreign, was_serving);
            let found = [Invalid, Refused, Gone].map(|symptom| is_due(symptom, Some(&journal)));
            assert_eq!(found, due, "Pinion's {pinions}, somebody's {foreign}, serving {was_serving}");
        }
        assert_eq!(
            [Invalid, Refused, Gone].map(|symptom| is_due(symptom, None)),
            [false; 3],
            "they are served already"
        );
    }
}
