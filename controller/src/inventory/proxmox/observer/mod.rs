//! One look after the other at Proxmox's files, and what they say together.
//!
//! Invariant: what cannot be read or understood leaves what was known of that guest as it was, and touches no other.
//!
//! How a change is noticed: each write of a guest's configuration makes pmxcfs count up the version of that guest in
//! `.vmlist`, and that of the whole list in `.version` (`memdb_pwrite` and `vmlist_register_vm` in pve-cluster). The
//! counters begin anew when pmxcfs starts, which `starttime` in `.version` tells. The files' own times have whole
//! seconds there, so the counters are what counts; in a plain directory, which nobody counts for, it is the times.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use pinion_proto::{causes::chain, id::Vmid};
use serde::Deserialize;

use super::{
    conf,
    read::{Stamp, limited},
    resources::States,
    vmlist::{Entry, MOST_LIST, VmList},
};
use crate::inventory::{GuestInfo, GuestKind, Inventory, Node};

/// pmxcfs holds no larger file (bytes).
const MOST_CONF: u64 = 1024 * 1024;

/// A few numbers for each node (bytes).
const MOST_VERSION: u64 = 1024 * 1024;

/// So many looks in a row have to fail before it is told: a file is often looked at while it is replaced.
const FAILURES_TOLD: u32 = 3;

/// `FUSE_SUPER_MAGIC` of Linux's `magic.h`: what pmxcfs is to the kernel.
const FUSE: rustix::fs::FsWord = 0x6573_5546;

/// What was seen of Proxmox's files so far.
#[derive(Debug)]
pub struct Observer {
    directory: PathBuf,
    node: String,
    names: BTreeMap<String, Vmid>,
    counted: Option<bool>,
    version: Option<Version>,
    list: Option<VmList>,
    list_failures: u32,
    list_problem: Option<String>,
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
    /// Of which entry, and under which start of pmxcfs; none until it is known to be as it is on the disk.
    entry: Option<(Entry, Option<u64>)>,
    stamp: Option<Stamp>,
    /// The file as it was when it did not end as a whole one does.
    growing: Option<Stamp>,
    conf: GuestInfo,
    failures: u32,
    problem: Option<String>,
}

impl Observer {
    /// An observer of `directory` (`/etc/pve`) on the node called `node`, with the names that the configuration has.
    #[must_use]
    pub fn new(directory: &Path, node: &str, names: BTreeMap<String, Vmid>) -> Self {
        Self {
            directory: directory.into(),
            node: node.into(),
            names,
            counted: None,
            version: None,
            list: None,
            list_failures: 0,
            list_problem: None,
            guests: BTreeMap::new(),
        }
    }

    /// An observer that takes the counters' word, wherever the files are.
    #[cfg(test)]
    fn counting(mut self) -> Self {
        self.counted = Some(true);
        self
    }

    /// Looks at the files; `now` is in Unix seconds. Whether anything is known otherwise than before.
    pub fn look(&mut self, now: i64) -> bool {
        let counted = self.counted.unwrap_or_else(|| is_fuse(&self.directory));
        let version = self.read_version();
        let settled = self.list_failures == 0 && self.guests.values().all(|seen| seen.entry.is_some());
        if counted && settled && self.list.is_some() && version.is_some() && version == self.version {
            return false;
        }
        let mut changed = self.look_at_list();
        let start = version.map(|version| version.starttime);
        let Some(list) = self.list.take() else { return changed };
        let listed = self.guests.len();
        self.guests.retain(|vmid, _| list.guests.contains_key(vmid));
        changed |= listed != self.guests.len();
        for (vmid, entry) in &list.guests {
            let path = path(&self.directory, *vmid, entry);
            let seen = self.guests.entry(*vmid).or_insert_with(|| {
                changed = true;
                Seen::default()
            });
            changed |= seen.look(path.as_deref(), entry, start, counted, now);
        }
        self.list = Some(list);
        // Only a look that found everything is one that need not be made again.
        self.version = version.filter(|_| self.list_failures == 0);
        changed
    }

    /// Everything that is known, with which guests run, if that is.
    #[must_use]
    pub fn inventory(&self, states: Option<&States>) -> Inventory {
        let Some(list) = &self.list else {
            return Inventory::from_names(self.names.clone()).with_problem(self.problem());
        };
        let guest = |(vmid, entry): (&Vmid, &Entry)| {
            let conf = self.guests.get(vmid).map(|seen| seen.conf.clone()).unwrap_or_default();
            (*vmid, info(entry, conf, &self.node, states.and_then(|states| states.running(*vmid))))
        };
        Inventory::complete(list.guests.iter().map(guest).collect(), &self.names).with_problem(self.problem())
    }

