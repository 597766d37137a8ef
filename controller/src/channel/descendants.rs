//! Everything that a program started, so that it can be ended as a whole.
//!
//! Answers: which processes does a tool leave when its time is up? Its process group is not enough: Proxmox's tools
//! put their workers into sessions of their own, and `lxc-attach` has the guest's command beside it.
//! Invariant: only processes whose line of parents leads to the program are ended. One whose number was given to
//! another meanwhile is spared: it is held by a pidfd before its parent is looked at again.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::fd::OwnedFd,
};

use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal};
use tracing::debug;

/// A program in a process group of its own, and what it has started. Dropped, it is ended, unless it was let go.
#[derive(Debug)]
pub(super) struct Family {
    head: Option<Pid>,
}

impl Family {
    /// The family of the process with this id, which leads its own group and has not been waited for.
    pub(super) fn new(head: u32) -> Self {
        Self { head: i32::try_from(head).ok().and_then(Pid::from_raw) }
    }

    /// The program was waited for: its number is no longer its own.
    pub(super) fn let_go(&mut self) {
        self.head = None;
    }

    /// Ends all of it.
    pub(super) fn end(&mut self) {
        let Some(head) = self.head.take() else { return };
        // All are stopped before the first is ended: a child whose parent has ended would be lost from sight.
        tell(&kill_process_group(head, Signal::STOP));
        let mut held = BTreeMap::new();
        for _ in 0..ROUNDS {
            let parents = match parents() {
                Ok(parents) => parents,
                Err(error) => {
                    debug!(%error, "Cannot see the processes of a tool");
                    break;
                }
            };
            let before = held.len();
            for pid in line_of(head, &parents) {
                if !held.contains_key(&pid)
                    && let Some(handle) = hold(pid, parents.get(&pid).copied())
                {
                    tell(&pidfd_send_signal(&handle, Signal::STOP));
                    held.insert(pid, handle);
                }
            }
            if held.len() == before {
                break;
            }
        }
        for handle in held.values() {
            tell(&pidfd_send_signal(handle, Signal::KILL));
        }
        tell(&kill_process_group(head, Signal::KILL));
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        self.end();
    }
}

/// While some are stopped, those not yet seen may start others; tools are no fork bombs.
const ROUNDS: usize = 5;

/// A process that has just ended by itself is what was wanted.
fn tell(sent: &rustix::io::Result<()>) {
    if let Err(error) = sent {
        debug!(%error, "Could not signal a process of a tool");
    }
}

/// The parent of every process.
fn parents() -> io::Result<BTreeMap<i32, i32>> {
    let mut parents = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        let pid = entry?.file_name().to_str().and_then(|name| name.parse().ok());
        if let Some((pid, parent)) = pid.and_then(|pid| Some((pid, parent(pid)?))) {
            parents.insert(pid, parent);
        }
    }
    Ok(parents)
}

/// The fourth field of proc_pid_stat(5). The second, a name in parentheses, may hold anything.
fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let after = stat.iter().rposition(|byte| *byte == b')')?;
    std::str::from_utf8(stat.get(after + 1..)?).ok()?.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Whoever has `head` among its forebears.
fn line_of(head: Pid, parents: &BTreeMap<i32, i32>) -> BTreeSet<i32> {
    let mut line = BTreeSet::new();
    let mut next = vec![head.as_raw_nonzero().get()];
    while let Some(of) = next.pop() {
        for (child, _) in parents.iter().filter(|(_, parent)| **parent == of) {
            if line.insert(*child) {
                next.push(*child);
            }
        }
    }
    line
}

/// A handle on the process, if it is still that parent's.
fn hold(pid: i32, expected: Option<i32>) -> Option<OwnedFd> {
    let handle = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
    (parent(pid) == expected).then_some(handle)
}
