//! The only loop: observe, plan, act, record.
//!
//! Invariant: level-triggered. Everything that happens only wakes the loop; what is done follows from the
//! plan alone, so that losing any message or process costs time and nothing else.

mod addresses;
mod destroyed;
mod enrolling;
mod eviction;
mod freezing;
mod guests;
mod keep;
mod links;
mod manifest;
mod newer;
mod purging;
mod requests;
mod revoking;
mod rolled_back;
mod session;
mod set_back;
mod shared;
mod show;
mod signing;
mod telling;
mod trusting;
mod undelivered;
mod view;
mod voices;
mod waiter;
mod writable;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use pinion_proto::{
    clock::{Clock, Timestamp},
    id::{Guest, PlacementId},
    report::GuestFacts,
    spec::PlainName,
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::Instant,
};
use tracing::{info_span, warn};

use crate::{
    admin::Request,
    config::advertise::Reachable,
    enroll::{self, Enrolments},
    events::{Event, Events, What},
    identity::Identities,
    inventory::Inventory,
    issuer::Issuers,
    link::LinkInput,
    manifest::file::InForce,
    planner::{self, Plan, Step, Turn, backoff::Backoff},
    reports::Reports,
    store::Store,
};
use destroyed::Departures;
use eviction::Evictions;
use revoking::Revoking;
use session::Sessions;
use set_back::Hands;
use signing::{Outcome, Signing};
use trusting::Trusting;
use voices::Voices;
use waiter::Waiter;

/// What a guest says is written down this long after it was said, so that a busy minute is one write a guest.
const WRITE_DELAY: Duration = Duration::from_secs(3);

/// A queue to a slow agent that was full is tried again after this long.
const RESEND_DELAY: Duration = Duration::from_millis(200);

/// A pass is followed by so many times its own length of listening: in a storm of reports of a large fleet, one plan
/// answers many of them, and planning takes a quarter of a core at most.
const LISTENING: u32 = 3;

/// What an issuer has been asked for is waited for so long at the end, to be delivered after the next start: step-ca
/// answers within a second unless it is in trouble.
const LAST_ANSWERS: Duration = Duration::from_secs(3);

/// At most so many inputs are taken before the next plan: a flood must not put off acting for ever.
const MOST_INPUTS: usize = 4096;

/// What the loop works with.
#[derive(Debug)]
pub struct Parts {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where what happens is told.
    pub events: Arc<Events>,
    /// Where what is known is kept.
    pub store: Arc<Store>,
    /// Which guests have an identity.
    pub identities: Arc<Identities>,
    /// Who signs.
    pub issuers: Arc<Issuers>,
    /// How long to wait after failures.
    pub backoff: Backoff,
    /// How guests are enrolled, on a hypervisor.
    pub enrolling: Option<enroll::Tools>,
    /// What this node is called.
    pub node: PlainName,
}

/// What wakes the loop.
#[derive(Debug)]
pub struct Inputs {
    /// The links.
    pub links: mpsc::Receiver<LinkInput>,
    /// The command line.
    pub requests: mpsc::Receiver<Request>,
    /// The manifest in force, and what is wrong with the one on disk.
    pub manifest: watch::Receiver<InForce>,
    /// Which guests there are.
    pub inventory: watch::Receiver<Arc<Inventory>>,
    /// By which addresses guests reach this controller.
    pub reachable: watch::Receiver<Reachable>,
    /// Comes, or is dropped, when the controller stops.
    pub stop: oneshot::Receiver<()>,
}

/// The loop's state: all of it can be lost, and comes back with the agents' reports.
struct Reconciler {
    parts: Parts,
    manifest: InForce,
    inventory: Arc<Inventory>,
    departures: Departures,
    evictions: Evictions,
    reports: Reports,
    facts: HashMap<Guest, GuestFacts>,
    hands: Hands,
    sessions: Sessions,
    reachable: Reachable,
    signing: Signing,
    revoking: Revoking,
    trusting: Trusting,
    /// What is to be answered from the next plan.
    asked: Option<Request>,
    waiters: Vec<Waiter>,
    purging: BTreeSet<PlacementId>,
    retired: BTreeSet<PlacementId>,
    shortened: BTreeMap<PlainName, Duration>,
    voices: Voices,
    /// None where there is no hypervisor.
    enrolments: Option<Enrolments>,
    /// Guests that hold identities which are newer than what is on record.
    newer: BTreeSet<Guest>,
    /// Why shared state cannot be written, if so.
    unwritable: Option<String>,
    unwritten: BTreeSet<Guest>,
    write_at: Option<Instant>,
    /// The write that is under way, or was the last.
    writing: Option<JoinHandle<()>>,
}

