//! `pinion notify test`: a message without an alarm, to see whether a target works.
//!
//! Invariant: one test at a time, each target at most once in it, so that nobody floods a target with tests.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use pinion_proto::{clock::Clock, length::written, spec::PlainName, stage::Trouble};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{Mutex, Notify},
    task::JoinSet,
};

use super::{message::Message, target::Target};

/// How a test of one target ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tested {
    /// The target's name in controller.toml.
    pub target: String,
    /// `webhook`, `mail` or `hook`.
    pub kind: String,
    /// Where the message went, without what may be secret in an address.
    pub place: String,
    /// Why it was not taken; null if it was.
    pub trouble: Option<Trouble>,
    /// How long it took.
    #[serde(with = "written")]
    #[schemars(with = "String")]
    pub took: Duration,
}

/// Why nothing was tested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoTest {
    /// There is no such target; these there are.
    NoSuchTarget(Vec<String>),
    /// There are no targets.
    NoTargets,
    /// Another test is under way.
    Busy,
}

/// A target, and how its task is told that it works.
pub(super) type Tried = (Target, Arc<Notify>);

/// Which test is under way.
#[derive(Debug)]
pub(super) struct Tests {
    running: Mutex<()>,
    clock: Arc<dyn Clock>,
}

impl Tests {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { running: Mutex::new(()), clock }
    }

    /// Sends a test message to one target or to all, at the same time, and waits for all of them.
    ///
    /// # Errors
    /// There is nothing to be tested, or a test is under way.
    pub(super) async fn run(
        &self,
        targets: &BTreeMap<PlainName, Tried>,
        only: Option<&str>,
    ) -> Result<Vec<Tested>, NoTest> {
        if targets.is_empty() {
            return Err(NoTest::NoTargets);
        }
        let meant = |name: &PlainName| only.is_none_or(|only| only == name.as_str());
        let meant: Vec<_> = targets.iter().filter(|(name, _)| meant(name)).collect();
        if meant.is_empty() {
            return Err(NoTest::NoSuchTarget(targets.keys().map(ToString::to_string).collect()));
        }
        let _running = self.running.try_lock().map_err(|_| NoTest::Busy)?;
        let message = Message::test(self.clock.now());
        let mut tasks = JoinSet::new();
        for (name, (target, works)) in meant {
            let (name, target, works, message) = (name.clone(), target.clone(), works.clone(), message.clone());
            tasks.spawn(async move {
                let began = Instant::now();
                let outcome = target.send(&message).await;
                let (place, kind) = (target.place(), target.kind().to_owned());
                if outcome.is_ok() {
                    works.notify_one();
                }
                let trouble = outcome.err().map(|error| error.trouble(name.as_str(), &place, None));
                Tested { target: name.to_string(), kind, place, trouble, took: began.elapsed() }
            });
        }
        let mut tested = tasks.join_all().await;
        tested.sort_by(|one, other| one.target.cmp(&other.target));
        Ok(tested)
    }
}
