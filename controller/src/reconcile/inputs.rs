//! What wakes the loop, and which part each input goes to.
//!
//! Answers: where does a hello, a question, an answer of an issuer, another manifest go?
//! Invariant: an input only changes what is known, or what a part waits for; what is done about it follows from the
//! next plan.

use std::sync::Arc;

use pinion_proto::clock::Timestamp;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};

use super::{
    alarm_watch::AlarmWatch,
    calls::Calls,
    clock_watch::ClockWatch,
    delivery::{Deliveries, Documents},
    departures::Departures,
    enrolment::Enrolment,
    evictions::{Eviction, Evictions},
    examining::Examining,
    freezing,
    guest_names::GuestNames,
    links, observe,
    parts::Parts,
    perform::Outlets,
    purging::Purging,
    reconciler::Reconciler,
    resources::Resources,
    rest::Rest,
    revocation::{RevocationOutcome, Revocations, SignedLeaf},
    rollback,
    roots::{self, RootQueries, RootsAnswer},
    signing::{Signing, SigningOutcome},
    timing::Timings,
    waiting::Waiting,
};
use crate::{
    admin::{
        caller::Caller,
        protocol::{Answer, Frozen},
        question::{AtOnce, Question, Request, Waits},
    },
    config::advertise::Reachable,
    enroll::{self, Happened},
    inventory::Inventory,
    link::LinkInput,
    manifest::file::InForce,
    world,
};

/// At most so many inputs are taken before the next plan: a flood must not put off acting for ever.
const MAX_INPUTS: usize = 4096;

/// What wakes the loop from outside.
#[derive(Debug)]
pub struct Inputs {
    /// The links.
    pub links: mpsc::Receiver<LinkInput>,
    /// The command line.
    pub questions: mpsc::Receiver<Request>,
    /// The manifest in force, and what is wrong with the one on disk.
    pub manifest: watch::Receiver<InForce>,
    /// Which guests there are.
    pub inventory: watch::Receiver<Arc<Inventory>>,
    /// By which addresses guests reach this controller.
    pub reachable: watch::Receiver<Reachable>,
    /// Comes, or is dropped, when the controller stops.
    pub stop: oneshot::Receiver<()>,
}

/// What comes back from the loop's own tasks.
pub(super) struct Outcomes {
    /// Their number is bounded by that of the placements.
    pub(super) signed: mpsc::UnboundedReceiver<SigningOutcome>,
    pub(super) revoked: mpsc::UnboundedReceiver<RevocationOutcome>,
    pub(super) roots: mpsc::UnboundedReceiver<RootsAnswer>,
    /// None where there is no hypervisor.
    pub(super) enrolling: Option<mpsc::UnboundedReceiver<Happened>>,
}

impl Reconciler {
    /// Takes what was known when the controller stopped, and what is known now.
    pub(super) fn restore(
        resources: Resources,
        enrolling: Option<enroll::Tools>,
        inputs: &mut Inputs,
    ) -> (Self, Outcomes) {
        let (signed_sender, signed) = mpsc::unbounded_channel();
        let (revoked_sender, revoked) = mpsc::unbounded_channel();
        let (roots, roots_answers) = RootQueries::new();
        let (enrolment, enrolling) = Enrolment::new(enrolling);
        let outcomes = Outcomes { signed, revoked, roots: roots_answers, enrolling };
        let (store, events, now) = (&resources.store, &resources.events, resources.clock.now());
        let in_force = inputs.manifest.borrow_and_update().clone();
        observe::manifest_at_start(&in_force, events, now);
        let mut world = world::restore(store, events, in_force, resources.backoff, now);
        world.set_reachable(inputs.reachable.borrow_and_update().clone());
        let undelivered = Documents::new(store.clone()).restore(events, now);
        let parts = Parts {
            clock_watch: ClockWatch::start(now),
            departures: Departures::restore(store, events, now),
            evictions: Evictions::restore(store, events, now),
            enrolment,
            examining: Examining::default(),
            guest_names: GuestNames::default(),
            signing: Signing::default(),
            timings: Timings::default(),
            deliveries: Deliveries::restore(undelivered),
            revocations: Revocations::restore(store, &resources.issuers, events, now),
            roots,
            purging: Purging::restore(&world),
        };
        let outlets = Outlets::new(Calls { signed: signed_sender, revoked: revoked_sender });
        let alarm_watch = AlarmWatch::start(now);
        let mut this = Self {
            resources,
            world,
            parts,
            outlets,
            asked: None,
            waiting: Waiting::default(),
            alarm_watch,
            watch_rest: Rest::default(),
        };
        this.act(now, |this, effects| {
            for (id, undelivered) in this.parts.deliveries.iter() {
                // A kill may have come before it was noted.
                let (delivery, leaf) = (&undelivered.delivery, undelivered.delivery.chain.leaf());
                let signed = SignedLeaf { id, generation: delivery.generation, issuer: &delivery.issuer, leaf };
                this.parts.revocations.note_signed(&signed, &this.resources.issuers, effects);
            }
        });
        let inventory = inputs.inventory.borrow_and_update().clone();
        this.new_inventory(inventory);
        (this, outcomes)
    }

