//! What the admin socket asks the loop, sorted by when it is answered.
//!
//! Invariant: the loop is asked nothing that it cannot answer, and a guest is named by its number: what a person typed
//! was resolved before.

use pinion_proto::{examination::Subject, id::Guest};
use tokio::sync::mpsc;

use super::{
    caller::Caller,
    protocol::{Answer, AskFreeze, AskShow, Ensure, Selection},
    purge::AskPurge,
};

use crate::manifest::{GuestName, Manifest};

/// A question for the loop, and where its answers go.
#[derive(Debug)]
pub struct Request {
    /// The question.
    pub question: Question,
    /// Who asks.
    pub caller: Caller,
    /// Its answers.
    pub answers: mpsc::Sender<Answer>,
}

/// A question for the loop.
#[derive(Debug)]
pub enum Question {
    /// One that is answered at once.
    AtOnce(AtOnce),
    /// One that is answered from the next plan.
    FromPlan(FromPlan),
    /// One whose answers come as things happen.
    Waits(Waits),
}

/// What is answered at once.
#[derive(Debug)]
pub enum AtOnce {
    /// Freeze placements, or lift freezes.
    Freeze(AskFreeze),
    /// A guest was evicted: its identity is refused already.
    Evict {
        /// The guest.
        guest: Guest,
        /// Whether what it held is revoked.
        compromised: bool,
    },
    /// A guest was forgotten: its identity is gone already.
    Forget(Guest),
    /// Note the end of a guest that was destroyed.
    NoteEnd(Guest),
    /// A person says that the manifest means the guest that has this name now.
    AcceptName(GuestName),
    /// A guest has been started or changed.
    Wake(Guest),
    /// A person has made a token for a guest, or taken its lock away.
    LetIn(Guest),
}

/// What is answered from the next plan.
#[derive(Debug)]
pub enum FromPlan {
    /// Everything that is known.
    Status(Selection),
    /// One guest or placement.
    Show(AskShow),
    /// Everything that would be done now.
    Plan,
    /// Everything that would be done if this were the manifest.
    PlanOf(Box<Manifest>),
    /// Remove the files of retired placements.
    Purge(AskPurge),
}

/// What is answered as things happen.
#[derive(Debug)]
pub enum Waits {
    /// Make placements so.
    Ensure(Ensure),
    /// Bring an agent and an identity into a guest.
    Enroll(Guest),
    /// Ask guests' agents what they see; none means all that are linked.
    Examine {
        /// Which guests.
        guests: Option<Vec<Guest>>,
        /// What is asked.
        subject: Subject,
    },
}
