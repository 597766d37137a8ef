//! What Proxmox's tools say when they do not get through, and what that means.
//!
//! Answers: is it the guest, its node, a lock, its guest agent, or none of them? The words are those of pve-container's
//! `PVE/CLI/pct.pm`, qemu-server's `PVE/QemuServer/Agent.pm` and pve-guest-common's `PVE/AbstractConfig.pm`. Their exit
//! codes tell nothing: `die` in Perl ends with whatever errno was.
//! Invariant: unknown words make no meaning; they are passed on. A guest that says such words itself deceives nobody but
//! those who ask about that guest.

use pinion_proto::id::shown;

use super::{
    guests::Known,
    protocol::{Cause, Failure, Target},
    reach::line,
};
use crate::inventory::{GuestKind, Node};

/// The meaning of a tool's complaint about a guest, where it has one, by what is known of the cluster's guests.
pub(super) fn meaning(complaint: &str, guest: Target, known: &Known) -> Option<Failure> {
    let said = line(complaint);
    if let Some(local) = missing_on(complaint) {
        return Some(elsewhere(guest, local, known));
    }
    let says = |words: &[&str]| words.iter().any(|words| complaint.contains(words));
    // The guest agent before the guest: both "are not running".
    let cause = if says(&BUSY_AGENT) {
        Cause::AgentBusy
    } else if says(&NO_AGENT) {
        Cause::NoGuestAgent
    } else if says(&NOT_RUNNING) {
        Cause::NotRunning
    } else if says(&LOCKED) {
        Cause::Locked
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

/// Before [`NO_AGENT`], of which one is a part of these.
const BUSY_AGENT: [&str; 3] = [
    // The guest agent has one connection, and another program of the host's has it: a backup that freezes file systems,
    // another `qm guest exec` (`open_connection` and `mux_timeout` of qemu-server's `PVE/QMPClient.pm`).
    "qga socket - timeout after ",
    // It took the question, and has not answered within 5 s.
    "got timeout",
    // Its answer to an earlier question came first.
    "got wrong command id",
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
fn elsewhere(guest: Target, local: &str, known: &Known) -> Failure {
    let found = match known.guest(guest.vmid) {
        Ok(Some(found)) => found,
        Ok(None) => return Failure::new(Cause::NoSuchGuest, format!("there is no {guest} in this cluster")),
        Err(why) => {
            // It may be on another node, or anywhere.
            let text = format!("{guest} is not on this node, and its node is unknown: {why}");
            return Failure::new(Cause::Locked, text);
        }
    };
    if let Some(kind) = found.kind.filter(|kind| *kind != guest.kind) {
        let is = if kind == GuestKind::Lxc { "a container" } else { "a VM" };
        return Failure::new(Cause::NoSuchGuest, format!("there is no {guest}: {} is {is}", guest.vmid));
    }
    match &found.node {
        Node::Elsewhere(node) => {
            let text = format!("{guest} is on node {}, and this is {}", shown(node), shown(local));
            Failure::new(Cause::WrongNode, text)
        }
        // The list is a moment older or newer than the configuration: it is being made, moved or destroyed.
        Node::Here => {
            let text = format!("{guest} is listed on this node, but its configuration is missing");
            Failure::new(Cause::Locked, text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause(said: &str) -> Option<Cause> {
        let guest = Target { vmid: 1001.try_into().expect("a VMID"), kind: GuestKind::Qemu };
        meaning(said, guest, &Known::default()).map(|failure| failure.cause)
    }

    #[test]
    fn a_guest_agent_that_ends_meanwhile_is_waited_for() {
        for reason in ["unable to connect to VM 1001 qga socket - Connection refused", "client closed connection"] {
            let said = format!("VM 1001 qga command 'guest-exec-status' failed - {reason}\n");
            assert_eq!(cause(&said), Some(Cause::NoGuestAgent), "{said}");
        }
    }

    #[test]
    fn a_guest_agent_that_has_other_work_is_not_taken_for_a_missing_one() {
        for said in [
            "VM 1001 qga command 'guest-exec' failed - got timeout\n",
            "VM 1001 qmp command 'guest-exec' failed - unable to connect to VM 1001 qga socket - timeout after 31 retries\n",
            "VM 1001 qmp command 'guest-exec-status' failed - got timeout\n",
            "VM 1001 qga command 'guest-exec' failed - got wrong command id '12301' (expected 12302)\n",
        ] {
            assert_eq!(cause(said), Some(Cause::AgentBusy), "{said}");
        }
        assert_eq!(cause("QEMU guest agent is not running\n"), Some(Cause::NoGuestAgent));
        assert_eq!(cause("VM 1001 is not running\n"), Some(Cause::NotRunning));
    }
}