    fn now(&self) -> Timestamp {
        self.resources.clock.now()
    }

    /// Takes what a link says, or what became of it.
    pub(super) fn link(&mut self, input: LinkInput) {
        let now = self.now();
        self.act(now, |this, effects| {
            let Self { world, parts, outlets, resources, .. } = this;
            links::Intake { world, sessions: &mut outlets.sessions, parts, resources, effects }.take(input);
        });
    }

    /// Takes an issuer's answer about a signature.
    pub(super) fn signed(&mut self, outcome: SigningOutcome) {
        let now = self.now();
        self.alarm_watch.note_answer(&outcome.issuer, &outcome.result, now);
        self.act(now, |this, effects| {
            let Parts { signing, deliveries, revocations, timings, .. } = &mut this.parts;
            let (id, generation, issuer, asked) =
                (outcome.id.clone(), outcome.generation, outcome.issuer.clone(), outcome.asked);
            let took = outcome.took;
            let Some(undelivered) = signing.take(outcome, &this.world, effects) else { return };
            timings.signed(&id, generation, took, Instant::now());
            let leaf = undelivered.delivery.chain.leaf();
            let signed = SignedLeaf { id: &id, generation, issuer: &issuer, leaf };
            revocations.note_signed(&signed, &this.resources.issuers, effects);
            roots::signed_under(&this.world, &issuer, undelivered.delivery.root.fingerprint(), effects);
            deliveries.add(id, undelivered, asked, &this.world, effects);
        });
    }

    /// Takes an issuer's answer about a revocation.
    pub(super) fn revoked(&mut self, outcome: RevocationOutcome) {
        let (now, backoff) = (self.now(), self.resources.backoff);
        self.act(now, |this, effects| this.parts.revocations.take_outcome(outcome, backoff, effects));
    }

    /// Takes an issuer's answer about its roots.
    pub(super) fn roots(&mut self, answer: RootsAnswer) {
        let now = self.now();
        self.alarm_watch.note_answer(&answer.0, &answer.1, now);
        self.act(now, |this, effects| roots::take(&this.world, &this.resources.issuers, answer, effects));
    }

    /// Takes what a task of enrolling says.
    pub(super) fn enrolling(&mut self, happened: Happened) {
        let now = self.now();
        self.act(now, |this, effects| this.parts.enrolment.take(happened, &this.world, effects));
    }

    /// Whatever else is there by now belongs to the same plan.
    pub(super) fn take_what_is_there(&mut self, inputs: &mut Inputs, outcomes: &mut Outcomes, until: Instant) {
        for _ in 0..MAX_INPUTS {
            // A guest that sends large reports without end must not keep the loop from everybody else.
            if Instant::now() > until {
                break;
            }
            if let Ok(input) = inputs.links.try_recv() {
                self.link(input);
            } else if let Ok(outcome) = outcomes.signed.try_recv() {
                self.signed(outcome);
            } else {
                break;
            }
        }
    }

    /// Takes the last answers of the issuers.
    pub(super) async fn drain(&mut self, outcomes: &mut Outcomes) {
        while self.parts.signing.is_busy()
            && let Some(outcome) = outcomes.signed.recv().await
        {
            self.signed(outcome);
        }
    }

    /// Begins to write what has changed, of at most so many guests.
    pub(super) fn write(&mut self, records: usize) {
        let now = self.now();
        self.outlets.persist.start(records, &self.world, &mut self.parts.revocations, &self.resources.store, now);
    }

    /// Takes the manifest in force, if it is another one than before.
    pub(super) fn look_at_manifest(&mut self, manifest: &mut watch::Receiver<InForce>) {
        // The sender is gone only at shutdown.
        if !manifest.has_changed().unwrap_or(false) {
            return;
        }
        let next = manifest.borrow_and_update().clone();
        let now = self.now();
        self.act(now, |this, effects| observe::manifest(this.world.in_force(), &next, effects));
        if !Arc::ptr_eq(self.world.manifest(), &next.manifest) {
            self.outlets.sessions.send_desired_anew();
        }
        self.world.set_manifest(next);
    }

