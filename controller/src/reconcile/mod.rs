//! The only loop: observe, plan, act, record.
//!
//! One task owns everything that is known (`World`) and the parts that act on it. These tasks wake it:
//!
//! | task | channel to the loop | brings |
//! |---|---|---|
//! | the links (`link`), one each | `Inputs::links`, bounded | hellos, reports, what became of a link |
//! | the admin socket (`admin`), one a caller | `Inputs::questions`, bounded | questions, each with the way to its answer |
//! | the manifest's file (`manifest/file`) | `Inputs::manifest`, a watch | the manifest in force |
//! | the inventory (`channel/follow`) | `Inputs::inventory`, a watch | which guests there are |
//! | addresses (`config/advertise`) | `Inputs::reachable`, a watch | how guests reach this controller |
//! | a signature (`calls`), one each | `Outcomes::signed` | what an issuer signed, or why not |
//! | a revocation (`calls`), at most four | `Outcomes::revoked` | whether an issuer revoked |
//! | roots (`roots`), one an issuer | `Outcomes::roots` | which roots it has |
//! | enrolling (`enroll`), eight at a time | `Outcomes::enrolling` | how far bringing a guest in has come |
//! | shared state (`shared_state`) | a watch | that it can be written, or not any more |
//! | a write (`persist`), one at a time | none | |
//!
//! Invariant: level-triggered. Everything that happens only wakes the loop; what is done follows from the plan alone,
//! so that losing any message or process costs time and nothing else.
//! Invariant: a part reads the world and the plan, and says what is to be done as `Effects`; `perform` alone
//! does it.

mod answers;
mod calls;
mod chosen;
mod clock_watch;
mod delivery;
mod departures;
mod effects;
mod enrolment;
mod evictions;
mod freezing;
mod inputs;
mod links;
mod observe;
mod parts;
mod perform;
mod persist;
mod progress;
mod purging;
mod resources;
mod revocation;
mod rollback;
mod roots;
mod sessions;
mod shared_state;
mod signing;
#[cfg(test)]
mod testing;
mod troubles;
mod waiting;

use std::time::Duration;

use pinion_proto::clock::{Clock, Timestamp};
use tokio::{sync::mpsc, time::Instant};
use tracing::{info_span, warn};

pub use inputs::Inputs;
pub use resources::Resources;

use crate::{
    admin::{caller::Caller, protocol::Answer, question::FromPlan},
    enroll,
    manifest::Manifest,
    planner::{Plan, Turn},
    world::{Change, World},
};
use effects::Effects;
use inputs::{changed, next};
use parts::Parts;

/// A queue to a slow agent that was full is tried again after this long.
const RESEND_DELAY: Duration = Duration::from_millis(200);

/// A pass is followed by so many times its own length of listening: in a storm of reports of a large fleet, one plan
/// answers many of them, and planning takes a quarter of a core at most.
const LISTENING: u32 = 3;

/// What an issuer has been asked for is waited for so long at the end, to be delivered after the next start: step-ca
/// answers within a second unless it is in trouble.
const LAST_ANSWERS: Duration = Duration::from_secs(3);

/// The loop's state: all of it can be lost, and comes back with the agents' reports.
struct Reconciler {
    resources: Resources,
    world: World,
    parts: Parts,
    outlets: perform::Outlets,
    /// What is to be answered from the next plan.
    asked: Option<(FromPlan, Caller, mpsc::Sender<Answer>)>,
    waiting: waiting::Waiting,
}

/// When the loop plans again although nothing has happened.
struct Wake {
    at: Option<Timestamp>,
    /// Some agent's queue was full.
    resend: bool,
}

/// Runs until it is stopped, then writes what is known.
pub async fn run(resources: Resources, enrolling: Option<enroll::Tools>, mut inputs: Inputs) {
    let (mut reconciler, mut outcomes) = Reconciler::restore(resources, enrolling, &mut inputs);
    let mut shared_state = shared_state::SharedStateWatch::start(reconciler.resources.store.clone());
    let clock = reconciler.resources.clock.clone();
    loop {
        let began = Instant::now();
        let wake = info_span!("reconcile").in_scope(|| reconciler.pass());
        let listening = began.elapsed() * LISTENING;
        let listen_until = Instant::now() + listening;
        let resend_at = wake.resend.then(|| Instant::now() + RESEND_DELAY);
        tokio::select! {
            _ = &mut inputs.stop => break,
            Some(input) = inputs.links.recv() => reconciler.link(input),
            Some(question) = inputs.questions.recv() => {
                // Whoever asks has looked at the file first, and means the manifest that was found there.
                reconciler.look_at_manifest(&mut inputs.manifest);
                reconciler.look_at_inventory(&mut inputs.inventory);
                reconciler.question(question);
            }
            Some(outcome) = outcomes.signed.recv() => reconciler.signed(outcome),
            Some(outcome) = outcomes.revoked.recv() => reconciler.revoked(outcome),
            Some(answer) = outcomes.roots.recv() => reconciler.roots(answer),
            Some(happened) = next(&mut outcomes.enrolling) => reconciler.enrolling(happened),
            Ok(()) = changed(&mut inputs.manifest) => reconciler.look_at_manifest(&mut inputs.manifest),
            Ok(()) = changed(&mut inputs.reachable) => reconciler.look_at_addresses(&mut inputs.reachable),
            Ok(()) = changed(&mut inputs.inventory) => reconciler.look_at_inventory(&mut inputs.inventory),
            () = shared_state.changed() => {}
            () = until(&*clock, wake.at) => {}
            () = at(resend_at) => {}
            () = at(reconciler.waiting.wake_at()) => {}
            () = at(reconciler.outlets.persist.write_at()) => reconciler.write(),
        }
        // The timer counts in milliseconds: what is shorter is over already.
        if listening >= Duration::from_millis(1) {
            tokio::time::sleep_until(listen_until).await;
        }
        reconciler.take_what_is_there(&mut inputs, &mut outcomes);
    }
    if tokio::time::timeout(LAST_ANSWERS, reconciler.drain(&mut outcomes)).await.is_err() {
        warn!("Stopped while an issuer was still to answer; what it signs is signed once more");
    }
    reconciler.write();
    reconciler.outlets.persist.finish().await;
}

