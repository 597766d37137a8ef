//! What a lab leaves behind, and how it goes: processes, control groups, files.
//!
//! Invariant: a process is the lab's when its mounts are (`/proc/PID/mountinfo` names an overlay whose upper
//! directory is in the lab's), or when it is in a control group of the lab's, where a container's monitor
//! still is when it has given up its mounts. Nothing else is ever ended, whatever numbers were written down
//! somewhere. The lab's namespaces and mounts end with its last process, so they need no removal.

use std::{
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, getpid, kill_process};

use super::base;
use crate::wait;

/// The control groups of a lab's guests are below this one: its name says which directory it belongs to.
pub(super) fn group(live: &Path) -> String {
    let mut hasher = DefaultHasher::new();
    live.hash(&mut hasher);
    format!("pinion-lab-{:016x}", hasher.finish())
}

/// Ends and removes everything of the lab in this directory; there may be nothing.
///
/// # Errors
/// A process does not end, or something cannot be removed.
pub fn clear(live: &Path) -> Result<()> {
    wait::until("the lab's processes to end", GRACE, || {
        let mut left = processes(live);
        for group in cgroups(live) {
            // What is frozen does not even die.
            thaw(&group);
            members(&group, &mut left);
        }
        for pid in &left {
            if kill_process(*pid, Signal::KILL).is_err() {
                // It ended by itself in the meantime.
            }
        }
        if left.is_empty() { Ok(()) } else { Err(format!("{} are left", left.len())) }
    })?;
    wait::until("the lab's control groups to be empty", GRACE, || {
        cgroups(live).iter().try_for_each(|group| remove_cgroup(group))
    })?;
    base::remove(live)
}

/// A loaded machine takes seconds to end a dockerd.
const GRACE: Duration = Duration::from_secs(30);

/// The lab's processes, this one aside.
#[must_use]
pub fn processes(live: &Path) -> Vec<Pid> {
    let numbers = fs::read_dir("/proc").into_iter().flatten().flatten();
    numbers
        .filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?))
        .filter(|pid| *pid != getpid())
        .filter(|pid| is_of(live, &pid.as_raw_nonzero().to_string()) == Some(true))
        .collect()
}

/// Whether a process has the lab's mounts; nothing when it has ended.
#[must_use]
pub fn is_of(live: &Path, pid: &str) -> Option<bool> {
    let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).ok()?;
    Some(mounts.contains(&format!("upperdir={}/", live.display())))
}

/// The lab's control groups, in each hierarchy.
#[must_use]
pub fn cgroups(live: &Path) -> Vec<PathBuf> {
    let name = group(live);
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let hierarchies = mounts.lines().filter_map(|line| {
        let (place, kind) = line.split_once(" - ")?;
        kind.starts_with("cgroup").then(|| place.split(' ').nth(4).map(PathBuf::from))?
    });
    hierarchies.map(|hierarchy| hierarchy.join(&name)).filter(|group| group.is_dir()).collect()
}

fn thaw(group: &Path) {
    inner(group).iter().for_each(|group| thaw(group));
    for (file, word) in [("freezer.state", "THAWED"), ("cgroup.freeze", "0")] {
        let file = group.join(file);
        if file.exists() && fs::write(file, word).is_err() {
            // The group went in the meantime.
        }
    }
}

/// Adds the processes of a group and of those in it, this one aside.
fn members(group: &Path, to: &mut Vec<Pid>) {
    inner(group).iter().for_each(|group| members(group, to));
    let numbers = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    let pids = numbers.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?));
    to.extend(pids.filter(|pid| *pid != getpid()));
}

fn inner(group: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(group).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect()
}

/// The innermost first: a group with others in it cannot be removed.
fn remove_cgroup(group: &Path) -> Result<(), String> {
    inner(group).iter().try_for_each(|group| remove_cgroup(group))?;
    match fs::remove_dir(group) {
        Err(error) if group.exists() => Err(format!("{}: {error}", group.display())),
        _ => Ok(()),
    }
}

/// Waits until whoever holds the other end is gone.
pub(super) fn wait_for_end(mut other: impl io::Read) -> Result<()> {
    io::copy(&mut other, &mut io::sink()).context("wait for the end of the lab's owner").map(drop)
}