/// Runs until it is stopped, then writes down what is known.
pub async fn run(parts: Parts, mut inputs: Inputs) {
    let (signing, mut outcomes) = Signing::new(parts.store.clone());
    let (revoking, mut revocations) = Revoking::new();
    let (trusting, mut roots) = Trusting::new();
    let (enrolments, mut enrolling) = parts.enrolling.clone().map(Enrolments::new).unzip();
    let manifest = inputs.manifest.borrow_and_update().clone();
    let inventory = inputs.inventory.borrow_and_update().clone();
    let reports = keep::restore(&parts.store, &parts.events, parts.clock.now());
    let purging = reports.purges_asked().collect();
    let clock = parts.clock.clone();
    let mut reconciler = Reconciler {
        parts,
        manifest,
        inventory: Arc::default(),
        departures: Departures::default(),
        evictions: Evictions::default(),
        reports,
        facts: HashMap::new(),
        hands: Hands::at(clock.now()),
        sessions: Sessions::default(),
        reachable: inputs.reachable.borrow_and_update().clone(),
        signing,
        revoking,
        trusting,
        asked: None,
        waiters: Vec::new(),
        purging,
        retired: BTreeSet::new(),
        shortened: BTreeMap::new(),
        voices: Voices::default(),
        enrolments,
        newer: BTreeSet::new(),
        unwritable: None,
        unwritten: BTreeSet::new(),
        write_at: None,
        writing: None,
    };
    reconciler.tell_manifest();
    shared::restore(&mut reconciler);
    reconciler.restore_revoking();
    reconciler.restore_undelivered();
    reconciler.restore_departures();
    reconciler.restore_freezes();
    reconciler.restore_evictions();
    reconciler.new_inventory(inventory);
    let mut shared_state = writable::Watch::start(reconciler.parts.store.clone());
    loop {
        let began = Instant::now();
        let (wake_at, resend) = info_span!("reconcile").in_scope(|| reconciler.pass());
        let listening = began.elapsed() * LISTENING;
        let listen_until = Instant::now() + listening;
        let resend_at = resend.then(|| Instant::now() + RESEND_DELAY);
        tokio::select! {
            _ = &mut inputs.stop => break,
            Some(input) = inputs.links.recv() => reconciler.link(input),
            Some(request) = inputs.requests.recv() => {
                // Whoever asks has looked at the file first, and means the manifest that was found there.
                reconciler.look_at_manifest(&mut inputs.manifest);
                reconciler.look_at_inventory(&mut inputs.inventory);
                reconciler.request(request);
            }
            Some(outcome) = outcomes.recv() => reconciler.signed(outcome),
            Some(outcome) = revocations.recv() => reconciler.revoked(outcome),
            Some(told) = roots.recv() => reconciler.told_roots(told),
            Some(happened) = next(&mut enrolling) => reconciler.enrolling(happened),
            Ok(()) = changed(&mut inputs.manifest) => reconciler.look_at_manifest(&mut inputs.manifest),
            Ok(()) = changed(&mut inputs.reachable) => reconciler.look_at_addresses(&mut inputs.reachable),
            Ok(()) = changed(&mut inputs.inventory) => reconciler.look_at_inventory(&mut inputs.inventory),
            () = shared_state.changed() => {}
            () = until(&*clock, wake_at) => {}
            () = at(resend_at) => {}
            () = at(reconciler.waiters_wake_at()) => {}
            () = at(reconciler.write_at) => reconciler.write(false).await,
        }
        // The timer counts in milliseconds: what is shorter is over already.
        if listening >= Duration::from_millis(1) {
            tokio::time::sleep_until(listen_until).await;
        }
        // Whatever else is there by now belongs to the same plan.
        for _ in 0..MOST_INPUTS {
            if let Ok(input) = inputs.links.try_recv() {
                reconciler.link(input);
            } else if let Ok(outcome) = outcomes.try_recv() {
                reconciler.signed(outcome);
            } else {
                break;
            }
        }
    }
    let drained = async {
        while reconciler.signing.is_busy()
            && let Some(outcome) = outcomes.recv().await
        {
            reconciler.signed(outcome);
        }
    };
    if tokio::time::timeout(LAST_ANSWERS, drained).await.is_err() {
        warn!("Stopped while an issuer was still to answer; what it signs is signed once more");
    }
    reconciler.write(true).await;
}

