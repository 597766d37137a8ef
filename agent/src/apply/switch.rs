//! A placement's file switch: the ledger in memory, the exchange of its files, and what of both is on disk.
//!
//! Answers: what is known of the placement, and what of that would a power cut take away?
//! Invariants: what changes on disk is changed by an [`Exchange`] on a thread of its own, which is never cut short; what is
//! only in memory is written down before the task waits.

use std::{sync::Arc, time::Duration};

use pinion_proto::{
    bundle::Leaf,
    causes::chain,
    clock::Timestamp,
    id::CertificateName,
    message::Purged,
    report::{Found, Original, PlacementReport},
    stage::Stage,
};
use tokio::{
    task::{JoinError, JoinHandle},
    time::Instant,
};

use super::{
    exchange::{Before, Exchange, same_paths},
    exchange_error::ExchangeError,
    failure::{Failure, Interrupt, Stopped},
    shared::Shared,
};
use crate::{
    bundle::Bundle,
    config::Config,
    install::{InstallError, execute::Exchanged, files::Files},
    ledger::{Installed, Ledger, LedgerError, PendingRequest, Phase},
    recipe::Job,
};

/// The ledger and the files of one placement.
pub(super) struct FileSwitch {
    pub(super) shared: Arc<Shared>,
    pub(super) name: CertificateName,
    pub(super) ledger: Ledger,
    /// The ledger in memory says more than the one on disk.
    unsaved: bool,
    /// The order whose certificate has come and is not written down yet: until then it is what is asked for.
    answered: Option<PendingRequest>,
    /// Leftovers of an earlier run have been looked for.
    swept: bool,
    /// Since when the files in place have been there, if they came in this run of the agent.
    in_place_since: Option<Instant>,
    /// What its new files would replace, as it was when they were asked for.
    replaced: Vec<Original>,
    /// The pair that is there while nothing is held, as it is reported.
    pub(super) found: Option<Found>,
    /// The exchange of files on its way to the disk, while the service is notified of them.
    syncing: Option<JoinHandle<Result<Result<(), InstallError>, JoinError>>>,
}

impl FileSwitch {
    pub(super) fn new(shared: Arc<Shared>, name: CertificateName, ledger: Ledger, unsaved: bool) -> Self {
        Self {
            shared,
            name,
            ledger,
            unsaved,
            answered: None,
            swept: false,
            in_place_since: None,
            replaced: Vec::new(),
            found: None,
            syncing: None,
        }
    }

    pub(super) fn config(&self) -> &Config {
        &self.shared.context.config
    }

    pub(super) fn now(&self) -> Timestamp {
        self.shared.context.clock.now()
    }

    /// The certificate in place; none where only roots are.
    pub(super) fn leaf(&self) -> Option<Leaf> {
        self.ledger.held.as_ref()?.bundle.leaf().cloned()
    }

    /// Whether something came that the service cannot show that it has.
    pub(super) fn is_unnotified(&self) -> bool {
        self.ledger.held.as_ref().is_some_and(|held| held.unnotified)
    }

    /// Whether what is in place has been there for longer than this, as far as this run of the agent knows.
    pub(super) fn is_in_place_for(&self, time: Duration) -> bool {
        self.in_place_since.is_some_and(|since| since.elapsed() > time)
    }

    /// What is in place, where it is where the job wants it.
    pub(super) fn in_place(&self, job: &Job) -> Option<&Installed> {
        self.ledger.held.as_ref().filter(|held| same_paths(job, held))
    }

    /// The state as the ledger has it, with what has come as asked for until it is on disk: the controller then forgets its
    /// copy.
    pub(super) fn report(&self) -> PlacementReport {
        let mut report = self.ledger.report(&self.name);
        if let Some(order) = &self.answered {
            report.incoming = Some(order.incoming());
        }
        let is_new = |found: &&Original| self.ledger.originals.iter().all(|known| known.path != found.path);
        report.originals.extend(self.replaced.iter().filter(is_new).cloned());
        report.found = self.found.clone().map(Box::new);
        report
    }

