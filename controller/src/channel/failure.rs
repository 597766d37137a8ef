//! Why a call failed, whether that passes, and what a person can do.
//!
//! Invariant: the text says what was tried on what and how that ended, in one printable line without secrets; the cause
//! alone decides what is done about it.

use pinion_proto::stage::Halt;
use serde::{Deserialize, Serialize};

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{text}")]
pub struct Failure {
    /// The sort of it.
    pub cause: Cause,
    /// What was tried on what, and how that ended: one line, printable, without secrets.
    pub text: String,
}

impl Failure {
    /// A failure in these words.
    #[must_use]
    pub fn new(cause: Cause, text: impl Into<String>) -> Self {
        Self { cause, text: text.into() }
    }
}

/// Sorts of failure, by who has to do what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The guest is stopped.
    NotRunning,
    /// The guest is on another node of the cluster.
    WrongNode,
    /// A backup, snapshot or migration has the guest.
    Locked,
    /// The VM's guest agent does not answer, or does not let commands run.
    NoGuestAgent,
    /// The VM's guest agent is there, and has other work.
    AgentBusy,
    /// The VM is paused: nothing in it runs until it is resumed.
    Paused,
    /// The guest lacks the programs by which an agent is brought in.
    NoTools,
    /// A step took too long.
    TimedOut,
    /// The root process has too much to do.
    Busy,
    /// The guest cannot dial the controller.
    NoWayBack,
    /// There is no such guest, or it is of the other kind.
    NoSuchGuest,
    /// Proxmox's tools, or the root process itself, cannot be reached.
    ToolMissing,
    /// No agent is there for this guest's processor, or what is there cannot be used.
    Unpackaged,
    /// The agent in the guest is a package of its distribution.
    Packaged,
    /// The guest's disk is full.
    NoSpace,
    /// The guest, its agent or the root process does not do this.
    Refused,
    /// Something answered in a way that nobody foresaw.
    Unexpected,
}

impl Cause {
    /// Whether it ends without a person's doing; whatever it is, trying again does no harm.
    #[must_use]
    pub fn passes(self) -> bool {
        self.halt() == Halt::Waiting
    }

    /// The same in a placement's words.
    #[must_use]
    pub fn halt(self) -> Halt {
        match self {
            // A VM that boots has no guest agent for a while.
            Self::NotRunning
            | Self::WrongNode
            | Self::Locked
            | Self::NoGuestAgent
            | Self::AgentBusy
            | Self::Paused
            | Self::TimedOut
            | Self::Busy
            | Self::NoWayBack => Halt::Waiting,
            Self::NoSuchGuest
            | Self::NoTools
            | Self::ToolMissing
            | Self::Unpackaged
            | Self::Packaged
            | Self::NoSpace
            | Self::Refused
            | Self::Unexpected => Halt::Blocked,
        }
    }

    /// What a person can do about it.
    #[must_use]
    pub fn remedy(self) -> &'static str {
        match self {
            Self::NotRunning => "start the guest; Pinion continues when it runs",
            Self::WrongNode => "nothing on this host: the controller of that node serves the guest",
            Self::Locked => {
                "wait, if a backup, snapshot or migration is under way; otherwise run `pct unlock VMID` or `qm \
                 unlock VMID`"
            }
            Self::NoGuestAgent => {
                "install and start qemu-guest-agent in the VM, enable it in the VM's options (`qm set VMID --agent 1`), \
                 and let it run `guest-exec`; or join by hand with `pinion token create --guest VMID`"
            }
            Self::AgentBusy => {
                "wait, if a backup or snapshot is under way: Pinion tries again; otherwise check whether the guest \
                 agent answers (`qm guest cmd VMID ping`), and restart qemu-guest-agent in the VM if it does not"
            }
            Self::Paused => "resume the VM (`qm resume VMID`); Pinion continues when it runs",
            Self::NoTools => {
                "put the agent into the container's image, start it there, and join it by hand with `pinion token \
                 create --guest VMID` and `pinion-agent join`; or use a container with a Linux distribution in it"
            }
            Self::TimedOut => "check whether the guest responds at all (`pct enter VMID`, `qm terminal VMID`)",
            Self::Busy => "nothing: Pinion tries again by itself",
            Self::NoWayBack => {
                "let the guest reach TCP port 7443 of an address in `advertise` of controller.toml: check its \
                 routes, its firewall and the host's"
            }
            Self::NoSuchGuest => "correct the VMID in the manifest, or create the guest",
            Self::ToolMissing => {
                "run `systemctl status pinion-channel` on the Proxmox host, and check that pct and qm are installed"
            }
            Self::Unpackaged => {
                "install the agent for the guest's processor below /usr/lib/pinion/agent on the host, or join by hand \
                 with `pinion token create --guest VMID`"
            }
            Self::Packaged => "run `apt purge pinion-agent` in the guest",
            Self::NoSpace => "free space in the guest: the agent needs 20 MB on the file system of /usr/bin",
            Self::Refused => "read the guest's message above, and its log (`journalctl -u pinion-agent` in the guest)",
            Self::Unexpected => "run `journalctl -u pinion-channel` on the host",
        }
    }
}