    fn problem(&self) -> Option<String> {
        if self.list_problem.is_some() {
            return self.list_problem.clone();
        }
        let mut problems = self.guests.values().filter_map(|seen| seen.problem.as_deref());
        let first = problems.next()?;
        Some(match problems.count() {
            0 => first.to_owned(),
            more => format!("{first} (and {more} more of the kind)"),
        })
    }

    fn read_version(&self) -> Option<Version> {
        serde_json::from_slice(&limited(&self.directory.join(".version"), MOST_VERSION).ok()?).ok()
    }

    fn look_at_list(&mut self) -> bool {
        let path = self.directory.join(".vmlist");
        let read = limited(&path, MOST_LIST).map_err(|error| unreadable(&path, &error));
        let list = read.and_then(|bytes| {
            VmList::parse(&bytes).map_err(|error| {
                let path = path.display();
                format!(
                    "{path} cannot be understood: {}; see `systemctl status pve-cluster`. The guests stay as they were known",
                    chain(&error)
                )
            })
        });
        let before = self.list_problem.clone();
        let listed = match list {
            Ok(list) => {
                self.list_failures = 0;
                self.list_problem = None;
                let listed = self.list.as_ref() != Some(&list);
                self.list = Some(list);
                listed
            }
            Err(problem) => {
                self.list_failures = self.list_failures.saturating_add(1);
                if self.list.is_none() || self.list_failures >= FAILURES_TOLD {
                    self.list_problem = Some(problem);
                }
                false
            }
        };
        listed || before != self.list_problem
    }
}

impl Seen {
    fn look(&mut self, path: Option<&Path>, entry: &Entry, start: Option<u64>, counted: bool, now: i64) -> bool {
        let Some((path, kind)) = path.zip(entry.kind) else {
            self.entry = Some((entry.clone(), start));
            return false;
        };
        let same = self.entry.as_ref().is_some_and(|(seen, at)| seen == entry && *at == start);
        if same && counted {
            return false;
        }
        let read = Stamp::of(path).and_then(|stamp| {
            let unchanged = same && self.stamp == Some(stamp) && !stamp.is_fresh(now);
            Ok((stamp, if unchanged { None } else { Some(limited(path, MOST_CONF)?) }))
        });
        let before = (self.conf.clone(), self.problem.clone());
        match read {
            Ok((_, None)) => return false,
            Ok((stamp, Some(bytes))) => self.take(path, kind, stamp, &bytes, (entry, start)),
            // Gone while another node takes it over, or while it is destroyed: the list says so in a moment.
            Err(error) => self.failed(unreadable(path, &error)),
        }
        before != (self.conf.clone(), self.problem.clone())
    }

    fn take(&mut self, path: &Path, kind: GuestKind, stamp: Stamp, bytes: &[u8], entry: (&Entry, Option<u64>)) {
        let Some(conf) = conf::parse(kind, bytes) else {
            let problem = format!(
                "{} says nothing of a guest; restore it from a backup. The guest stays as it was known",
                path.display()
            );
            return self.failed(problem);
        };
        if !conf::is_whole(bytes) && self.growing != Some(stamp) {
            // Half written, perhaps; the next look tells.
            self.growing = Some(stamp);
            self.entry = None;
            return;
        }
        *self = Self { entry: Some((entry.0.clone(), entry.1)), stamp: Some(stamp), conf, ..Self::default() };
    }

    fn failed(&mut self, problem: String) {
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

fn info(entry: &Entry, conf: GuestInfo, node: &str, running: Option<bool>) -> GuestInfo {
    let node = if *entry.node == *node { Node::Here } else { Node::Elsewhere(entry.node.clone()) };
    GuestInfo { kind: entry.kind, node, running, ..conf }
}

/// Why a file cannot be read, and what to do about it.
fn unreadable(path: &Path, error: &io::Error) -> String {
    let remedy = match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "let the user that `pinion serve` runs as be of the group www-data, which may read Proxmox's files"
        }
        io::ErrorKind::NotFound => {
            "is this a Proxmox host, and does pve-cluster run (`systemctl status pve-cluster`)? `directory` in \
             [proxmox] of controller.toml says where its files are"
        }
        _ => "see `systemctl status pve-cluster`",
    };
    format!("cannot read {}: {error}; {remedy}. The guests stay as they were known", path.display())
}

fn is_fuse(directory: &Path) -> bool {
    rustix::fs::statfs(directory).is_ok_and(|found| found.f_type == FUSE)
}

#[cfg(test)]
mod tests;
