//! Alarms: messages to people when something is wrong.
//!
//! Answers: what is an alarm (`rules`), what is a target told and when (`ledger`), in which words (`message`, `template`), and
//! how does it reach the target (`webhook`, `mail`, `hook`)?
//! Invariant: `rules` and `ledger` are pure; the loop only says what is wrong, and waits for no target. A target that hangs,
//! refuses or floods costs its own task a bounded time and a bounded number of bytes.
//! Invariant: a target knows of an alarm when it has taken the message, which is then written to `local`: a restart repeats
//! nothing, and loses no all clear.

pub mod alarm;
mod board;
mod check;
pub mod config;
mod failure;
mod files;
mod hook;
pub mod ledger;
mod locks;
mod mail;
pub mod message;
pub mod rules;
mod target;
#[cfg(test)]
mod testing;
mod template;
mod test_message;
mod url;
mod webhook;
mod worker;

use std::{collections::BTreeMap, path::Path, sync::Arc};

use pinion_proto::{clock::Clock, spec::PlainName};
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
};

use crate::{identity::Identities, inventory::Inventory, store::Store};
use alarm::{Alarms, Topic};
use board::Board;
pub use board::TargetStatus;
pub use check::findings;
pub use config::{NotifyConfig, TargetConfig};
use files::Files;
pub use locks::subject;
use rules::Patience;
use target::Target;
pub use test_message::{NoTest, Tested};
use worker::Worker;

/// Everybody who is told.
#[derive(Debug)]
pub struct Notifier {
    patience: Patience,
    found: watch::Sender<Arc<Alarms>>,
    targets: BTreeMap<PlainName, test_message::Tried>,
    board: Arc<Board>,
    tests: test_message::Tests,
}

/// What the targets' tasks are given.
#[derive(Debug)]
pub struct Surroundings<'c> {
    /// The directory that stands for `/`.
    pub root: &'c Path,
    /// This host's name, as messages have it.
    pub host: String,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where is written what targets were told.
    pub store: Arc<Store>,
    /// Who is locked.
    pub identities: Arc<Identities>,
    /// Which guests there are.
    pub inventory: watch::Receiver<Arc<Inventory>>,
}

impl Notifier {
    /// Starts a task for each target. Nothing is told before the loop has said what is wrong.
    #[must_use]
    pub fn start(config: &NotifyConfig, with: Surroundings<'_>, tasks: &mut JoinSet<()>) -> Self {
        let (found, _) = watch::channel(Arc::new(Alarms::unknown()));
        let (locks, locked) = watch::channel(Arc::new(Alarms::without(Topic::Lock)));
        let (board, files) = (Arc::new(Board::default()), Files::below(with.root));
        let mut targets = BTreeMap::new();
        for (name, target) in &config.targets {
            let target = Target::new(target.clone(), files.clone(), with.host.clone());
            let works = Arc::new(Notify::new());
            targets.insert(name.clone(), (target.clone(), works.clone()));
            let worker = Worker {
                name: name.clone(),
                target,
                rhythm: config.rhythm,
                clock: with.clock.clone(),
                store: with.store.clone(),
                board: board.clone(),
                works,
                found: found.subscribe(),
                locks: locked.clone(),
            };
            tasks.spawn(worker.run());
        }
        if !targets.is_empty() {
            tasks.spawn(locks::keep(with.clock.clone(), with.identities, with.inventory, locks));
        }
        Self { patience: config.patience, found, targets, board, tests: test_message::Tests::new(with.clock) }
    }

    /// Tells nobody.
    #[must_use]
    pub fn nobody(clock: Arc<dyn Clock>) -> Self {
        let (found, _) = watch::channel(Arc::new(Alarms::unknown()));
        let patience = NotifyConfig::default().patience;
        let tests = test_message::Tests::new(clock);
        Self { patience, found, targets: BTreeMap::new(), board: Arc::default(), tests }
    }

    /// How long something may last before it is an alarm; none where nobody is told.
    #[must_use]
    pub fn patience(&self) -> Option<Patience> {
        (!self.targets.is_empty()).then_some(self.patience)
    }

    /// This is wrong now.
    pub fn found(&self, alarms: Alarms) {
        self.found.send_if_modified(|known| {
            let is_new = **known != alarms;
            if is_new {
                *known = Arc::new(alarms);
            }
            is_new
        });
    }

    /// Sends a test message to one target or to all, at the same time, and waits for all of them.
    ///
    /// # Errors
    /// There is nothing to be tested, or a test is under way.
    pub async fn test(&self, only: Option<&str>) -> Result<Vec<Tested>, NoTest> {
        self.tests.run(&self.targets, only).await
    }

    /// How each target is.
    #[must_use]
    pub fn status(&self) -> Vec<TargetStatus> {
        self.board.all()
    }
}
