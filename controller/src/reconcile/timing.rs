//! Where the time of each placement's last renewal went.
//!
//! Answers: when was each step of it done, as far as the controller saw it or the guest's agent said it?
//! Invariant: one renewal a placement, in memory alone; nothing is decided by it.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, SystemTime},
};

use pinion_proto::{content::Content, id::PlacementId, report::PlacementReport, stage::Stage, timing::GuestTiming};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::time::Instant;

use crate::{
    admin::timing::{RenewalStep, RenewalTiming, StepName},
    planner::{Decision, Plan, Step},
};

/// The last renewal of each placement.
#[derive(Debug, Default)]
pub(super) struct Timings {
    renewals: HashMap<PlacementId, Renewal>,
}

/// How long an issuer's answer took.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SigningTime {
    /// In the queue before the issuer.
    pub(super) queued: Duration,
    /// Until the issuer had answered.
    pub(super) called: Duration,
    /// All of it, until the certificate was stored.
    pub(super) whole: Duration,
}

/// The marks of one renewal.
#[derive(Debug)]
struct Renewal {
    generation: u64,
    /// When it was decided, by both clocks.
    began: (SystemTime, Instant),
    /// When the guest was asked for a request.
    ordered: Option<Instant>,
    requested: Option<Instant>,
    /// When the certificate was there, and what was done until then.
    signed: Option<(Instant, SigningTime)>,
    sent: Option<Instant>,
    installed: Option<Instant>,
    reloaded: Option<Instant>,
    done: Option<Instant>,
    in_guest: Option<GuestTiming>,
}

impl Renewal {
    fn new(generation: u64, now: Instant) -> Self {
        let (ordered, requested, signed, sent) = (None, None, None, None);
        let (installed, reloaded, done, in_guest) = (None, None, None, None);
        let began = (SystemTime::now(), now);
        Self { generation, began, ordered, requested, signed, sent, installed, reloaded, done, in_guest }
    }
}

impl Timings {
    /// Notes what the plan orders, what its guest was sent of that, and what was requested for it.
    pub(super) fn step(&mut self, plan: &Plan<'_>, sent: impl Fn(&PlacementId) -> Option<u64>, now: Instant) {
        for (planned, order) in plan.placements.iter().filter_map(|planned| match &planned.decision {
            Decision::Order(order) if matches!(planned.content(), Content::Leaf(_)) => Some((planned, order)),
            _ => None,
        }) {
            let Some(id) = planned.id() else { continue };
            let is_ordered = sent(&id) == Some(order.generation);
            let renewal = self.renewals.entry(id).or_insert_with(|| Renewal::new(order.generation, now));
            if renewal.generation != order.generation {
                *renewal = Renewal::new(order.generation, now);
            }
            if is_ordered {
                renewal.ordered.get_or_insert(now);
            }
            if order.step == Step::Sign {
                renewal.requested.get_or_insert(now);
            }
        }
        // What nobody asks for any more.
        if self.renewals.len() > plan.placements.len() {
            let known: HashSet<_> = plan.placements.iter().filter_map(crate::planner::Planned::id).collect();
            self.renewals.retain(|id, _| known.contains(id));
        }
    }

    /// A certificate was signed.
    pub(super) fn signed(&mut self, id: &PlacementId, generation: u64, took: SigningTime, now: Instant) {
        if let Some(renewal) = self.of(id, generation) {
            renewal.signed = Some((now, took));
        }
    }

    /// A certificate was sent to its guest.
    pub(super) fn sent(&mut self, id: &PlacementId, generation: u64, now: Instant) {
        if let Some(renewal) = self.of(id, generation) {
            renewal.sent.get_or_insert(now);
        }
    }

    /// A guest has reported.
    pub(super) fn reported(&mut self, id: &PlacementId, report: &PlacementReport, now: Instant) {
        let Some(renewal) = self.renewals.get_mut(id).filter(|renewal| renewal.done.is_none()) else { return };
        if let Some(timing) = report.timing.as_deref().filter(|timing| timing.generation == renewal.generation) {
            renewal.in_guest = Some(*timing);
        }
        if report.held.as_ref().is_none_or(|held| held.generation != renewal.generation) {
            return;
        }
        for (stage, mark) in [
            (Stage::Installed, &mut renewal.installed),
            (Stage::Reloaded, &mut renewal.reloaded),
            (report.goal, &mut renewal.done),
        ] {
            if report.stage >= stage {
                mark.get_or_insert(now);
            }
        }
    }

