//! Proxmox's log of tasks, as far as tools write it: `/var/log/pve/tasks/index`.
//!
//! Answers: what did somebody leave in the operator's list? Invariant: a line is a task that has ended, as
//! `PVE::INotify` and `PVE::RESTEnvironment` write it: its UPID, when it ended in hexadecimal, and `OK` or its error.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    process,
    time::{SystemTime, UNIX_EPOCH},
};

use super::node;

/// Where ended tasks are listed.
pub const INDEX: &str = "/var/log/pve/tasks/index";

/// A task at work.
pub(super) struct Task {
    upid: String,
    /// Opened before its work, which may take this process into a guest.
    index: Option<fs::File>,
}

impl Task {
    /// Begins one; a log that cannot be written keeps no tool from its work.
    pub(super) fn begin(kind: &str, vmid: &str) -> Self {
        let parent = INDEX.rsplit_once('/').map_or("", |(parent, _)| parent);
        let made = fs::create_dir_all(parent);
        let index = made.and_then(|()| OpenOptions::new().create(true).append(true).open(INDEX)).ok();
        let (node, pid) = (node::name(), process::id());
        Self { upid: format!("UPID:{node}:{pid:08X}:00000000:{:08X}:{kind}:{vmid}:root@pam:", seconds()), index }
    }

    /// It has ended.
    pub(super) fn end(mut self, result: &Result<(), String>) {
        let status = result.as_ref().map_or_else(String::as_str, |()| "OK");
        if let Some(index) = &mut self.index {
            writeln!(index, "{} {:08X} {status}", self.upid, seconds()).ok();
        }
    }
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
