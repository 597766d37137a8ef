//! Why a word or a name means no guest.

use pinion_proto::{
    id::Vmid,
    stage::{Halt, Trouble},
};

use crate::manifest::GuestName;

/// Why a word on the command line means no guest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoGuest {
    /// It is neither `host`, nor a VMID, nor a name that a guest may have.
    #[error("{0}")]
    NotAGuest(String),
    /// It is a name, and leads nowhere.
    #[error(transparent)]
    Unresolved(#[from] UnresolvedGuest),
}

/// Why the manifest's name for a guest leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnresolvedGuest {
    /// No guest has the name; and which was probably meant, as the end of a sentence.
    #[error("this host knows no guest named {0}{1}")]
    Unknown(GuestName, String),
    /// Proxmox has not listed any guest yet.
    #[error("this host does not know its guests yet, and so not which one is named {0}")]
    Awaited(GuestName),
    /// More than one has it.
    #[error("{} guests are named {}: {}", .1.len(), .0, list(.1))]
    Ambiguous(GuestName, Vec<Vmid>),
}

impl UnresolvedGuest {
    /// As a placement's trouble.
    #[must_use]
    pub fn trouble(&self) -> Trouble {
        let (name, remedy) = match self {
            Self::Awaited(name) => (
                name,
                "nothing for this placement: Pinion continues when it can read the list of guests; the first \
                    lines of `pinion status` say what is wrong",
            ),
            Self::Unknown(name, _) => {
                (name, "write its VMID into the manifest, or correct the name; Pinion tries again when either changes")
            }
            Self::Ambiguous(name, _) => (name, "write the VMID into the manifest instead of the name"),
        };
        Trouble {
            halt: if matches!(self, Self::Awaited(_)) { Halt::Waiting } else { Halt::Blocked },
            attempt: format!("find the guest {name}"),
            cause: self.to_string(),
            remedy: remedy.to_owned(),
            retry_at: None,
        }
    }
}

pub(super) fn list(vmids: &[Vmid]) -> String {
    vmids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