async fn until(clock: &dyn Clock, moment: Option<Timestamp>) {
    match moment {
        Some(moment) => clock.sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

impl Reconciler {
    /// Plans and acts.
    fn pass(&mut self) -> Wake {
        let now = self.resources.clock.now();
        let manifest = self.world.manifest().clone();
        // What has changed by itself.
        let before = self.act(now, |this, effects| {
            let (world, resources, parts) = (&this.world, &this.resources, &mut this.parts);
            if parts.clock_watch.step(world, effects) {
                parts.deliveries.forget_early(effects);
            }
            shared_state::step(world, &resources.store, &resources.identities, effects);
            parts.evictions.step(world, &mut parts.revocations, resources, effects);
            let thaws_at = freezing::step(world, &resources.store, effects);
            let departs_at = parts.departures.step(world, |guest| resources.refuse(guest), effects);
            [thaws_at, departs_at]
        });
        self.parts.roots.step(&manifest, &self.resources.issuers);
        // What is to be done now; who asks is shown that, and the issuers are asked for what it orders.
        let mut plan = self.plan(&manifest, now);
        self.answer_from(&plan, now);
        let is_outdated = self.act(now, |this, effects| {
            let Parts { signing, deliveries, .. } = &mut this.parts;
            signing.step(&this.world, &plan, deliveries, &this.resources.store, effects)
        });
        if is_outdated {
            plan = self.plan(&manifest, now);
        }
        // Guests are sent what they should hold, and then what was signed for it.
        self.outlets.sessions.send_desired(&plan, self.world.inventory());
        self.outlets.sessions.send_addresses(&self.resources.node, &self.world.reachable().addresses);
        self.outlets.sessions.send_root(self.resources.identities.next_root());
        let after = self.act(now, |this, effects| {
            let (world, parts) = (&this.world, &mut this.parts);
            parts.deliveries.step(world, &plan, effects);
            parts.purging.step(world, &plan, effects);
            let enrols_at = parts.enrolment.step(world, &plan, &parts.evictions, effects);
            [enrols_at, parts.revocations.step(world, effects)]
        });
        self.waiting.step(&answers::View { world: &self.world, parts: &self.parts }, &plan);
        let at = before.into_iter().chain(after).chain([plan.wake_at]).flatten().min();
        Wake { at, resend: self.outlets.sessions.take_queue_full() }
    }

    /// What is to be done now, with the turns that begin and end by it.
    fn plan<'m>(&mut self, manifest: &'m Manifest, now: Timestamp) -> Plan<'m> {
        let mut plan = self.world.plan(manifest, now);
        if self.note_turns(&plan, now) {
            // Whoever waited for them goes on.
            plan = self.world.plan(manifest, now);
            self.note_turns(&plan, now);
        }
        plan
    }

    /// Notes the turns that begin and end with this plan; true when one has ended.
    fn note_turns(&mut self, plan: &Plan<'_>, now: Timestamp) -> bool {
        let turns = plan.placements.iter().filter(|planned| planned.turn != Turn::None);
        let turns: Vec<_> = turns.filter_map(|planned| Some((planned.id()?, planned.turn))).collect();
        for (id, turn) in &turns {
            self.world.apply(Change::Turn(id.clone(), *turn), now);
        }
        turns.iter().any(|(_, turn)| *turn == Turn::Ends)
    }

    /// Lets parts say what is to be done, and does it.
    fn act<T>(&mut self, now: Timestamp, parts: impl FnOnce(&mut Self, &mut Effects) -> T) -> T {
        let mut effects = Effects::at(now);
        let result = parts(self, &mut effects);
        self.outlets.perform(effects, &mut self.world, &mut self.parts, &self.resources);
        result
    }
}
