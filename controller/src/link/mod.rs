//! The controller's end of the links: agents dial in, states go both ways.
//!
//! Answers: who is there, what do they say, and how does something reach them?
//! Invariant: what leaves this module is typed and comes from a guest whose identity was verified and is
//! current; a stranger on the port costs a bounded amount of memory for a bounded time.

mod admission;
mod beginning;
mod hoard;
mod large;
pub mod listener;
mod nursery;
mod pace;
pub mod service;

use pinion_proto::{
    id::{Guest, Vmid},
    message::{Hello, ToAgent, ToController},
};
use tokio::sync::mpsc;

use crate::identity::Refused;

/// What the links tell the reconcile loop.
#[derive(Debug)]
pub enum LinkInput {
    /// A guest has come, perhaps once more: its earlier session is over.
    Up {
        /// Which guest.
        guest: Guest,
        /// Which of its sessions.
        session: SessionId,
        /// Everything that it holds.
        hello: Hello,
        /// The way to it. Dropping it ends the session.
        outbound: Outbound,
    },
    /// A guest says something.
    Message {
        /// Which guest.
        guest: Guest,
        /// On which of its sessions.
        session: SessionId,
        /// What it says.
        message: ToController,
    },
    /// A session is over.
    Down {
        /// Which guest.
        guest: Guest,
        /// Which of its sessions.
        session: SessionId,
        /// Why, for people.
        why: String,
    },
    /// Something a person should know: a refused join, link or renewal.
    Refused {
        /// Who it claimed to be, where that is known.
        guest: Option<Guest>,
        /// Whether it showed no identity.
        stranger: bool,
        /// What was refused and why.
        what: String,
    },
    /// Someone showed a guest's identity and was not let in.
    TurnedAway {
        /// Whose identity it was.
        guest: Guest,
        /// What that says of the guest.
        refused: Turned,
    },
    /// A guest has got an identity.
    Joined {
        /// Which guest.
        guest: Guest,
        /// The identity's number.
        generation: u64,
        /// By joining, or by renewing on the link.
        renewed: bool,
    },
}

/// What a refused link says of the guest whose identity was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turned {
    /// There may be two of it, and nobody knows which of them is linked: the guest is locked.
    Locked,
    /// It runs, and has no identity that is good.
    Outcast,
    /// It runs, and its identity is newer than what is on record here.
    Newer,
    /// Nothing: another guest is a copy of it.
    Copy(Vmid),
    /// Nothing.
    Nothing,
}

impl Turned {
    fn by(refused: &Refused) -> Self {
        match refused {
            Refused::Stale { .. } | Refused::Twins { .. } | Refused::Locked { .. } => Self::Locked,
            Refused::RolledBack { .. }
            | Refused::MachineChanged { .. }
            | Refused::Replaced { .. }
            | Refused::Unknown { .. } => Self::Outcast,
            Refused::Newer { .. } => Self::Newer,
            Refused::Copy { really, .. } => Self::Copy(*really),
            Refused::Strange { .. } | Refused::Alike { .. } | Refused::NotKnownYet { .. } | Refused::Store(_) => {
                Self::Nothing
            }
        }
    }
}

/// One of a guest's sessions: a number that grows with each connection that comes in, so that of two the later one is
/// known whichever says hello first. A connection carries one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(u64);

/// The way to a linked agent. Boxed, because a queue has room for 32 messages, whatever their size, as soon as it is
/// made (tokio `sync/mpsc/block.rs`).
pub type Outbound = mpsc::Sender<Box<ToAgent>>;

/// How many messages wait for a slow agent; the loop sends states, so a full queue loses nothing for long.
const OUTBOUND_QUEUE: usize = 16;
