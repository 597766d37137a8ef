//! Holding placements: the sole order of key → request → verify → install → validate → reload → probe → roll back.
//!
//! Answers: what is asked of this guest, how far is it, and what holds it up?
//! Invariants: one task a placement, so that a slow service holds up no other; everything is a level, so a lost
//! message costs time and never correctness; what is written down in the ledger is enough to go on after a crash.
//!
//! A file uses the files of its own line and of the lines below it, and none above:
//!
//! | files | answer |
//! |---|---|
//! | `mailbox`, `task`, `purge`, `kept`, `rhythm` | when is something done? |
//! | `advance` | in which order? |
//! | `trust`, `adopt`, `install`, `upkeep` | which of the files and the service is seen to? |
//! | `notify`, `rollback`, `root_store`, `settle` | does the service take what is in place, and what if not? |
//! | `attempt`, `disturb` | what does one try work with, and may it disturb the service? |
//! | `looks`, `predecessor`, `watched` | what do services show, and whose certificate is it that one shows instead? |
//! | `status`, `details`, `driver`, `escalate`, `backoff` | how far is it, what failed how often? |
//! | `request` | which certificate is on its way? |
//! | `switch` | what is known of the placement, and what of that is on disk? |
//! | `exchange`, `removal`, `found`, `foreign` | how do files and ledger change together? |
//! | `inspection`, `gate` | how is all of it looked at in one go, and how much at once? |
//! | `failure`, `gone`, `exchange_error`, `window` | why did something fail or wait, and who must act? |
//! | `shared`, `service`, `context` | what do all placements have in common? |

mod adopt;
mod advance;
mod attempt;
mod backoff;
mod context;
mod details;
mod disturb;
mod driver;
mod escalate;
mod exchange;
mod exchange_error;
mod failure;
mod foreign;
mod found;
mod gate;
mod gone;
mod inspection;
mod install;
mod kept;
mod looks;
mod mailbox;
mod notify;
mod pairing;
mod predecessor;
mod purge;
mod removal;
mod request;
mod rhythm;
mod rollback;
mod root_store;
mod service;
mod settle;
mod shared;
mod status;
mod switch;
mod task;
#[cfg(test)]
mod tests;
mod trust;
mod upkeep;
mod watched;
mod window;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, atomic::Ordering},
};

use pinion_proto::{
    id::CertificateName,
    lock::lock,
    message::{Delivery, Purge, Purged},
    spec::PlacementSpec,
};
use thiserror::Error;
use tokio::{
    runtime::Handle,
    sync::{broadcast, watch},
    task::JoinHandle,
};

use crate::{
    ledger::{Ledger, LedgerError, Ledgers},
    restarts::Restarts,
};
pub use context::Context;
use mailbox::{Desired, Look, Mailbox};
use shared::Shared;
pub use shared::{Reports, Specs};
use task::End;

/// Every placement of this guest; clones are handles to the same.
#[derive(Clone)]
pub struct Placements {
    shared: Arc<Shared>,
    tasks: Arc<Mutex<BTreeMap<CertificateName, Entry>>>,
    runtime: Handle,
}

struct Entry {
    mailbox: Arc<Mailbox>,
    task: JoinHandle<()>,
}

impl Placements {
    /// Reads what earlier runs wrote down and goes on with every placement, with or without a controller.
    ///
    /// Must be called within a tokio runtime; the placements' tasks run there.
    ///
    /// # Errors
    /// The state directory cannot be used, or another agent is using it. A placement whose own record is broken is
    /// no error: its report says so and the others go on.
    pub async fn start(context: Arc<Context>) -> Result<Self, StartError> {
        let opening = Arc::clone(&context);
        let opened = tokio::task::spawn_blocking(move || {
            let ledgers = Ledgers::open(&opening.config.state, Arc::clone(&opening.files))?;
            let known = ledgers.read_all()?;
            let restarts = Restarts::read(&*opening.files, ledgers.state(), opening.config.restarts_per_hour);
            Ok::<_, LedgerError>((ledgers, known, restarts))
        });
        let (ledgers, known, restarts) = opened.await.map_err(|_| StartError::Interrupted)??;
        let shared = Arc::new(Shared::new(context, ledgers, restarts));
        let this = Self { shared, tasks: Arc::default(), runtime: Handle::current() };
        for (name, ledger) in &known {
            this.shared.remember(name, ledger);
        }
        let mut tasks = this.lock();
        for (name, ledger) in known {
            let entry = this.spawn(name.clone(), ledger);
            tasks.insert(name, entry);
        }
        drop(tasks);
        Ok(this)
    }

    /// Everything that the guest should hold; replaces what was desired before. A placement that is no longer in it is
    /// retired: its files stay until it is purged.
    pub fn desire(&self, specs: Vec<PlacementSpec>) {
        let specs: BTreeMap<_, _> = specs.into_iter().map(|spec| (spec.certificate.clone(), spec)).collect();
        self.shared.specs.send_replace(Arc::new(specs.clone()));
        let mut tasks = self.lock();
        let wanted: BTreeSet<_> = specs.keys().cloned().collect();
        for (name, spec) in specs {
            let entry = tasks.entry(name.clone()).or_insert_with(|| self.spawn(name, Ok(Ledger::default())));
            entry.mailbox.post(|letters| letters.desired = Some(Desired::Wanted(Box::new(spec))));
        }
        for (_, entry) in tasks.iter().filter(|(name, _)| !wanted.contains(name)) {
            entry.mailbox.post(|letters| letters.desired = Some(Desired::Absent));
        }
    }