async fn next<T>(queue: &mut Option<mpsc::UnboundedReceiver<T>>) -> Option<T> {
    match queue {
        Some(queue) => queue.recv().await,
        None => std::future::pending().await,
    }
}

/// Returns when there is another value, and leaves it to be taken.
async fn changed<T>(watched: &mut watch::Receiver<T>) -> Result<(), watch::error::RecvError> {
    watched.changed().await?;
    watched.mark_changed();
    Ok(())
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
    /// Plans and acts. Returns when the plan changes by itself, and whether some agent's queue was full.
    fn pass(&mut self) -> (Option<Timestamp>, bool) {
        let now = self.parts.clock.now();
        self.look_at_clock(now);
        self.look_at_shared();
        self.end_freezes(now);
        self.reread_evictions(now);
        self.rekey(now);
        self.see_off(now);
        let manifest = self.manifest.manifest.clone();
        self.trusting.ask(&manifest, &self.parts.issuers);
        let mut plan = planner::plan(&manifest, &self.inventory, &self.reports, now);
        if self.note_turns(&plan, now) {
            // Whoever waited for them goes on.
            plan = planner::plan(&manifest, &self.inventory, &self.reports, now);
            self.note_turns(&plan, now);
        }
        self.answer_from(&plan, now);
        let mut outdated = false;
        for (planned, order) in plan.orders() {
            if order.step == Step::Sign
                && let Some(id) = planned.id()
            {
                outdated |= !self.sign(&id, planned, order, now);
            }
        }
        if outdated {
            plan = planner::plan(&manifest, &self.inventory, &self.reports, now);
            self.note_turns(&plan, now);
        }
        let enrol_at = self.enrol(&plan, now);
        self.note_retired(&plan, now);
        let mut resend = self.sessions.tell(&plan, &self.inventory);
        resend |= self.tell_addresses();
        resend |= self.sessions.tell_root(self.parts.identities.next_root());
        resend |= self.deliver(&plan, now);
        resend |= self.purge(&plan);
        self.answer_waiters(&plan);
        let revoke_at = self.revoke(now);
        let leaving = self.departures.wake_at().filter(|at| *at > now);
        let thaw_at = self.reports.freezes().next_end();
        (plan.wake_at.into_iter().chain(leaving).chain(enrol_at).chain(revoke_at).chain(thaw_at).min(), resend)
    }

    /// Notes the turns that begin and end with this plan; true when one has ended.
    fn note_turns(&mut self, plan: &Plan<'_>, now: Timestamp) -> bool {
        let turns = plan.placements.iter().filter(|planned| planned.turn != Turn::None);
        let turns: Vec<_> = turns.filter_map(|planned| Some((planned.id()?, planned.turn))).collect();
        for (id, turn) in &turns {
            self.reports.note_turn(id, *turn, now);
        }
        turns.iter().any(|(_, turn)| *turn == Turn::Ends)
    }

    fn touch(&mut self, guest: Guest) {
        self.unwritten.insert(guest);
        self.write_at.get_or_insert_with(|| Instant::now() + WRITE_DELAY);
    }

    /// As [`Self::touch`], for what a person has asked for and nobody would say again: it is written at once.
    fn touch_now(&mut self, guest: Guest) {
        self.unwritten.insert(guest);
        self.write_at = Some(Instant::now());
    }

    fn event(&self, what: What, now: Timestamp) {
        self.record(what.at(now));
    }

    fn record(&self, event: Event) {
        self.parts.events.record(event);
    }

    fn signed(&mut self, outcome: Outcome) {
        let now = self.parts.clock.now();
        signing::take(self, outcome, now);
    }
}
