//! Policies for a placement of a certificate, in the order in which they are asked.

use std::time::Duration;

use pinion_proto::{
    bundle::Fingerprint,
    report::{Held, Progress},
    stage::{Halt, Trouble},
};

use crate::{
    planner::{
        adoption::{self, Standing},
        case::{Verdict, held_up, held_up_until},
        decision::{Adopt, Decision, Order, Step, Why},
        leaf_case::LeafCase,
    },
    world::PlacementEntry,
};

/// How long a guest may take to say that a delivery has come. It is one message on an open stream; when it
/// takes longer, something is wrong with the agent, and another certificate is ordered.
pub(in crate::planner) const DELIVERY_PATIENCE: Duration = Duration::from_secs(2 * 60);

/// How long a delivery that the guest refused stays refused when it does not say when to try again. The
/// backoff's longest: each try costs the issuer a certificate.
pub(in crate::planner) const REFUSED_PATIENCE: Duration = Duration::from_secs(60 * 60);

/// How long a guest may take over installing, at most: two thirds of step-ca's default life. After that the
/// certificate that waits there may itself be at its end, and a person who then removes what blocked it
/// should not find it expired.
pub(in crate::planner) const INSTALL_PATIENCE: Duration = Duration::from_secs(16 * 60 * 60);

/// How long a second request in a row that does not fit the manifest is left alone. The first is a change of
/// the manifest; more are an agent that cannot do better, and must not be asked again at once.
pub(in crate::planner) const MISFIT_PATIENCE: Duration = Duration::from_secs(30);

/// No new generation is needed: what is held stays until it is due.
pub(super) fn keep_what_is_good(it: &LeafCase<'_, '_>) -> Option<Verdict> {
    it.why.is_none().then_some(Verdict { decision: Decision::Keep, ordered: None, wake_at: it.renew_at })
}

/// The guest has a newer certificate and is installing it: it is left alone for a while.
pub(super) fn let_guest_install(it: &LeafCase<'_, '_>) -> Option<Verdict> {
    let incoming = it.incoming().filter(|incoming| incoming.progress == Progress::Delivered)?;
    // Asking for a renewal is also the way out of an installation that is stuck.
    let troubled = it.case.report().is_some_and(|report| report.trouble.is_some());
    if troubled && it.renew_above().is_some_and(|above| incoming.generation <= above) {
        return None;
    }
    let two_thirds = Duration::from_secs(it.leaf.policy.duration.as_secs() / 3 * 2);
    let until = it.case.entry?.incoming_since()? + two_thirds.min(INSTALL_PATIENCE);
    let verdict = Verdict { decision: Decision::Keep, ordered: Some(incoming.generation), wake_at: Some(until) };
    (it.case.now < until).then_some(verdict)
}

/// The guest can take nothing now. A request of its own that fits stays with it, so that it makes no new key.
pub(super) fn wait_for_guest(it: &LeafCase<'_, '_>) -> Option<Verdict> {
    let unreachable = it.case.reach.unreachable(it.case.renewing())?;
    let ordered = it.requested.filter(|_| !unreachable.lets_go);
    Some(Verdict { decision: held_up(unreachable.trouble), ordered, wake_at: None })
}

/// Files are in its places, and the issuer has not said yet whether it could have signed what is in them.
pub(super) fn wait_until_roots_are_known(it: &LeafCase<'_, '_>) -> Option<Verdict> {
    let case = it.case;
    let report = case.report()?;
    let is_asked_for = report.incoming.is_some();
    if case.trust.is_some() || report.originals.is_empty() || is_asked_for || !adoption::is_open(case, it.leaf) {
        return None;
    }
    Some(Verdict::of(Decision::Wait(Trouble {
        halt: Halt::Waiting,
        attempt: format!("judge what is there at {}", case.label()),
        cause: format!("{} has not announced its roots yet", it.leaf.policy.issuer),
        remedy: "`pinion issuer check` checks the issuer now".to_owned(),
        retry_at: None,
    })))
}

/// A pair that is as good as one that would be ordered is in the guest already. One that was asked for stays asked for.
pub(super) fn adopt_what_is_there(it: &LeafCase<'_, '_>) -> Option<Verdict> {
    let Standing::Good(pair, renew_at) = &it.standing else { return None };
    let generation = it.case.entry.map_or(0, PlacementEntry::highest).checked_add(1)?;
    if it.case.report()?.incoming.is_some() {
        return None;
    }
    let decision = Decision::Adopt(Adopt {
        generation,
        leaf: Fingerprint::of(pair.leaf.der()),
        serial: pair.leaf.serial().to_owned(),
        expires: pair.chain_ends.min(pair.leaf.not_after()),
        renew_at: *renew_at,
    });
    Some(Verdict { decision, ordered: Some(generation), wake_at: None })
}

