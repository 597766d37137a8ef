//! One placement's task: takes up what is asked, tries, waits.
//!
//! Invariants: it ends only when the agent stops or nothing of the placement is left; while it waits it can be woken
//! by new letters, and what changed is in the ledger on disk.

use std::{sync::Arc, time::Duration};

use pinion_proto::{
    bundle::Leaf,
    causes::chain,
    id::CertificateName,
    message::Delivery,
    report::PlacementReport,
    spec::PlacementSpec,
    stage::{Stage, Trouble},
};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep_until},
};

use super::{
    backoff::Backoff,
    hold::{self, Hold},
    kept,
    mailbox::{Desired, Mailbox},
    shared::Shared,
    switch::Desk,
};
use crate::{
    install::{InstallError, execute::Exchanged},
    ledger::{Ledger, LedgerError, Order, Phase},
    verify::{Expected, verify},
};

/// Why the task ended.
pub(super) enum End {
    /// The agent stops.
    Stopped,
    /// Nothing of the placement is left.
    Gone,
}

/// The agent stops: a reason to leave everything for the next start.
#[derive(Debug)]
pub(super) struct Stopped;

/// Why a try did not come to its end.
#[derive(Debug)]
pub(super) enum Interrupt {
    Stopped,
    Held(Box<Hold>),
}

impl From<Stopped> for Interrupt {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl From<Hold> for Interrupt {
    fn from(hold: Hold) -> Self {
        Self::Held(Box::new(hold))
    }
}

/// So often it is looked whether something is there that somebody else brings.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// A placement at work.
pub(super) struct Placement<'a> {
    pub(super) shared: &'a Arc<Shared>,
    pub(super) name: &'a CertificateName,
    pub(super) ledger: Ledger,
    /// The ledger in memory says more than the one on disk.
    pub(super) unsaved: bool,
    /// Leftovers of an earlier run have been looked for.
    pub(super) swept: bool,
    pub(super) backoff: Backoff,
    /// What is in place, while something newer is held up.
    pub(super) care: Care,
    /// How often the service was told and showed something else.
    pub(super) tells: u32,
    mailbox: &'a Mailbox,
    trouble: Option<Trouble>,
    /// How far it can come, as the job says.
    pub(super) goal: Stage,
    /// Telling its service may disturb it, as the job says.
    pub(super) disruptive: bool,
    /// What a person should change although nothing holds it up, as the job says.
    pub(super) warning: Option<String>,
    /// The spec that what is in place was last held against.
    pub(super) revision: u64,
    /// Of a delivery; stays until a better one comes.
    refusal: Option<Trouble>,
    /// The order whose certificate has come and is not written down yet: until then it is what is asked for.
    answered: Option<Order>,
    /// The exchange of files on its way to the disk, while the service is told of them.
    pub(super) syncing: Option<JoinHandle<Result<(), InstallError>>>,
    /// Its files and its ledger are to go.
    purging: bool,
    due: Instant,
    check_due: Instant,
}

/// How a service is looked after whose newer certificate is held up.
pub(super) struct Care {
    pub(super) backoff: Backoff,
    /// How often it was told of what is in place, in vain.
    pub(super) tells: u32,
    /// When it may be told again.
    pub(super) due: Instant,
}

impl Care {
    fn new(now: Instant) -> Self {
        Self { backoff: Backoff::default(), tells: 0, due: now }
    }

    /// It shows what it should.
    pub(super) fn settle(&mut self) {
        self.backoff.reset();
        self.due = Instant::now();
    }
}

/// What comes after a round.
enum Next {
    Wait(Option<Instant>),
    Gone,
}

