//! What can happen: of the host as a whole, of an issuer, a guest, a certificate or a placement.
//!
//! Answers: which events are there?
//! Invariant: an event is made from one of these types alone. What it is called, and its sentence, are in `words`.

use std::{net::SocketAddr, time::Duration};

use pinion_proto::{
    bundle::Fingerprint,
    clock::Timestamp,
    id::{CertificateName, Guest, PlacementId, Vmid},
    message::Purged,
    report::Original,
    spec::PlainName,
    stage::{Stage, Trouble},
};

use super::document::Document;

/// Something that happened, and to what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    /// To the controller, or the host as a whole.
    Host(HostEvent),
    /// To an issuer.
    Issuer(PlainName, IssuerEvent),
    /// To a guest.
    Guest(Guest, GuestEvent),
    /// To a certificate, in every place.
    Certificate(CertificateName, CertificateEvent),
    /// To a placement.
    Placement(PlacementId, PlacementEvent),
}

/// What happens to the controller, or to the host as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HostEvent {
    /// The controller has started.
    Started { address: SocketAddr, trust_domain: String, root: Fingerprint },
    /// The controller stops.
    Stops,
    /// A manifest is in force.
    ManifestInForce { certificates: usize, placements: usize },
    /// The manifest's file is not taken; `since` is when the one in force was, where the controller has just started.
    ManifestRejected { since: Option<Timestamp>, problem: String },
    /// Proxmox's files cannot be read.
    InventoryUnknown(Trouble),
    /// They can be read again.
    InventoryKnown,
    /// Which guests run is not known.
    RunningUnknown(Trouble),
    /// It is known again.
    RunningKnown,
    /// Several guests have the same network card.
    SameNetworkCard(Trouble),
    /// None have any more.
    NetworkCardsDiffer,
    /// The clock was set back, and these are renewed for it.
    ClockMovedBack { to: Timestamp, renewed: Vec<PlacementId> },
    /// The state that nodes share cannot be written.
    SharedStateUnwritable(String),
    /// It can be written again.
    SharedStateWritable,
    /// A document cannot be read.
    Unreadable(Document, String),
    /// The record of evictions can be read again.
    EvictionsReadable,
    /// This node's authority for identities is renewed after it could not be.
    NodeAuthorityRenewed,
    /// It cannot be renewed.
    NodeAuthorityFails(String),
    /// Someone without an identity was refused.
    Refused(String),
    /// Callers without an identity bring about more events than are written.
    EventsLeftOut,
    /// A follower of the events was too slow for so many.
    EventsMissed(u64),
    /// Something is frozen.
    Frozen { what: String, end: String },
    /// A freeze is lifted.
    FreezeLifted(String),
    /// A freeze has ended.
    FreezeEnded(String),
    /// A person asks for the renewal of so many placements.
    RenewalAsked(usize),
    /// A user of Proxmox's has signed in on the page; an almighty one can change permissions on `/`.
    SignedIn { user: String, may_renew: bool, is_almighty: bool },
}

/// What happens to an issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum IssuerEvent {
    /// It has one more root.
    NewRoot { root: Fingerprint, not_after: Timestamp },
    /// It has given a root up.
    RootGone(Fingerprint),
    /// It signs under another root.
    SignsUnder(Fingerprint),
}

/// What happens to a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GuestEvent {
    /// It is linked.
    Linked,
    /// It is not any more.
    Unlinked(String),
    /// It has got an identity.
    Joined(u64),
    /// It has renewed its identity.
    IdentityRenewed(u64),
    /// Someone who shows its identity, or claims to be it, was refused.
    Refused(String),
    /// It brings about more events than are written.
    EventsLeftOut,
    /// It was rolled back, which this shows, and joins anew through the hypervisor.
    RolledBack(String),
    /// It is locked, because of this.
    Locked(String),
    /// Its `vmgenid` has changed.
    OtherVmgenid,
    /// What is linked as this guest may be a copy of it.
    MayBeCopy,
    /// That it is refused cannot be written.
    RefusalUnwritten(String),
    /// It was destroyed, with so many placements.
    Destroyed(usize),
    /// It was destroyed, and its identity cannot be refused yet.
    DestroyedNotRefused(String),
    /// A guest with the number of a destroyed one was made.
    MadeAnew,
    /// A person has taken note of its end.
    EndNoted,
    /// A person evicts it: its identity is refused, which cannot be written where there is a reason.
    Evicted(Option<String>),
    /// What the eviction does.
    EvictionStep(String),
    /// It is evicted, and the agent is out of it.
    AgentRemoved,
    /// It is evicted, and this keeps the agent from being removed.
    AgentStays(String),
    /// That it is refused, because it is evicted, cannot be written.
    EvictionUnwritten(String),
    /// It is evicted, and has linked.
    LinkedWhileEvicted,
    /// It is evicted no longer.
    LetIn,
    /// A person unlocks it.
    Unlocked,
    /// A person has it forgotten.
    Forgotten,
    /// A person has made a join token for it.
    TokenMade,
    /// Something happens to the name by which the manifest means it.
    Name(NameEvent),
    /// A person has it enrolled.
    EnrolAsked,
    /// A person, or a hookscript, says that it has started.
    WakeAsked,
    /// Enrolling it has come so far.
    Enrolled(String),
    /// The packaged agent went wrong in it, and the one before is put back.
    AgentPutBack(String),
    /// This keeps it from being enrolled.
    NotEnrolled(Trouble),
}

