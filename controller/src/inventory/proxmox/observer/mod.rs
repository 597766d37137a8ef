//! One look after the other at Proxmox's files, and what they say together.
//!
//! Invariant: what cannot be read or understood leaves what was known of that guest as it was, and touches no other.
//! Files are opened anew for each look and closed at its end, so that a look finds whatever is mounted by then.
//!
//! How a change is noticed: each write of a guest's configuration makes pmxcfs count up the version of that guest in
//! `.vmlist`, and that of the whole list in `.version` (`memdb_pwrite` and `vmlist_register_vm` in pve-cluster). The
//! counters begin anew when pmxcfs starts, which `starttime` in `.version` tells. Each of these files, and each
//! configuration, is up to a second old, independently of the others: the kernel keeps what pmxcfs said of it for so long
//! (`attr_timeout`). So a list that is older than `.version` says is not taken, and what has changed is read again
//! until it cannot be old any more ([`SETTLE`]). In a plain directory, for which nobody counts, the files' own times
//! are looked at instead.

mod list;
mod unreadable;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use pinion_proto::id::Vmid;
use serde::Deserialize;

use super::{
    InventoryProblem, conf,
    read::{Stamp, limited},
    vmlist::Entry,
};
use crate::inventory::{GuestInfo, GuestKind, Node};
use list::List;
use unreadable::{FAILURES_TOLD, unreadable};

/// pmxcfs holds no larger file (bytes).
const MAX_CONF: u64 = 1024 * 1024;

/// A few numbers for each node (bytes).
const MAX_VERSION: u64 = 1024 * 1024;

/// What has changed is read again for so long: three times as long as the kernel keeps what pmxcfs said before.
const SETTLE: Duration = Duration::from_secs(3);

/// `FUSE_SUPER_MAGIC` of Linux's `magic.h`: what pmxcfs is to the kernel.
const FUSE: rustix::fs::FsWord = 0x6573_5546;

/// What was seen of Proxmox's files so far.
#[derive(Debug)]
pub struct Observer {
    directory: PathBuf,
    node: String,
    counted: Option<bool>,
    version: Option<Version>,
    /// When what the version counts was read for the last time that is needed.
    settled_at: Duration,
    list: List,
    guests: BTreeMap<Vmid, Seen>,
}

/// The counters that pmxcfs begins anew or counts up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
struct Version {
    starttime: u64,
    vmlist: u64,
}

/// What was seen of one guest's configuration.
#[derive(Debug, Default)]
struct Seen {
    /// Of which entry, and under which start of pmxcfs; none until it was read.
    entry: Option<(Entry, Option<u64>)>,
    /// From when on what was read is known to be as it is on the disk.
    settled_at: Duration,
    stamp: Option<Stamp>,
    /// The file as it was when it did not end as a whole one does.
    growing: Option<Stamp>,
    conf: GuestInfo,
    failures: u32,
    problem: Option<InventoryProblem>,
}

impl Observer {
    /// An observer of `directory` (`/etc/pve`) on the node called `node`.
    #[must_use]
    pub fn new(directory: &Path, node: &str) -> Self {
        Self {
            directory: directory.into(),
            node: node.into(),
            counted: None,
            version: None,
            settled_at: Duration::ZERO,
            list: List::default(),
            guests: BTreeMap::new(),
        }
    }

    /// An observer that takes the counters' word, wherever the files are.
    #[cfg(test)]
    fn counting(mut self) -> Self {
        self.counted = Some(true);
        self
    }

    /// Looks at the files; `now` is the time since any moment, by a clock that nobody sets. Whether anything is known
    /// otherwise than before.
    pub fn look(&mut self, now: Duration) -> bool {
        let counted = self.counted.unwrap_or_else(|| is_fuse(&self.directory));
        let version = self.read_version();
        if version != self.version {
            self.version = version;
            self.settled_at = now + SETTLE;
        }
        let settled = self.list.is_current() && self.guests.values().all(|seen| seen.is_settled(now));
        if counted && settled && version.is_some() && now >= self.settled_at {
            return false;
        }
        let mut changed = self.list.look(&self.directory, version.map(|version| version.vmlist));
        let start = version.map(|version| version.starttime);
        let Some(list) = self.list.known() else { return changed };
        let listed = self.guests.len();
        self.guests.retain(|vmid, _| list.guests.contains_key(vmid));
        changed |= listed != self.guests.len();
        for (vmid, entry) in &list.guests {
            let path = path(&self.directory, *vmid, entry);
            let seen = self.guests.entry(*vmid).or_insert_with(|| {
                changed = true;
                Seen::default()
            });
            changed |= seen.look(path.as_deref(), (entry, start), counted, now);
        }
        changed
    }

