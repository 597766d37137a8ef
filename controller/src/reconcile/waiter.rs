//! Those who wait: each `pinion ensure` in progress.

use std::{collections::HashMap, time::Duration};

use pinion_proto::{clock::Timestamp, id::PlacementId};
use tokio::{sync::mpsc, time::Instant};

use super::{Reconciler, view};
use crate::{
    admin::{
        caller::Caller,
        protocol::{Answer, Ensure, Progress, ProgressLine},
    },
    events::{HostEvent, What},
    planner::{self, Plan},
};

/// After a placement was asked to try again, its old trouble is not believed for this long.
const FRESH: Duration = Duration::from_secs(3);

/// One `pinion ensure` in progress.
pub(super) struct Waiter {
    ensure: Ensure,
    chosen: view::Chosen,
    /// By placement, the generation that must be exceeded.
    above: HashMap<String, u64>,
    answers: mpsc::Sender<Answer>,
    believed_from: Instant,
    /// What the asker knows, by placement.
    told: HashMap<String, ProgressLine>,
}

impl Waiter {
    /// When its placements' troubles become believable; none once they are.
    pub(super) fn believes_at(&self) -> Option<Instant> {
        Some(self.believed_from).filter(|at| *at > Instant::now())
    }
}

impl Reconciler {
    /// Begins to make something so, which the next plan has in it. Returns why not, if not.
    pub(super) fn start_ensure(
        &mut self,
        ensure: Ensure,
        caller: &Caller,
        answers: mpsc::Sender<Answer>,
        now: Timestamp,
    ) -> Option<Answer> {
        let chosen = match view::Chosen::new(self, &ensure.selection) {
            Ok(chosen) => chosen,
            Err(answer) => return Some(answer),
        };
        let (manifest, inventory) = (self.manifest.manifest.clone(), self.inventory.clone());
        let mut wanted = Vec::with_capacity(manifest.placement_count());
        for certificate in &manifest.certificates {
            for placement in &certificate.placements {
                let guest = inventory.resolve(&placement.guest).ok();
                wanted.push((certificate, placement, guest, planner::label(certificate, placement, guest)));
            }
        }
        let labels = wanted.iter().map(|(certificate, _, _, label)| (label.clone(), certificate.name.as_str()));
        if let Some(unknown) = chosen.unknown(labels) {
            return Some(Answer::NoSuchName(format!(
                "no certificate or placement of the manifest is called {unknown}"
            )));
        }
        let mut above = HashMap::new();
        for (certificate, placement, guest, label) in wanted {
            if !chosen.means(&label, certificate.name.as_str(), guest) {
                continue;
            }
            let Some(guest) = guest else { continue };
            let id = PlacementId { certificate: certificate.name.clone(), guest };
            if ensure.renew && !placement.purge {
                let generation = if ensure.now {
                    self.reports.request_renewal(&id)
                } else {
                    self.reports.request_renewal_in_window(&id)
                };
                above.insert(label, generation);
                self.touch_now(id.guest);
            }
            self.reports.forget_attempt(&id);
            let held_up =
                self.reports.placement(&id).and_then(|entry| entry.report()).is_some_and(|r| r.trouble.is_some());
            if held_up && !self.inventory.hands_off(id.guest) {
                self.sessions.retry(&id);
            }
        }
        if ensure.renew {
            self.record(What::Host(HostEvent::RenewalAsked(above.len())).at(now).by(caller));
        }
        let believed_from = Instant::now() + FRESH;
        self.waiters.push(Waiter { ensure, chosen, above, answers, believed_from, told: HashMap::new() });
        None
    }

    /// Tells those who wait what is new, and lets those go who have what they asked for.
    pub(super) fn answer_waiters(&mut self, plan: &Plan<'_>) {
        let mut waiters = std::mem::take(&mut self.waiters);
        waiters.retain_mut(|waiter| !self.answer(waiter, plan));
        self.waiters = waiters;
    }

    /// True when it is over for this one.
    fn answer(&self, waiter: &mut Waiter, plan: &Plan<'_>) -> bool {
        if waiter.answers.is_closed() {
            return true;
        }
        let placements: Vec<_> = plan
            .placements
            .iter()
            .filter_map(|planned| {
                let label = planned.label();
                let meant = waiter.chosen.means(&label, planned.certificate.name.as_str(), planned.guest);
                meant.then(|| view::progress(self, planned, waiter.ensure.until, waiter.above.get(&label).copied()))
            })
            .collect();
        let believed = waiter.believes_at().is_none();
        let over = placements.iter().all(|line| line.reached || (believed && line.is_blocked()));
        if over {
            return waiter.answers.try_send(Answer::Ensured(Progress { placements })).is_ok();
        }
        let changed: Vec<_> =
            placements.into_iter().filter(|line| waiter.told.get(&line.placement) != Some(line)).collect();
        // A queue that is full is told the newest state at the next change.
        if !changed.is_empty()
            && waiter.answers.try_send(Answer::Progress(Progress { placements: changed.clone() })).is_ok()
        {
            waiter.told.extend(changed.into_iter().map(|line| (line.placement.clone(), line)));
        }
        false
    }

    /// When some waiter's placements have to be looked at anew although nothing has happened.
    pub(super) fn waiters_wake_at(&self) -> Option<Instant> {
        self.waiters.iter().filter_map(Waiter::believes_at).min()
    }
}
