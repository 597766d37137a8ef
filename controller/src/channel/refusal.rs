//! What Proxmox's tools say when they do not get through, and what that means.
//!
//! Answers: is it the guest, its node, a lock, its guest agent, or none of them? The words are those of pve-container's
//! `PVE/CLI/pct.pm`, qemu-server's `PVE/QemuServer/Agent.pm` and pve-guest-common's `PVE/AbstractConfig.pm`. Their exit
//! codes tell nothing: `die` in Perl ends with whatever errno was.
//! Invariant: unknown words make no meaning; they are passed on. A guest that says such words itself deceives nobody but
//! those who ask about that guest.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use pinion_proto::id::shown;
use serde::Deserialize;

use super::{
    protocol::{Cause, Failure, Target},
    reach::line,
};
use crate::inventory::GuestKind;

/// The meaning of a tool's complaint about a guest, where it has one. `root` is the host's `/`.
pub(super) fn meaning(complaint: &str, guest: Target, root: &Path) -> Option<Failure> {
    let said = line(complaint);
    if let Some(local) = missing_on(complaint) {
        return Some(elsewhere(guest, local, root));
    }
    let says = |words: &[&str]| words.iter().any(|words| complaint.contains(words));
    // The guest agent before the guest: both "are not running".
    let cause = if says(&NO_AGENT) {
        Cause::NoGuestAgent
    } else if says(&NOT_RUNNING) {
        Cause::NotRunning
    } else if says(&LOCKED) {
        Cause::Locked
    } else if complaint.contains("got timeout") {
        Cause::TimedOut
    } else {
        return None;
    };
    Some(Failure::new(cause, format!("{guest}: {said}")))
}

/// A failure in the tool's own words.
pub(super) fn unforeseen(tool: &str, guest: Target, code: i32, complaint: &str) -> Failure {
    let said = line(complaint);
    let how = if said.is_empty() { String::new() } else { format!(": {said}") };
    Failure::new(Cause::Unexpected, format!("`{tool}` failed for {guest} with exit code {code}{how}"))
}

const NOT_RUNNING: [&str; 5] = [
    // pct exec, and before 2023 what lxc-attach said in its place.
    "' not running!",
    "Failed to get init pid",
    "can only push files to a running CT",
    // qm guest exec, and a VM that stops meanwhile.
    " is not running",
    " not running\n",
];

const LOCKED: [&str; 3] = [
    "CT is locked (",
    "VM is locked (",
    // Another `pct push` or the start of a backup has the configuration for the moment.
    "can't lock file",
];

const NO_AGENT: [&str; 6] = [
    "QEMU guest agent is not running",
    // It ended between two of qm's questions, as when the guest shuts down (pve-common's `QMPClient.pm`).
    " qga socket - ",
    "client closed connection",
    "No QEMU guest agent configured",
    // Some distributions let their guest agent run nothing.
    "Command guest-exec has been disabled",
    "The command guest-exec has been disabled",
];

/// The local node, when the tool has no configuration of the guest there.
fn missing_on(complaint: &str) -> Option<&str> {
    let rest = complaint.split_once("Configuration file 'nodes/")?.1;
    let (path, after) = rest.split_once('\'')?;
    after.trim_start().starts_with("does not exist").then(|| path.split_once('/').map_or(path, |(node, _)| node))
}

/// Why a guest has no configuration here, by the list that all nodes share.
fn elsewhere(guest: Target, local: &str, root: &Path) -> Failure {
    let path = root.join("etc/pve/.vmlist");
    let list = match listed(&path) {
        Ok(list) => list,
        Err(error) => {
            let text = format!("{guest} is not on this node, and {} cannot be read: {error}", path.display());
            return Failure::new(Cause::NoSuchGuest, text);
        }
    };
    let Some(entry) = list.ids.get(&guest.vmid.to_string()) else {
        return Failure::new(Cause::NoSuchGuest, format!("there is no {guest} in this cluster"));
    };
    let is_lxc = entry.kind == "lxc";
    if is_lxc != (guest.kind == GuestKind::Lxc) {
        let text = format!("there is no {guest}: {} is {}", guest.vmid, if is_lxc { "a container" } else { "a VM" });
        return Failure::new(Cause::NoSuchGuest, text);
    }
    if entry.node == local {
        // The list is a moment older or newer than the configuration: it is being made, moved or destroyed.
        return Failure::new(
            Cause::Locked,
            format!("{guest} is listed on this node, and its configuration is not there"),
        );
    }
    let text = format!("{guest} is on node {}, and this is {}", shown(&entry.node), shown(local));
    Failure::new(Cause::WrongNode, text)
}

/// `/etc/pve/.vmlist`, as pmxcfs writes it.
#[derive(Deserialize)]
struct List {
    ids: std::collections::BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
struct Entry {
    node: String,
    #[serde(rename = "type")]
    kind: String,
}

/// Longer than the list of 100,000 guests (bytes).
const MOST_LIST: u64 = 16 * 1024 * 1024;

fn listed(path: &Path) -> io::Result<List> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MOST_LIST).read_to_end(&mut bytes)?;
    serde_json::from_slice(&bytes).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_agent_that_ends_meanwhile_is_waited_for() {
        let guest = Target { vmid: 1001.try_into().expect("a VMID"), kind: GuestKind::Qemu };
        for reason in ["unable to connect to VM 1001 qga socket - Connection refused", "client closed connection"] {
            let said = format!("VM 1001 qga command 'guest-exec-status' failed - {reason}\n");
            let failure = meaning(&said, guest, Path::new("/")).expect("it has a meaning");
            assert_eq!(failure.cause, Cause::NoGuestAgent, "{failure}");
        }
    }
}