/// A certificate was sent to the guest, which has not said that it has come, or has refused it.
pub(super) fn await_delivery(it: &LeafCase<'_, '_>) -> Option<Verdict> {
    let delivery = it.case.entry.and_then(PlacementEntry::delivery)?;
    let (decision, until) = match &delivery.refused {
        None => (Decision::Keep, delivery.sent + DELIVERY_PATIENCE),
        Some(trouble) => {
            let until = trouble.retry_at.unwrap_or(delivery.sent + REFUSED_PATIENCE);
            let until = until.max(delivery.sent + DELIVERY_PATIENCE);
            (held_up_until(trouble.clone(), until), until)
        }
    };
    let verdict = Verdict { decision, ordered: Some(delivery.generation), wake_at: Some(until) };
    (it.case.now < until).then_some(verdict)
}

/// The last attempt to have it signed failed a moment ago.
pub(super) fn back_off_after_failure(it: &LeafCase<'_, '_>) -> Option<Verdict> {
    let attempt = it.case.entry.and_then(PlacementEntry::attempt)?;
    let until = attempt.not_before;
    let decision = held_up_until(attempt.trouble.clone(), until);
    (it.case.now < until).then_some(Verdict { decision, ordered: it.requested, wake_at: Some(until) })
}

/// The issuer signs under a new root that is not yet wherever its roots are to be.
pub(super) fn wait_for_new_root(it: &LeafCase<'_, '_>) -> Option<Verdict> {
    let trust = it.case.trust?;
    let until = trust.waits(it.held, it.renew_at, it.case.now)?;
    let trouble = trust.trouble(&it.leaf.policy.issuer, &it.case.label(), until);
    Some(Verdict { decision: Decision::Wait(trouble), ordered: it.requested, wake_at: until.0 })
}

/// The guest's request fits. One that was answered already gets no other answer: the guest may have the first, and a
/// generation never comes with another content. Nor does one that a person, or a clock that was set back, asks to exceed.
pub(super) fn sign_request(it: &LeafCase<'_, '_>) -> Option<Verdict> {
    let generation = it.requested?;
    if it.delivered() == Some(generation) || it.renew_above().is_some_and(|above| generation <= above) {
        return None;
    }
    Some(order(it, generation, Step::Sign))
}

/// Requests that do not fit came twice in a row: the guest is asked again after a pause.
pub(super) fn pause_after_misfit(it: &LeafCase<'_, '_>) -> Option<Verdict> {
    let entry = it.case.entry.filter(|entry| entry.undelivered() > 0)?;
    let until = entry.incoming_since()? + MISFIT_PATIENCE;
    let cause = match entry.request() {
        Some(Err(error)) => format!("cannot read the guest's request: {error}"),
        _ => "the guest's request does not have the names or the key that the manifest asks for".to_owned(),
    };
    let trouble = Trouble {
        halt: Halt::Waiting,
        attempt: it.case.renewing(),
        cause,
        remedy: "Pinion asks again; if this lasts, check the agent's log (`journalctl -u pinion-agent`) and version"
            .to_owned(),
        retry_at: Some(until),
    };
    (it.case.now < until).then_some(Verdict { decision: Decision::Wait(trouble), ordered: None, wake_at: Some(until) })
}

/// The guest is asked for a key and a request, under a number that was never used.
pub(super) fn ask_for_request(it: &LeafCase<'_, '_>) -> Verdict {
    match it.case.entry.map_or(0, PlacementEntry::highest).checked_add(1) {
        Some(generation) => order(it, generation, Step::Ask),
        None => Verdict::of(Decision::Block(Trouble {
            halt: Halt::Blocked,
            attempt: it.case.renewing(),
            cause: "the guest reports that it has used the last possible generation number".to_owned(),
            remedy: "its record is damaged: purge the placement, then add it again".to_owned(),
            retry_at: None,
        })),
    }
}

fn order(it: &LeafCase<'_, '_>, generation: u64, step: Step) -> Verdict {
    // Where nothing is needed, nothing comes as far as this.
    let why = it.why.clone().unwrap_or(Why::Missing);
    let expires = it.held.map(Held::expires);
    let decision = Decision::Order(Order { generation, step, why, expires });
    Verdict { decision, ordered: Some(generation), wake_at: None }
}