    /// The last renewal of a placement since the controller started.
    pub(super) fn last(&self, id: &PlacementId, now: Instant) -> Option<RenewalTiming> {
        self.renewals.get(id).map(|renewal| renewal.timing(now))
    }

    fn of(&mut self, id: &PlacementId, generation: u64) -> Option<&mut Renewal> {
        self.renewals.get_mut(id).filter(|renewal| renewal.generation == generation)
    }
}

impl Renewal {
    fn timing(&self, now: Instant) -> RenewalTiming {
        let end = self.done.unwrap_or(now);
        let mut steps = Steps { began: self.began.0, from: 0, steps: Vec::new() };
        let at = |mark: Instant| milliseconds(mark.saturating_duration_since(self.began.1));
        let end = at(end);
        let requested = self.requested.map_or(end, at);
        steps.add(StepName::Order, self.ordered.map_or(requested, at));
        match self.in_guest {
            Some(timing) => steps.add_parts(requested, &[(StepName::Key, timing.key.into())]),
            None => steps.add(StepName::Request, requested),
        }
        if self.requested.is_some() {
            self.signing(&mut steps, at, end);
        }
        if let Some(sent) = self.sent {
            steps.add(StepName::Delivery, at(sent));
            match self.in_guest {
                Some(timing) => steps.add_parts(end, &in_guest(timing)),
                None => {
                    for (name, mark) in [(StepName::Install, self.installed), (StepName::Notify, self.reloaded)] {
                        steps.add(name, mark.map_or(end, at));
                    }
                    steps.add(StepName::Serve, end);
                }
            }
        } else if self.signed.is_some() {
            steps.add(StepName::Delivery, end);
        }
        RenewalTiming {
            generation: self.generation,
            began: moment(self.began.0, 0),
            milliseconds: steps.from,
            is_done: self.done.is_some(),
            from_guest: self.in_guest.is_some(),
            steps: steps.steps,
        }
    }

    /// The steps from the request to the certificate.
    fn signing(&self, steps: &mut Steps, at: impl Fn(Instant) -> u64, end: u64) {
        let Some((signed, took)) = self.signed else { return steps.add(StepName::Hold, end) };
        let signed = at(signed);
        let asked = signed.saturating_sub(milliseconds(took.whole));
        let turn = asked + milliseconds(took.queued);
        steps.add(StepName::Hold, asked);
        steps.add(StepName::Queue, turn);
        steps.add(StepName::Sign, turn + milliseconds(took.called));
        steps.add(StepName::Store, signed);
    }
}

fn in_guest(timing: GuestTiming) -> [(StepName, u64); 7] {
    let GuestTiming { generation: _, key: _, turn, look, write, check, gather, reload, probe } = timing;
    [
        (StepName::Turn, turn.into()),
        (StepName::Look, look.into()),
        (StepName::Write, write.into()),
        (StepName::Check, check.into()),
        (StepName::Gather, gather.into()),
        (StepName::Reload, reload.into()),
        (StepName::Probe, probe.into()),
    ]
}

/// Steps that follow each other; moments are milliseconds since the beginning.
struct Steps {
    began: SystemTime,
    /// The end of the last one.
    from: u64,
    steps: Vec<RenewalStep>,
}

impl Steps {
    /// One that ends then; none if it takes no time.
    fn add(&mut self, step: StepName, until: u64) {
        if let Some(milliseconds @ 1..) = until.checked_sub(self.from) {
            self.steps.push(RenewalStep { step, began: moment(self.began, self.from), milliseconds });
            self.from = until;
        }
    }

    /// Several of which the guest knows the lengths. What they leave of the time until then is the link's; a guest cannot
    /// have taken longer than that.
    fn add_parts(&mut self, until: u64, parts: &[(StepName, u64)]) {
        for (step, length) in parts {
            self.add(*step, self.from.saturating_add(*length).min(until));
        }
        self.add(StepName::Link, until);
    }
}

fn milliseconds(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}

/// RFC 3339 in UTC, with milliseconds.
fn moment(began: SystemTime, milliseconds: u64) -> String {
    let at = began.checked_add(Duration::from_millis(milliseconds)).map_or(OffsetDateTime::UNIX_EPOCH, Into::into);
    let seconds = at.replace_nanosecond(0).unwrap_or(at).format(&Rfc3339).unwrap_or_default();
    format!("{}.{:03}Z", seconds.trim_end_matches('Z'), at.millisecond())
}

#[cfg(test)]
mod tests;