    /// Every guest of the cluster, with nothing of whether it runs; none until a list was read.
    #[must_use]
    pub fn guests(&self) -> Option<BTreeMap<Vmid, GuestInfo>> {
        let guest = |(vmid, entry): (&Vmid, &Entry)| {
            let conf = self.guests.get(vmid).map(|seen| seen.conf.clone()).unwrap_or_default();
            (*vmid, info(entry, conf, &self.node))
        };
        Some(self.list.known()?.guests.iter().map(guest).collect())
    }

    /// What keeps the guests from being known as they are now.
    #[must_use]
    pub fn problem(&self) -> Option<InventoryProblem> {
        if let Some(problem) = self.list.problem() {
            return Some(problem.clone());
        }
        let mut problems = self.guests.values().filter_map(|seen| seen.problem.as_ref());
        let first = problems.next()?.clone();
        Some(match problems.count() {
            0 => first,
            more => InventoryProblem { cause: format!("{} (and {more} more)", first.cause), ..first },
        })
    }

    fn read_version(&self) -> Option<Version> {
        serde_json::from_slice(&limited(&self.directory.join(".version"), MAX_VERSION).ok()?).ok()
    }
}

impl Seen {
    /// Whether nothing is to be read again before its entry changes.
    fn is_settled(&self, now: Duration) -> bool {
        self.entry.is_some() && now >= self.settled_at
    }

    fn look(
        &mut self,
        path: Option<&Path>,
        (entry, start): (&Entry, Option<u64>),
        counted: bool,
        now: Duration,
    ) -> bool {
        let Some((path, kind)) = path.zip(entry.kind) else {
            self.entry = Some((entry.clone(), start));
            return false;
        };
        let same = self.entry.as_ref().is_some_and(|(seen, at)| seen == entry && *at == start);
        if same && counted && now >= self.settled_at {
            return false;
        }
        let read = Stamp::of(path).and_then(|stamp| {
            let unchanged = same && self.stamp == Some(stamp) && now >= self.settled_at;
            Ok((stamp, if unchanged { None } else { Some(limited(path, MAX_CONF)?) }))
        });
        let before = (self.conf.clone(), self.problem.clone());
        match read {
            Ok((_, None)) => return false,
            Ok((stamp, Some(bytes))) => {
                if !same || self.stamp != Some(stamp) {
                    self.settled_at = now + SETTLE;
                }
                self.take(path, kind, stamp, &bytes, (entry, start));
            }
            // Gone while another node takes it over, or while it is destroyed: the list says so in a moment.
            Err(error) => self.failed(unreadable(path, &error)),
        }
        before != (self.conf.clone(), self.problem.clone())
    }

    fn take(&mut self, path: &Path, kind: GuestKind, stamp: Stamp, bytes: &[u8], entry: (&Entry, Option<u64>)) {
        let Some(conf) = conf::parse(kind, bytes) else {
            let cause = format!("{} says nothing of a guest", path.display());
            return self.failed(InventoryProblem { cause, remedy: "restore it from a backup".to_owned() });
        };
        if !conf::is_whole(bytes) && self.growing != Some(stamp) {
            // Half written, perhaps; the next look tells.
            self.growing = Some(stamp);
            self.entry = None;
            return;
        }
        let entry = Some((entry.0.clone(), entry.1));
        *self = Self { entry, settled_at: self.settled_at, stamp: Some(stamp), conf, ..Self::default() };
    }

    fn failed(&mut self, problem: InventoryProblem) {
        self.entry = None;
        self.failures = self.failures.saturating_add(1);
        if self.failures >= FAILURES_TOLD {
            self.problem = Some(problem);
        }
    }
}

/// Where a guest's configuration is; none for a kind that is not known here.
fn path(directory: &Path, vmid: Vmid, entry: &Entry) -> Option<PathBuf> {
    let kind = match entry.kind? {
        GuestKind::Lxc => "lxc",
        GuestKind::Qemu => "qemu-server",
    };
    Some(directory.join("nodes").join(&*entry.node).join(kind).join(format!("{vmid}.conf")))
}

fn info(entry: &Entry, conf: GuestInfo, node: &str) -> GuestInfo {
    let node = if *entry.node == *node { Node::Here } else { Node::Elsewhere(entry.node.clone()) };
    GuestInfo { kind: entry.kind, node, ..conf }
}

fn is_fuse(directory: &Path) -> bool {
    rustix::fs::statfs(directory).is_ok_and(|found| found.f_type == FUSE)
}

#[cfg(test)]
mod tests;