/// Runs a placement to its end.
pub(super) async fn run(
    shared: &Arc<Shared>,
    name: &CertificateName,
    ledger: Result<Ledger, LedgerError>,
    mailbox: &Mailbox,
) -> End {
    let ledger = match ledger {
        Ok(ledger) => ledger,
        Err(error) => match readable(shared, name, error, mailbox).await {
            Ok(ledger) => ledger,
            Err(Stopped) => return End::Stopped,
        },
    };
    let (ledger, is_new_to_it) = kept::note(ledger, shared).await;
    let (now, purging) = (Instant::now(), ledger.purging);
    let mut placement = Placement {
        shared,
        name,
        ledger,
        unsaved: is_new_to_it,
        swept: false,
        backoff: Backoff::default(),
        care: Care::new(now),
        tells: 0,
        mailbox,
        trouble: None,
        goal: Stage::Served,
        disruptive: false,
        warning: None,
        revision: 0,
        refusal: None,
        answered: None,
        syncing: None,
        purging,
        due: now,
        check_due: now,
    };
    loop {
        let next = placement.round().await;
        placement.save_rest().await;
        match next {
            Ok(Next::Gone) => return End::Gone,
            Ok(Next::Wait(until)) => {
                let timer = async {
                    match until {
                        Some(until) => sleep_until(until).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = mailbox.rang() => {}
                    () = timer => {}
                    () = shared.stopped() => return End::Stopped,
                }
            }
            Err(Stopped) => return End::Stopped,
        }
    }
}

/// Waits until a broken ledger was repaired or removed. Nothing is written, and nothing in place is touched.
async fn readable(
    shared: &Arc<Shared>,
    name: &CertificateName,
    mut error: LedgerError,
    mailbox: &Mailbox,
) -> Result<Ledger, Stopped> {
    let mut backoff = Backoff::default();
    loop {
        let hold = Hold::ledger(&error);
        let delay = backoff.fail(name, &shared.context.config.retry, hold.halt, hold.cost);
        let retry_at = hold::at(shared.context.clock.now(), delay);
        tracing::error!(certificate = %name, error = chain(&error), "Cannot read what is remembered of a placement");
        shared.publish(PlacementReport {
            trouble: Some(hold.trouble(Some(retry_at))),
            ..PlacementReport::nothing(name.clone())
        });
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = mailbox.rang() => {}
            () = shared.stopped() => return Err(Stopped),
        }
        let (reading, reader) = (name.clone(), Arc::clone(shared));
        let read = tokio::task::spawn_blocking(move || reader.ledgers.read(&reading)).await;
        match read.map_err(|_| Stopped)? {
            Ok(ledger) => return Ok(ledger),
            Err(again) => error = again,
        }
    }
}

