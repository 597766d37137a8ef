//! The task of one target: it sees what is wrong, and sends messages until the target knows.
//!
//! Invariant: a target has a task, a ledger and a document of its own, so that none waits for another, and the loop for none
//! of them. What the loop found last is read when it is needed: nothing is queued.

use std::{sync::Arc, time::Duration};

use pinion_proto::{
    backoff::Backoff,
    causes::chain,
    clock::{Clock, Timestamp},
    spec::PlainName,
    stage::Halt,
};
use tokio::sync::{Notify, watch};
use tracing::{info, warn};

use super::{
    alarm::Alarms,
    board::{Board, TargetStatus},
    failure::SendError,
    ledger::{Ledger, LedgerRecord, Rhythm},
    message::Message,
    target::Target,
};
use crate::store::{Area, Store};

/// The directory of the documents in the local area.
pub(super) const DIRECTORY: &str = "notify";

/// A target that fails is tried again after this.
const BACKOFF: Backoff = Backoff { initial: Duration::from_secs(5), max: Duration::from_secs(10 * 60) };

/// What a target's task works with.
pub(super) struct Worker {
    pub(super) name: PlainName,
    pub(super) target: Target,
    pub(super) rhythm: Rhythm,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) store: Arc<Store>,
    pub(super) board: Arc<Board>,
    /// Says that the target works again, as somebody has just seen.
    pub(super) works: Arc<Notify>,
    /// What the loop has found.
    pub(super) found: watch::Receiver<Arc<Alarms>>,
    /// Which identities are locked.
    pub(super) locks: watch::Receiver<Arc<Alarms>>,
}

/// How sending goes.
#[derive(Debug, Default)]
struct Sending {
    failures: u32,
    retry_at: Option<Timestamp>,
    last_sent: Option<Timestamp>,
    error: Option<SendError>,
}

impl Worker {
    /// Runs until it is dropped.
    pub(super) async fn run(mut self) {
        let mut ledger = self.restore().await;
        let mut sending = Sending::default();
        loop {
            self.show(&ledger, &sending);
            let alarms = self.found.borrow_and_update().as_ref().clone().and(&self.locks.borrow_and_update());
            let now = self.clock.now();
            ledger.look(&alarms, now);
            let next = ledger.next(&alarms, self.rhythm);
            // Where there is nothing left to be told, nobody knows whether the target still fails.
            if next.is_none() && sending.error.as_ref().is_some_and(|error| error.halt() == Halt::Waiting) {
                sending = Sending { last_sent: sending.last_sent, ..Sending::default() };
                continue;
            }
            // A clock that was set back makes nobody wait.
            let waits_until = sending.retry_at.filter(|at| *at > now && *at <= now + BACKOFF.max);
            if waits_until.is_none()
                && let Some(message) = ledger.message(&alarms, self.rhythm, now)
            {
                self.send(message, &mut ledger, &mut sending).await;
                continue;
            }
            let next = next.map(|at| waits_until.map_or(at, |retry| at.max(retry)));
            tokio::select! {
                Ok(()) = self.found.changed() => {}
                Ok(()) = self.locks.changed() => {}
                () = self.works.notified() => sending = Sending { last_sent: sending.last_sent, ..Sending::default() },
                () = until(&*self.clock, next) => {}
            }
        }
    }

    async fn send(&self, message: Message, ledger: &mut Ledger, sending: &mut Sending) {
        let outcome = self.target.send(&message).await;
        let now = self.clock.now();
        match outcome {
            Ok(()) => {
                if sending.failures > 0 {
                    info!(target_name = %self.name, "The target takes alarms again");
                }
                ledger.delivered(&message, now);
                *sending = Sending { last_sent: Some(now), ..Sending::default() };
                self.write(ledger.record()).await;
            }
            Err(error) => {
                sending.failures = sending.failures.saturating_add(1);
                sending.retry_at = Some(now + BACKOFF.after(sending.failures));
                if sending.error.as_ref() != Some(&error) {
                    warn!(target_name = %self.name, error = error.cause(), "Cannot send alarms to the target");
                }
                sending.error = Some(error);
            }
        }
    }

    fn show(&self, ledger: &Ledger, sending: &Sending) {
        let place = self.target.place();
        let trouble = sending.error.as_ref();
        let status = TargetStatus {
            target: self.name.to_string(),
            kind: self.target.kind().to_owned(),
            told: ledger.told(),
            last_sent: sending.last_sent.or(ledger.last_sent()),
            trouble: trouble.map(|error| error.trouble(self.name.as_str(), &place, sending.retry_at)),
            place,
        };
        self.board.set(&self.name, status);
    }

    async fn restore(&self) -> Ledger {
        let (store, name) = (self.store.clone(), document(&self.name));
        let read = tokio::task::spawn_blocking(move || store.read::<LedgerRecord>(Area::Local, &name)).await;
        match read {
            Ok(Ok(record)) => Ledger::restore(record.unwrap_or_default()),
            Ok(Err(error)) => {
                warn!(target_name = %self.name, error = chain(&error), "Cannot read which alarms a target was told; it is told again");
                Ledger::default()
            }
            Err(error) => {
                warn!(target_name = %self.name, %error, "Reading which alarms a target was told was cut short");
                Ledger::default()
            }
        }
    }

    async fn write(&self, record: LedgerRecord) {
        let (store, name) = (self.store.clone(), document(&self.name));
        let write = move || store.write(Area::Local, &name, &record);
        match tokio::task::spawn_blocking(write).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                warn!(target_name = %self.name, error = chain(&error), "Cannot write which alarms a target was told; after a restart it is told again");
            }
            Err(error) => {
                warn!(target_name = %self.name, %error, "Writing which alarms a target was told was cut short")
            }
        }
    }
}

/// The document of a target in the local area.
pub(super) fn document(name: &PlainName) -> String {
    format!("{DIRECTORY}/{name}")
}

async fn until(clock: &dyn Clock, moment: Option<Timestamp>) {
    match moment {
        Some(moment) => clock.sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
