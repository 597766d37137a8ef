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
//! | a write (`persist`), one at a time, of 300 guests at most | none | |
//! | a target of alarms (`notify`), one each | none: they read what the loop found last | |
//!
//! Invariant: level-triggered. Everything that happens only wakes the loop; what is done follows from the plan alone,
//! so that losing any message or process costs time and nothing else.
//! Invariant: a part reads the world and the plan, and says what is to be done as `Effects`; `perform` alone
//! does it.

mod alarm_watch;
mod answers;
mod calls;
mod chosen;
mod clock_watch;
mod delivery;
mod departures;
mod effects;
mod enrolment;
mod evictions;
mod examining;
mod expiry_watch;
mod freezing;
mod guest_names;
mod inputs;
mod links;
mod observe;
mod parts;
mod perform;
mod persist;
mod progress;
mod purging;
mod reconciler;
mod resources;
mod rest;
mod revocation;
mod rollback;
mod roots;
mod sessions;
mod shared_state;
mod signing;
mod timing;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod troubles;
mod waiting;

use std::time::Duration;

use pinion_proto::clock::{Clock, Timestamp};
use tokio::time::Instant;
use tracing::{info_span, warn};

pub use inputs::Inputs;
pub use resources::Resources;

use crate::enroll;
use inputs::{changed, next};
use reconciler::Reconciler;

/// A pass is followed by so many times its own length of listening: in a storm of reports of a large fleet, one plan
/// answers many of them, and planning takes a quarter of a core at most. Nobody who asks waits for that.
const LISTENING: u32 = 3;

/// The same after a pass that took this long, as with many tens of thousands of placements: then it takes a tenth.
const LISTENING_LONGER: u32 = 9;
const LONG_PASS: Duration = Duration::from_millis(50);

/// What comes while it listens is taken in after this long, so that no link has to wait for the end of it.
const SLICE: Duration = Duration::from_millis(20);

/// What has come is taken in for so long at most: then there is a plan again.
const TAKING: Duration = Duration::from_millis(250);

/// What an issuer has been asked for is waited for so long at the end, to be delivered after the next start: step-ca
/// answers within a second unless it is in trouble.
const LAST_ANSWERS: Duration = Duration::from_secs(3);

/// Runs until it is stopped, then writes what is known.
pub async fn run(resources: Resources, enrolling: Option<enroll::Tools>, mut inputs: Inputs) {
    let (mut reconciler, mut outcomes) = Reconciler::restore(resources, enrolling, &mut inputs);
    let mut shared_state = shared_state::SharedStateWatch::start(reconciler.resources.store.clone());
    let clock = reconciler.resources.clock.clone();
    loop {
        let began = Instant::now();
        let wake = info_span!("reconcile").in_scope(|| reconciler.pass());
        let took = began.elapsed();
        reconciler.resources.passes.observe(took.as_secs_f64());
        let listening = listening_after(took.saturating_sub(wake.aside));
        let listen_until = Instant::now() + listening;
        let mut asked = None;
        tokio::select! {
            _ = &mut inputs.stop => break,
            Some(input) = inputs.links.recv() => reconciler.link(input),
            Some(question) = inputs.questions.recv() => asked = Some(question),
            Some(outcome) = outcomes.signed.recv() => reconciler.signed(outcome),
            Some(outcome) = outcomes.revoked.recv() => reconciler.revoked(outcome),
            Some(answer) = outcomes.roots.recv() => reconciler.roots(answer),
            Some(happened) = next(&mut outcomes.enrolling) => reconciler.enrolling(happened),
            Ok(()) = changed(&mut inputs.manifest) => reconciler.look_at_manifest(&mut inputs.manifest),
            Ok(()) = changed(&mut inputs.reachable) => reconciler.look_at_addresses(&mut inputs.reachable),
            Ok(()) = changed(&mut inputs.inventory) => reconciler.look_at_inventory(&mut inputs.inventory),
            () = shared_state.changed() => {}
            () = until(&*clock, wake.at) => {}
            () = at(earliest([reconciler.waiting.wake_at(), reconciler.parts.examining.wake_at(), wake.put_off_until])) => {}
            () = at(reconciler.outlets.persist.write_at()) => reconciler.write(persist::RECORDS),
        }
        // The timer counts in milliseconds: what is shorter is over already.
        while asked.is_none() && listening >= Duration::from_millis(1) && Instant::now() < listen_until {
            tokio::select! {
                () = tokio::time::sleep_until(listen_until.min(Instant::now() + SLICE)) => {}
                Some(question) = inputs.questions.recv() => asked = Some(question),
            }
            reconciler.take_what_is_there(&mut inputs, &mut outcomes, Instant::now() + SLICE);
        }
        if let Some(question) = asked {
            // Whoever asks has looked at the file first, and means the manifest that was found there.
            reconciler.look_at_manifest(&mut inputs.manifest);
            reconciler.look_at_inventory(&mut inputs.inventory);
            reconciler.question(question);
        }
        reconciler.take_what_is_there(&mut inputs, &mut outcomes, Instant::now() + TAKING);
    }
    if tokio::time::timeout(LAST_ANSWERS, reconciler.drain(&mut outcomes)).await.is_err() {
        warn!("Stopped while an issuer was still to answer; what it signs is signed once more");
    }
    reconciler.write(usize::MAX);
    reconciler.outlets.persist.finish().await;
}

/// How long the loop listens after it has planned and acted for so long.
fn listening_after(took: Duration) -> Duration {
    took * if took < LONG_PASS { LISTENING } else { LISTENING_LONGER }
}

async fn until(clock: &dyn Clock, moment: Option<Timestamp>) {
    match moment {
        Some(moment) => clock.sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

fn earliest(moments: [Option<Instant>; 3]) -> Option<Instant> {
    moments.into_iter().flatten().min()
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