impl Placement<'_> {
    async fn round(&mut self) -> Result<Next, Stopped> {
        self.take_letters();
        let now = Instant::now();
        if self.purging || self.ledger.spec.as_ref().is_some_and(|spec| spec.purge) {
            if now >= self.due && self.purge().await? {
                return Ok(Next::Gone);
            }
            self.announce().await;
            return Ok(Next::Wait(Some(self.due)));
        }
        if self.ledger.retired || self.ledger.spec.is_none() {
            return self.rest().await;
        }
        if now >= self.due {
            match self.advance().await {
                Ok(()) => {
                    self.trouble = None;
                    self.backoff.reset();
                    self.due = Instant::now() + self.check_every();
                }
                Err(Interrupt::Stopped) => return Err(Stopped),
                Err(Interrupt::Held(hold)) => self.hold_up(&hold),
            }
            self.check_due = Instant::now() + self.check_every();
        } else if now >= self.check_due {
            // While a new certificate is held up, the old one is still looked after.
            match self.look_after().await {
                Ok(true) => {
                    self.trouble = None;
                    self.backoff.reset();
                    self.due = now + self.check_every();
                }
                Err(Interrupt::Stopped) => return Err(Stopped),
                // What holds it up is said already.
                Ok(false) | Err(Interrupt::Held(_)) => {}
            }
            self.check_due = Instant::now() + self.check_every();
        }
        self.announce().await;
        Ok(Next::Wait(Some(self.due.min(self.check_due))))
    }

    /// Publishes the state, and what has come as soon as it is written down: the controller then forgets its copy.
    /// What is installed at once was written down with its journal.
    pub(super) async fn announce(&mut self) {
        if self.answered.is_some() {
            self.save_rest().await;
        }
        self.publish();
    }

    fn hold_up(&mut self, hold: &Hold) {
        let now = self.shared.context.clock.now();
        let (delay, retry_at) = match hold.until {
            // Looked at often all the same: clocks are put right, and services are restarted by others.
            Some(until) => (until.since(now).min(self.check_every()), until),
            // Nobody tells when it is over; looking costs little, and is no failed try.
            None if hold.look_again => {
                let delay = LOOK_AGAIN.min(self.check_every());
                (delay, hold::at(now, delay))
            }
            None => {
                let delay = self.backoff.fail(self.name, &self.shared.context.config.retry, hold.halt, hold.cost);
                (delay, hold::at(now, delay))
            }
        };
        self.due = Instant::now() + delay;
        let trouble = hold.trouble(Some(retry_at));
        let said_before = self.trouble.as_ref().is_some_and(|old| old.cause == trouble.cause);
        if said_before {
            tracing::debug!(certificate = %self.name, %trouble, "Still held up");
        } else {
            tracing::warn!(certificate = %self.name, %trouble, "Held up");
        }
        self.trouble = Some(trouble);
    }

    /// A placement that is not asked for: what is there stays as it is.
    async fn rest(&mut self) -> Result<Next, Stopped> {
        if self.ledger.retired && self.ledger.is_bare() && self.purge().await? {
            return Ok(Next::Gone);
        }
        match self.settle_files().await {
            Ok(()) => self.trouble = None,
            Err(Interrupt::Stopped) => return Err(Stopped),
            Err(Interrupt::Held(hold)) => self.hold_up(&hold),
        }
        // Another certificate may take its paths over.
        self.shared.keep_claims(self.name, &[]);
        self.announce().await;
        Ok(Next::Wait(self.trouble.as_ref().map(|_| self.due)))
    }

    /// Takes up what was asked.
    fn take_letters(&mut self) {
        let letters = self.mailbox.empty();
        if letters.retry && self.trouble.is_some() {
            self.due = Instant::now();
        }
        match letters.desired {
            Some(Desired::Wanted(spec)) => {
                self.unsaved |= std::mem::take(&mut self.ledger.purging);
                self.purging = false;
                self.want(*spec);
            }
            Some(Desired::Absent) => self.retire(),
            None => {}
        }
        if letters.purge {
            if self.ledger.retired || self.ledger.spec.is_none() {
                self.purging = true;
                self.due = Instant::now();
            } else if !self.ledger.spec.as_ref().is_some_and(|spec| spec.purge) {
                tracing::warn!(certificate = %self.name, "Refused to purge a placement that is desired");
            }
        }
        if let Some(delivery) = letters.delivery {
            self.take(delivery);
        }
    }

    fn want(&mut self, mut spec: PlacementSpec) {
        // What the controller does meanwhile is its own to remember.
        spec.trouble = None;
        if spec.roots.is_empty()
            && let Some(before) = &self.ledger.spec
        {
            // It does not know them yet; what is trusted stays.
            spec.roots.clone_from(&before.roots);
        }
        if self.ledger.spec.as_ref() == Some(&spec) && !self.ledger.retired {
            return;
        }
        self.ledger.spec = Some(spec);
        self.ledger.retired = false;
        self.unsaved = true;
        self.start_afresh();
    }

    fn retire(&mut self) {
        if self.ledger.retired {
            return;
        }
        tracing::info!(certificate = %self.name, "Retired; its files stay until they are purged");
        self.ledger.retired = true;
        self.ledger.order = None;
        self.ledger.next = None;
        self.answered = None;
        self.refusal = None;
        self.unsaved = true;
    }

    fn take(&mut self, delivery: Delivery) {
        let generation = delivery.generation;
        let Some(order) = self.ledger.order.as_ref().filter(|order| order.generation == generation) else {
            tracing::info!(certificate = %self.name, generation, "Ignored a delivery for a generation that is not awaited");
            return;
        };
        let expected = Expected {
            generation,
            common_name: &order.common_name,
            names: &order.names,
            algorithm: order.algorithm,
            key: order.key.as_ref(),
        };
        match verify(delivery, expected, self.shared.context.clock.now()) {
            Ok(bundle) => {
                tracing::info!(certificate = %self.name, generation, serial = bundle.leaf().map(Leaf::serial), "Verified");
                self.ledger.next = Some(bundle);
                self.answered = self.ledger.order.take();
                self.refusal = None;
                self.unsaved = true;
                self.start_afresh();
            }
            Err(error) => {
                tracing::error!(certificate = %self.name, generation, error = chain(&error), "Refused a delivery");
                self.refusal = Some(Hold::refusal(&error).trouble(None));
            }
        }
    }

    async fn purge(&mut self) -> Result<bool, Stopped> {
        let store = self.store_of_roots();
        if let Err(error) = self.learn_mounts(None).await? {
            self.hold_up(&Hold::install(&error, self.backoff.failures()));
            return Ok(false);
        }
        let done = self.blocking(|desk, ledger| desk.purge(ledger)).await?;
        match done {
            Ok(left) => {
                self.unsaved = false;
                if let Some(job) = store {
                    self.make_store_anew(&job).await?;
                }
                self.shared.leave(self.name, left);
                tracing::info!(certificate = %self.name, "Purged");
                Ok(true)
            }
            Err(error) => {
                self.hold_up(&Hold::switch(&error, self.backoff.failures()));
                Ok(false)
            }
        }
    }

    fn start_afresh(&mut self) {
        self.backoff.reset();
        self.tells = 0;
        self.due = Instant::now();
        self.care = Care::new(self.due);
    }

    /// Notes that everything is written down.
    pub(super) fn saved(&mut self) {
        self.unsaved = false;
        self.answered = None;
    }

    /// Lets the exchange of files come to the disk by itself, until [`Self::synced`] waits for it.
    pub(super) fn let_sync(&mut self, exchanged: Exchanged) {
        let (shared, name, ledger) = (Arc::clone(self.shared), self.name.clone(), self.ledger.clone());
        self.syncing =
            Some(tokio::task::spawn_blocking(move || exchanged.sync(Desk::of(shared, name, &ledger).files())));
    }

    /// Waits until the exchange of files is on disk, and notes it; an exchange that cannot be brought there keeps its
    /// journal, and is finished again.
    pub(super) async fn synced(&mut self) -> Result<(), Interrupt> {
        let Some(syncing) = self.syncing.take() else { return Ok(()) };
        let synced = syncing.await.map_err(|_| Interrupt::Stopped)?;
        synced.map_err(|e| Hold::switch(&e.into(), self.backoff.failures()))?;
        if let Some(switch) = self.ledger.switch.as_mut().filter(|switch| switch.phase == Phase::Forward) {
            switch.phase = Phase::Done;
            self.unsaved = true;
        }
        Ok(())
    }

    /// Writes down what is only in memory; a failure shows at the next change, and costs a restart some work.
    async fn save_rest(&mut self) {
        if let Err(Interrupt::Held(hold)) = self.synced().await {
            tracing::error!(certificate = %self.name, trouble = %hold.trouble(None), "The new files are in place and not safe on disk");
        }
        if !self.unsaved {
            return;
        }
        match self.blocking(|desk, ledger| desk.save(ledger)).await {
            Ok(Ok(())) => self.saved(),
            Ok(Err(error)) => {
                tracing::error!(certificate = %self.name, error = chain(&error), "Cannot write down a placement's state");
            }
            Err(Stopped) => {}
        }
    }

    /// Publishes the state as it is.
    pub(super) fn publish(&self) {
        let mut report = self.ledger.report(self.name);
        if let Some(order) = &self.answered {
            report.incoming = Some(order.incoming());
        }
        (report.goal, report.revision, report.disruptive) = (self.goal, self.revision, self.disruptive);
        report.trouble = self.trouble.clone().or_else(|| self.refusal.clone());
        report.warning.clone_from(&self.warning);
        self.shared.publish(report);
    }

    /// Sets the stage of what is held, in memory.
    pub(super) fn set_stage(&mut self, stage: Stage) {
        if let Some(held) = &mut self.ledger.held
            && held.stage != stage
        {
            let generation = held.bundle.generation();
            tracing::info!(certificate = %self.name, generation, serial = held.bundle.leaf().map(Leaf::serial), %stage, "Stage");
            held.stage = stage;
            self.unsaved = true;
        }
    }

    /// A new order makes the refusal of the one before pointless.
    pub(super) fn forget_refusal(&mut self) {
        self.refusal = None;
    }

    /// Does something with the ledger on a thread where waiting for the disk holds nobody up. It is not cut short
    /// when the agent stops.
    pub(super) async fn blocking<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&Desk, &mut Ledger) -> T + Send + 'static,
    ) -> Result<T, Stopped> {
        let (shared, name) = (Arc::clone(self.shared), self.name.clone());
        let mut ledger = std::mem::take(&mut self.ledger);
        let done = tokio::task::spawn_blocking(move || {
            let desk = Desk::of(shared, name, &ledger);
            let out = work(&desk, &mut ledger);
            (ledger, out)
        });
        match done.await {
            Ok((ledger, out)) => {
                self.ledger = ledger;
                Ok(out)
            }
            Err(_) => {
                // The ledger is gone with the runtime; the empty one in its place must not be written down.
                self.unsaved = false;
                Err(Stopped)
            }
        }
    }

    /// Waits for something that may be cut short when the agent stops.
    pub(super) async fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Result<T, Stopped> {
        tokio::select! {
            out = work => Ok(out),
            () = self.shared.stopped() => Err(Stopped),
        }
    }

    fn check_every(&self) -> Duration {
        self.shared.context.config.check_every
    }
}