    /// An issued certificate; ignored unless it is for the generation that this guest has asked for.
    pub fn deliver(&self, delivery: Delivery) {
        match self.lock().get(&delivery.certificate) {
            Some(entry) => entry.mailbox.post(|letters| letters.delivery = Some(delivery)),
            None => tracing::warn!(
                certificate = %delivery.certificate,
                generation = delivery.generation,
                "Ignored a delivery for a placement that is not known here"
            ),
        }
    }

    /// Removes the files and the record of a retired placement, or of one that is desired what it has left behind;
    /// anything else of one that is desired is refused, with a log line.
    pub fn purge(&self, purge: Purge) {
        let certificate = purge.certificate.clone();
        let is_desired = self.shared.specs.borrow().get(&certificate).is_some_and(|spec| !spec.purge);
        if is_desired && !purge.left_behind {
            tracing::warn!(%certificate, "Refused to purge a placement that is desired");
            return;
        }
        match self.lock().get(&certificate) {
            Some(entry) => entry.mailbox.post(|letters| letters.purge = Some(purge)),
            // The controller asks because it still has a report of it.
            None => self.shared.answer(Purged::all(certificate)),
        }
    }

    /// If the next try is put off because the last one failed, it is made now: somebody waits for it.
    pub fn retry(&self, certificate: &CertificateName) {
        if let Some(entry) = self.lock().get(certificate) {
            entry.mailbox.post(|letters| letters.retry = true);
        }
    }

    /// Looks at a placement now, whenever the next look would be; its report has the number when that is done.
    pub fn look(&self, certificate: &CertificateName, number: u64) {
        if let Some(entry) = self.lock().get(certificate) {
            entry.mailbox.post(|letters| letters.look = letters.look.and(Look { link: number, here: 0 }));
        }
    }

    /// Looks at a placement now, for somebody in the guest: the look's number, for [`Self::looked`]; none when nothing is
    /// known of it, so that whatever becomes known is new.
    #[must_use]
    pub fn look_here(&self, certificate: &CertificateName) -> Option<u64> {
        let tasks = self.lock();
        let entry = tasks.get(certificate)?;
        let number = self.shared.looks.fetch_add(1, Ordering::Relaxed) + 1;
        entry.mailbox.post(|letters| letters.look = letters.look.and(Look { link: 0, here: number }));
        Some(number)
    }

    /// The newest look for somebody in the guest that is done, by certificate.
    #[must_use]
    pub fn looked(&self) -> watch::Receiver<BTreeMap<CertificateName, u64>> {
        self.shared.looked.subscribe()
    }

    /// What came of the purge of a placement that is gone; told once.
    #[must_use]
    pub fn purged(&self, certificate: &CertificateName) -> Purged {
        self.shared.take_purged(certificate)
    }

    /// What comes of purges of placements that are still there.
    #[must_use]
    pub fn purge_answers(&self) -> broadcast::Receiver<Purged> {
        self.shared.answers.subscribe()
    }

    /// The state of every placement, always the newest; a purged placement is no longer in it.
    #[must_use]
    pub fn reports(&self) -> watch::Receiver<Reports> {
        self.shared.reports.subscribe()
    }

    /// What was asked for last, with what holds it up on the controller's side; empty until a controller spoke.
    #[must_use]
    pub fn specs(&self) -> watch::Receiver<Specs> {
        self.shared.specs.subscribe()
    }

    /// Stops: a file switch in progress is finished, everything else is left for the next start.
    pub async fn shutdown(&self) {
        self.shared.stop();
        let tasks = std::mem::take(&mut *self.lock());
        for (certificate, entry) in tasks {
            if let Err(e) = entry.task.await {
                tracing::error!(%certificate, error = %e, "The placement's task failed");
            }
        }
        self.shared.ledgers.release();
    }

    fn spawn(&self, name: CertificateName, ledger: Result<Ledger, LedgerError>) -> Entry {
        let mailbox = Arc::new(Mailbox::default());
        let (this, post) = (self.clone(), Arc::clone(&mailbox));
        // Handed on as it is: the task would have room for it once in each of its functions.
        let mut known = Some(Box::new(ledger));
        let task = self.runtime.spawn(async move {
            loop {
                let ledger = known.take().unwrap_or_else(|| Box::new(Ok(Ledger::default())));
                match task::run(&this.shared, &name, ledger, &post).await {
                    End::Stopped => return,
                    End::Gone if this.forget(&name, &post) => return,
                    End::Gone => {}
                }
            }
        });
        Entry { mailbox, task }
    }

    /// Drops a placement of which nothing is left; false when it is wanted anew meanwhile.
    fn forget(&self, name: &CertificateName, mailbox: &Mailbox) -> bool {
        let mut tasks = self.lock();
        if mailbox.wants() {
            return false;
        }
        tasks.remove(name);
        self.shared.unpublish(name);
        true
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<CertificateName, Entry>> {
        lock(&self.tasks)
    }
}

impl fmt::Debug for Placements {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.lock().keys()).finish()
    }
}

/// Why holding placements cannot begin.
#[derive(Debug, Error)]
pub enum StartError {
    /// The state directory cannot be used.
    #[error("cannot use the state directory")]
    Ledger(#[from] LedgerError),
    /// The runtime is shutting down.
    #[error("the agent was stopped while it was starting")]
    Interrupted,
}