    /// Takes what is known now of the addresses by which guests reach this controller.
    pub(super) fn look_at_addresses(&mut self, reachable: &mut watch::Receiver<Reachable>) {
        self.world.set_reachable(reachable.borrow_and_update().clone());
        self.outlets.sessions.addresses_changed();
    }

    /// Takes the inventory as it is now, if it is another one than before.
    pub(super) fn look_at_inventory(&mut self, inventory: &mut watch::Receiver<Arc<Inventory>>) {
        // The sender is gone where nothing but the configuration tells of guests.
        if inventory.has_changed().unwrap_or(false) {
            let next = inventory.borrow_and_update().clone();
            self.new_inventory(next);
        }
    }

    fn new_inventory(&mut self, next: Arc<Inventory>) {
        let now = self.now();
        self.act(now, |this, effects| {
            observe::inventory(this.world.inventory(), &next, effects);
            let linked: Vec<_> = this.outlets.sessions.guests().collect();
            let identities = &this.resources.identities;
            let whose = |guest, facts: &_| identities.whose(guest, facts);
            rollback::step(&this.world, &next, &linked, whose, effects);
            this.parts.departures.observe(&next, effects);
        });
        self.world.set_inventory(next);
    }

    /// Takes a question: answers it, or leaves it to the next plan, or lets it wait.
    pub(super) fn question(&mut self, request: Request) {
        let now = self.now();
        let Request { question, caller, answers } = request;
        match question {
            Question::AtOnce(ask) => {
                let answer = self.answer_at_once(ask, &caller, now);
                // The asker may be gone.
                answers.try_send(answer).ok();
            }
            Question::FromPlan(ask) => self.asked = Some((ask, caller, answers)),
            Question::Waits(Waits::Ensure(ensure)) => self.act(now, |this, effects| {
                this.waiting.ask(ensure, &caller, answers, &mut this.world, effects);
            }),
            Question::Waits(Waits::Examine { guests, subject }) => self.act(now, |this, effects| {
                this.parts.examining.ask(guests, subject, answers, &this.world, effects);
            }),
            Question::Waits(Waits::Enroll(guest)) => self.act(now, |this, effects| {
                if this.parts.enrolment.ask(guest, &caller, answers, &this.world, effects) {
                    this.parts.evictions.let_in(guest, &this.resources.store, effects);
                }
            }),
        }
    }

    fn answer_at_once(&mut self, ask: AtOnce, caller: &Caller, now: Timestamp) -> Answer {
        match ask {
            AtOnce::Freeze(ask) => {
                let asked = self
                    .act(now, |this, effects| freezing::ask(&ask, caller, &this.world, &this.resources.store, effects));
                match asked {
                    Ok(unwritten) => {
                        let mut notes = freezing::notes(&self.world, now);
                        notes.extend(unwritten);
                        let freezes = self.world.reports().freezes().iter().cloned().collect();
                        Answer::Frozen(Frozen { freezes, notes })
                    }
                    Err(answer) => answer,
                }
            }
            AtOnce::Evict { guest, compromised } => self.act(now, |this, effects| {
                this.parts.departures.acknowledge(guest, effects);
                let eviction = Eviction { guest, since: now, by: caller.clone(), compromised };
                let Parts { evictions, revocations, .. } = &mut this.parts;
                Answer::Evicted(evictions.evict(eviction, &this.world, revocations, &this.resources, effects))
            }),
            AtOnce::Forget(guest) => self.act(now, |this, effects| {
                this.parts.departures.acknowledge(guest, effects);
                effects.forget(guest);
                Answer::End
            }),
            AtOnce::NoteEnd(guest) => {
                self.act(now, |this, effects| this.parts.departures.note_end(guest, caller, effects))
            }
            AtOnce::AcceptName(name) => self.act(now, |this, effects| {
                this.parts.guest_names.accept(&name, &this.world, &this.resources.store, caller, effects)
            }),
            AtOnce::Wake(guest) => self.act(now, |this, effects| this.parts.enrolment.wake(guest, caller, effects)),
            AtOnce::LetIn(guest) => self.act(now, |this, effects| {
                this.parts.evictions.let_in(guest, &this.resources.store, effects);
                Answer::End
            }),
        }
    }
}

/// The next of a queue that there may not be.
pub(super) async fn next<T>(queue: &mut Option<mpsc::UnboundedReceiver<T>>) -> Option<T> {
    match queue {
        Some(queue) => queue.recv().await,
        None => std::future::pending().await,
    }
}

/// Returns when there is another value, and leaves it to be taken.
pub(super) async fn changed<T>(watched: &mut watch::Receiver<T>) -> Result<(), watch::error::RecvError> {
    watched.changed().await?;
    watched.mark_changed();
    Ok(())
}
