//! What all simulated agents together have done since they were asked to count anew.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use pinion_agent::link::dial::DialError;
use pinion_proto::lock::lock;
use serde::{Deserialize, Serialize};

/// What all agents together did since they were asked to count anew.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) dialled: AtomicU64,
    linked: AtomicU64,
    installed: AtomicU64,
    pub(super) trusting: AtomicU64,
    since: Mutex<Since>,
    lost: Mutex<BTreeMap<String, u64>>,
}

/// When what happened, from the mark on.
#[derive(Debug)]
struct Since {
    mark: Instant,
    links: Vec<Duration>,
    wanted: Option<Duration>,
    installed: Option<Duration>,
}

impl Default for Since {
    fn default() -> Self {
        Self { mark: Instant::now(), links: Vec::new(), wanted: None, installed: None }
    }
}

/// A link, for as long as it lasts.
pub(super) struct Linked<'c>(&'c Counts);

impl Drop for Linked<'_> {
    fn drop(&mut self) {
        self.0.linked.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Counts {
    pub(super) fn linked(&self) -> Linked<'_> {
        self.linked.fetch_add(1, Ordering::Relaxed);
        let since = &mut *lock(&self.since);
        since.links.push(since.mark.elapsed());
        Linked(self)
    }

    pub(super) fn wanted(&self) {
        let since = &mut *lock(&self.since);
        since.wanted = Some(since.mark.elapsed());
    }

    pub(super) fn installed(&self) {
        self.installed.fetch_add(1, Ordering::Relaxed);
        let since = &mut *lock(&self.since);
        since.installed = Some(since.mark.elapsed());
    }

    /// A link was lost, or did not come about.
    pub(super) fn lost(&self, why: &anyhow::Error) {
        let why = match why.downcast_ref() {
            // Each names its own address.
            Some(DialError::Timeout { .. } | DialError::Silent { .. }) => {
                "the controller does not answer in time".to_owned()
            }
            _ => why.root_cause().to_string(),
        };
        *lock(&self.lost).entry(why).or_default() += 1;
    }

    pub(super) fn mark(&self) {
        lock(&self.lost).clear();
        *lock(&self.since) = Since::default();
        self.dialled.store(0, Ordering::Relaxed);
        self.installed.store(0, Ordering::Relaxed);
        self.trusting.store(0, Ordering::Relaxed);
    }

    pub(super) fn said(&self, with_times: bool) -> Said {
        let since = lock(&self.since);
        let last = |at: Option<Duration>| at.unwrap_or_default();
        Said {
            linked: self.linked.load(Ordering::Relaxed),
            dialled: self.dialled.load(Ordering::Relaxed),
            installed: self.installed.load(Ordering::Relaxed),
            trusting: self.trusting.load(Ordering::Relaxed),
            last_link: last(since.links.last().copied()),
            last_wanted: last(since.wanted),
            last_installed: last(since.installed),
            lost: lock(&self.lost).clone(),
            links: if with_times { since.links.clone() } else { Vec::new() },
        }
    }
}

/// What the agents did since the mark.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Said {
    /// Now.
    pub(super) linked: u64,
    /// Connections that were begun.
    pub(super) dialled: u64,
    /// Certificates that were delivered, and reported as installed.
    pub(super) installed: u64,
    /// Agents that were told of another identity root.
    pub(super) trusting: u64,
    /// When the last link began, counted from the mark, as the two that follow.
    pub(super) last_link: Duration,
    /// When an agent was last told what it should hold.
    pub(super) last_wanted: Duration,
    pub(super) last_installed: Duration,
    /// Why links were lost, or did not come about, and how often.
    pub(super) lost: BTreeMap<String, u64>,
    /// When each link began; asked for apart, because there are many.
    pub(super) links: Vec<Duration>,
}

impl Said {
    /// What the agents of another process did beside it, since the same mark.
    pub(super) fn add(&mut self, other: Self) {
        self.linked += other.linked;
        self.dialled += other.dialled;
        self.installed += other.installed;
        self.trusting += other.trusting;
        self.last_link = self.last_link.max(other.last_link);
        self.last_wanted = self.last_wanted.max(other.last_wanted);
        self.last_installed = self.last_installed.max(other.last_installed);
        for (why, times) in other.lost {
            *self.lost.entry(why).or_default() += times;
        }
        self.links.extend(other.links);
        self.links.sort_unstable();
    }
}