    /// Notes that the ledger in memory says more than the one on disk.
    pub(super) fn changed(&mut self) {
        self.unsaved = true;
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

    /// A certificate has come for what was ordered.
    pub(super) fn answer(&mut self, bundle: Bundle) {
        self.ledger.next = Some(bundle);
        self.answered = self.ledger.order.take();
        self.unsaved = true;
    }

    /// Nothing is asked for any more.
    pub(super) fn cancel_order(&mut self) {
        self.ledger.order = None;
        self.ledger.next = None;
        self.answered = None;
        self.unsaved = true;
    }

    /// Whether a certificate has come that is not written down yet.
    pub(super) fn is_answered(&self) -> bool {
        self.answered.is_some()
    }

    /// Does something with ledger and files on a thread where waiting for the disk holds nobody up. It is not cut short
    /// when the agent stops.
    pub(super) async fn exchange<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&Exchange, &mut Ledger) -> T + Send + 'static,
    ) -> Result<T, Stopped> {
        let shared = Arc::clone(&self.shared);
        let place = shared.exchanges.enter().await;
        let work = self.lend(work);
        let all = Arc::clone(&self.shared.context.files);
        let done = tokio::task::spawn_blocking(move || work(&all)).await;
        drop(place);
        self.take_back(done.map_err(|_| Stopped))
    }

    /// As [`Self::exchange`], for what changes no file and comes up for all placements at the same time.
    pub(super) async fn inspect<T: Send + 'static>(
        &mut self,
        look: impl FnOnce(&Exchange, &mut Ledger) -> T + Send + 'static,
    ) -> Result<T, Stopped> {
        let inspection = Arc::clone(&self.shared.inspection);
        let done = inspection.run(self.lend(look)).await;
        self.take_back(done)
    }

    /// Work that has the ledger until it is done.
    fn lend<T>(
        &mut self,
        work: impl FnOnce(&Exchange, &mut Ledger) -> T + Send + 'static,
    ) -> impl FnOnce(&Arc<dyn Files>) -> (Ledger, T) + Send + 'static {
        let (shared, name) = (Arc::clone(&self.shared), self.name.clone());
        let mut ledger = std::mem::take(&mut self.ledger);
        move |files| {
            let exchange = Exchange::at(Arc::clone(files), shared, name, &ledger);
            let out = work(&exchange, &mut ledger);
            (ledger, out)
        }
    }

    fn take_back<T>(&mut self, done: Result<(Ledger, T), Stopped>) -> Result<T, Stopped> {
        match done {
            Ok((ledger, out)) => {
                self.ledger = ledger;
                Ok(out)
            }
            Err(stopped) => {
                // The ledger is gone with the runtime; the empty one in its place must not be written down.
                self.unsaved = false;
                Err(stopped)
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

    /// Writes the ledger down.
    pub(super) async fn save(&mut self) -> Result<Result<(), LedgerError>, Stopped> {
        let saved = self.exchange(|exchange, ledger| exchange.save(ledger)).await?;
        if saved.is_ok() {
            self.saved();
        }
        Ok(saved)
    }

    /// Writes down what is only in memory; a failure shows at the next change, and costs a restart some work.
    pub(super) async fn save_rest(&mut self) {
        if let Err(Interrupt::Failed(failure)) = self.synced(0).await {
            tracing::error!(certificate = %self.name, trouble = %failure.trouble(None), "The new files are in place and not safe on disk");
        }
        if self.unsaved
            && let Ok(Err(error)) = self.save().await
        {
            tracing::error!(certificate = %self.name, error = chain(&error), "Cannot write down a placement's state");
        }
    }

    /// Looks what a job's new files would replace; what is in place replaces nothing any more.
    pub(super) async fn survey(&mut self, job: &Job) -> Result<(), Stopped> {
        if self.in_place(job).is_some() {
            self.replaced.clear();
            return Ok(());
        }
        let job = job.clone();
        self.replaced = self.exchange(move |exchange, ledger| exchange.survey(ledger, &job)).await?;
        Ok(())
    }

    /// Looks whether what the files need is mounted, and notes what that is.
    pub(super) async fn learn_mounts(&mut self, job: Option<&Job>) -> Result<Result<(), InstallError>, Stopped> {
        let job = job.cloned();
        let looked = self
            .inspect(move |exchange, ledger| (exchange.learn_mounts(ledger, job.as_ref()), exchange.is_remembered()));
        let (learned, remembered) = looked.await?;
        // Somebody removed it: it is written down again.
        self.unsaved |= !remembered;
        Ok(learned.map(|news| self.unsaved |= news))
    }

    /// Finishes or undoes what an earlier run was interrupted at, and removes its leftovers.
    pub(super) async fn resume(&mut self, job: Option<&Job>, failures: u32) -> Result<(), Interrupt> {
        self.synced(failures).await?;
        let sweep = !self.swept;
        let unfinished = self.ledger.journal.as_ref().is_some_and(|journal| journal.phase != Phase::Done);
        if !sweep && !unfinished {
            return Ok(());
        }
        let known = job.is_some();
        let job = job.cloned();
        let done = self.exchange(move |exchange, ledger| {
            if sweep && let Some(job) = &job {
                exchange.sweep(ledger, job);
            }
            exchange.resume(ledger, job.as_ref())
        });
        done.await?.map_err(|e| Failure::exchange(&e, failures))?;
        self.swept |= known;
        Ok(())
    }

    /// Puts a bundle in place, and lets the exchange come to the disk by itself until [`Self::synced`] waits for it.
    pub(super) async fn forward(
        &mut self,
        job: &Job,
        bundle: Bundle,
        before: Before,
        failures: u32,
    ) -> Result<(), Interrupt> {
        let job = job.clone();
        let done = self.exchange(move |exchange, ledger| exchange.forward(ledger, &job, bundle, before)).await?;
        self.in_place_since = Some(Instant::now());
        self.let_sync(done.map_err(|e| Failure::exchange(&e, failures))?);
        self.saved();
        Ok(())
    }

    /// Puts back what was there before; `notified`: the service may have read the new files. What could not be put back is
    /// put back first by the next try.
    pub(super) async fn back(&mut self, notified: bool) -> Result<Result<(), ExchangeError>, Stopped> {
        // What is not on disk of the way there must not be, either.
        (self.syncing, self.in_place_since) = (None, None);
        let back = self.exchange(move |exchange, ledger| exchange.back(ledger, notified)).await?;
        if back.is_ok() {
            self.saved();
        }
        Ok(back)
    }

    /// Waits until the exchange of files is on disk, and notes it; an exchange that cannot be brought there keeps its
    /// journal, and is finished again.
    pub(super) async fn synced(&mut self, failures: u32) -> Result<(), Interrupt> {
        let Some(syncing) = self.syncing.take() else { return Ok(()) };
        let synced = syncing.await.and_then(|synced| synced).map_err(|_| Interrupt::Stopped)?;
        synced.map_err(|e| Failure::exchange(&e.into(), failures))?;
        if let Some(journal) = self.ledger.journal.as_mut().filter(|journal| journal.phase == Phase::Forward) {
            journal.phase = Phase::Done;
            self.unsaved = true;
        }
        Ok(())
    }

    /// Nobody needs the way back any more, once the exchange is on disk.
    pub(super) async fn settle(&mut self, failures: u32) -> Result<(), Interrupt> {
        self.synced(failures).await?;
        if self.ledger.journal.take_if(|journal| journal.phase == Phase::Done).is_some() {
            self.unsaved = true;
        }
        Ok(())
    }

    /// Where configurations name files that a purge would remove.
    pub(super) async fn named(&mut self, left_behind: bool) -> Result<Vec<String>, Stopped> {
        self.exchange(move |exchange, ledger| exchange.named(ledger, left_behind)).await
    }

    /// Removes the files that earlier specs put elsewhere.
    pub(super) async fn purge_left_behind(&mut self) -> Result<Result<Purged, ExchangeError>, Stopped> {
        let done = self.exchange(Exchange::purge_left_behind).await?;
        if done.is_ok() {
            self.saved();
        }
        Ok(done)
    }

    /// Removes every file that Pinion wrote, then the ledger.
    pub(super) async fn purge(&mut self, restore: bool) -> Result<Result<Purged, ExchangeError>, Stopped> {
        let done = self.exchange(move |exchange, ledger| exchange.purge(ledger, restore)).await?;
        if done.is_ok() {
            self.unsaved = false;
        }
        Ok(done)
    }

    fn saved(&mut self) {
        self.unsaved = false;
        self.answered = None;
    }

    fn let_sync(&mut self, exchanged: Exchanged) {
        let (shared, name, ledger) = (Arc::clone(&self.shared), self.name.clone(), self.ledger.clone());
        self.syncing = Some(tokio::spawn(async move {
            let gate = Arc::clone(&shared);
            let _place = gate.exchanges.enter().await;
            let sync = move || exchanged.sync(Exchange::of(shared, name, &ledger).files());
            tokio::task::spawn_blocking(sync).await
        }));
    }
}