/// What happens to the name by which the manifest means a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NameEvent {
    /// The guest has it no more.
    Lost(Trouble),
    /// The guest has it again.
    Again(String),
    /// The guest has it, which belonged to one that is gone.
    TakenOver { name: String, from: Vmid },
    /// A person says that it means this guest.
    Accepted(String),
}

/// What happens to a certificate, in every place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CertificateEvent {
    /// Its shared key cannot be read.
    SharedKeyUnreadable(String),
    /// Its shared key is given up.
    SharedKeyGivenUp,
}

/// What happens to a placement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PlacementEvent {
    /// A certificate was signed for it; `shortened_to` is the longest that the issuer allows, where that was less than asked for.
    Issued { issuer: PlainName, generation: u64, serial: String, not_after: Timestamp, shortened_to: Option<Duration> },
    /// No certificate was signed for it.
    NotIssued { generation: Option<u64>, trouble: Trouble },
    /// It is renewed with the shared key that there is, because a new one cannot be written.
    SharedKeyWaits(String),
    /// The guest's request is not what was ordered.
    RequestRefused { generation: u64, why: String },
    /// It has come to another stage; `back` says that it is with the certificate before.
    Stage { stage: Stage, back: bool, generation: u64, serial: String },
    /// It is held up in its guest.
    HeldUp(Trouble),
    /// What it holds has expired, or its renewal is due and this holds it up; without a generation where it is only watched.
    Expiry { expired: bool, generation: Option<u64>, serial: String, not_after: Timestamp, trouble: Option<Trouble> },
    /// The manifest does not name it any more.
    Retired,
    /// A person wants its files removed.
    PurgeAsked,
    /// What came of the removal of its files.
    Purged(Box<Purged>),
    /// It has taken over a pair that was there before Pinion, as it is.
    Adopted { generation: u64, serial: String, not_after: Timestamp },
    /// What is only watched shows another certificate than before.
    Watched { serial: String, not_after: Timestamp },
    /// It gets a certificate of its own in place of the pair that was there before Pinion; this is why.
    NotAdopted(String),
    /// It replaces a file that was there before Pinion.
    Replaces(Box<Original>),
    /// A certificate of it was revoked.
    Revoked { issuer: PlainName, generation: u64, serial: String, compromised: bool },
    /// A certificate of it was not revoked.
    NotRevoked { issuer: PlainName, generation: u64, serial: String, cause: String },
}

impl PlacementEvent {
    /// The stage that it has come to; none if it went back.
    pub(super) const fn reached(&self) -> Option<Stage> {
        match self {
            Self::Stage { stage, back: false, .. } => Some(*stage),
            _ => None,
        }
    }

    /// Which generation and serial number it is about.
    pub(super) fn content(&self) -> (Option<u64>, Option<&str>) {
        match self {
            Self::Issued { generation, serial, .. }
            | Self::Stage { generation, serial, .. }
            | Self::Adopted { generation, serial, .. }
            | Self::Revoked { generation, serial, .. }
            | Self::NotRevoked { generation, serial, .. } => (Some(*generation), Some(serial)),
            Self::Expiry { generation, serial, .. } => (*generation, Some(serial)),
            Self::Watched { serial, .. } => (None, Some(serial)),
            Self::RequestRefused { generation, .. } => (Some(*generation), None),
            Self::NotIssued { generation, .. } => (*generation, None),
            Self::SharedKeyWaits(_)
            | Self::HeldUp(_)
            | Self::Retired
            | Self::PurgeAsked
            | Self::Purged(_)
            | Self::NotAdopted(_)
            | Self::Replaces(_) => (None, None),
        }
    }
}
