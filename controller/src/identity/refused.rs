//! Why an identity is not good, and why none is given.

use pinion_proto::id::{Guest, Vmid};
use thiserror::Error;

use super::{error::IdentityError, token::TokenRefused};
use crate::store::StoreError;

/// Why an identity is not good.
#[derive(Debug, Error)]
pub enum Refused {
    /// Never joined, or forgotten.
    #[error("guest {guest} is unknown here: create a token with `pinion token create --guest {guest}` and join again")]
    Unknown {
        /// The guest that the identity is for.
        guest: Guest,
    },
    /// From before its last join.
    #[error("guest {guest} has joined again since, so its earlier identities are refused")]
    Replaced {
        /// The guest that the identity is for.
        guest: Guest,
    },
    /// Of our root, given after everything that is on record.
    #[error(
        "guest {guest} used an identity that is newer than this controller's state, which was restored from a backup \
         or lost the guest's record; the identity is refused, and the guest must join again: on Proxmox it does so \
         by itself, elsewhere run `pinion token create --guest {guest}` here and `pinion-agent join` in the guest"
    )]
    Newer {
        /// The guest that the identity is for.
        guest: Guest,
    },
    /// Renewed away, and shown again; the guest is now locked.
    #[error(
        "guest {guest} used an identity that had been renewed: it was cloned, or rolled back to a snapshot, and is \
         now locked; make sure that only one copy runs, then run `pinion guest unlock {guest}`, and use a new token"
    )]
    Stale {
        /// The guest that the identity is for.
        guest: Guest,
    },
    /// Renewed away or given up, and shown again by the guest itself.
    #[error(
        "guest {guest} used an identity that is no longer valid: it was rolled back to a snapshot, and must join again"
    )]
    RolledBack {
        /// The guest that the identity is for.
        guest: Guest,
    },
    /// Shown by a virtual machine that is another one to Proxmox than the one it was given to.
    #[error(
        "guest {guest} has another vmgenid than at its last link: it was rolled back to a snapshot or restored from \
         a backup, and must join again"
    )]
    MachineChanged {
        /// The guest that the identity is for.
        guest: Guest,
    },
    /// Shown by what was made of the guest.
    #[error("guest {really} used the identity of guest {guest}: it is a copy, and must join with its own token")]
    Copy {
        /// Whose identity it is.
        guest: Guest,
        /// The guest that used the identity.
        really: Vmid,
    },
    /// Shown by a machine with none of its cards.
    #[error(
        "a machine with none of guest {guest}'s network cards used its identity: it is a copy, and is refused until \
         the hypervisor says which guest it is"
    )]
    Strange {
        /// Whose identity it is.
        guest: Guest,
    },
    /// Shown by a machine with network cards that more than one guest has.
    #[error(
        "a machine with a network card that guests {guest} and {other} both have used the identity of guest {guest}: \
         Pinion lets none of them in before it has looked into each; `pinion status` says what prevents that"
    )]
    Alike {
        /// Whose identity it is.
        guest: Guest,
        /// Who else it may be.
        other: Vmid,
    },
    /// Shown before the hypervisor has told which guests there are, by what is not known to be the guest.
    #[error(
        "an unknown machine used the identity of guest {guest}, and Pinion has no list of Proxmox's guests yet: the \
         machine is refused until then; `pinion status` says what prevents that"
    )]
    NotKnownYet {
        /// Whose identity it is.
        guest: Guest,
    },
    /// Shown by two machines in turns; the guest is now locked.
    #[error(
        "two machines use the identity of guest {guest} in turns, and it is now locked: {one}, and {other}; make \
         sure that only one of them runs, then run `pinion guest enroll {guest}`"
    )]
    Twins {
        /// Whose identity it is.
        guest: Guest,
        /// The one that came back.
        one: String,
        /// The one that had taken its place.
        other: String,
    },
    /// The guest was locked before this call.
    #[error("guest {guest} is locked ({why}): run `pinion guest unlock {guest}`, and let it join with a new token")]
    Locked {
        /// The guest that the identity is for.
        guest: Guest,
        /// Why the guest was locked.
        why: String,
    },
    /// The guest's record cannot be read or written.
    #[error("cannot read the guest's record")]
    Store(#[from] StoreError),
}

/// Why an identity was not given; for the log and the event.
#[derive(Debug, Error)]
pub enum JoinRefused {
    /// The join token is not valid.
    #[error(transparent)]
    Token(#[from] TokenRefused),
    /// The identity that was shown.
    #[error(transparent)]
    Identity(#[from] Refused),
    /// The certificate request cannot be signed.
    #[error("cannot sign the identity")]
    Sign(#[from] IdentityError),
    /// The identity cannot be recorded, so it is not given out.
    #[error("cannot record the identity")]
    Store(#[from] StoreError),
}

impl JoinRefused {
    /// All that the one who asked learns: the same for every reason, so that guesses teach nothing.
    #[must_use]
    pub fn told() -> &'static str {
        "the request for an identity was refused; the controller's log says why"
    }
}
