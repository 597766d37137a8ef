//! The controller's end of the links: agents dial in, states go both ways.
//!
//! Answers: who is there, what do they say, and how does something reach them?
//! Invariant: what leaves this module is typed and comes from a guest whose identity was verified and is
//! current; a stranger on the port costs a bounded amount of memory for a bounded time.

mod admission;
mod beginning;
mod disk;
mod large;
pub mod listener;
mod http2_thread;
mod rates;
mod report_quota;
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
    MustRejoin,
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
            | Refused::Unknown { .. } => Self::MustRejoin,
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

#[cfg(test)]
impl SessionId {
    /// The session of this number.
    pub(crate) fn number(number: u64) -> Self {
        Self(number)
    }
}

/// The way to a linked agent. Boxed, because a queue has room for 32 messages, whatever their size, as soon as it is
/// made (tokio `sync/mpsc/block.rs`).
pub type Outbound = mpsc::Sender<Box<ToAgent>>;

/// How many messages wait for a slow agent; the loop sends states, so a full queue loses nothing for long.
const OUTBOUND_QUEUE: usize = 16;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pinion_proto::{clock::SystemClock, message::JoinRequest, report::GuestFacts, tls};
    use rustls::pki_types::CertificateDer;

    use super::*;
    use crate::{
        identity::{Identities, NoMachines},
        store::{Store, StoreError},
    };

    #[test]
    fn what_a_refused_link_says_of_its_guest() {
        let guest: Guest = "101".parse().expect("a guest");
        let other = Vmid::try_from(102).expect("a VMID");
        let (one, two) = ("a".to_owned(), "b".to_owned());
        for (refused, turned) in [
            (Refused::Stale { guest }, Turned::Locked),
            (Refused::Twins { guest, one, other: two }, Turned::Locked),
            (Refused::Locked { guest, why: "x".into() }, Turned::Locked),
            (Refused::RolledBack { guest }, Turned::MustRejoin),
            (Refused::MachineChanged { guest }, Turned::MustRejoin),
            (Refused::Replaced { guest }, Turned::MustRejoin),
            (Refused::Unknown { guest }, Turned::MustRejoin),
            (Refused::Newer { guest }, Turned::Newer),
            (Refused::Copy { guest, really: other }, Turned::Copy(other)),
            (Refused::Strange { guest }, Turned::Nothing),
            (Refused::Alike { guest, other }, Turned::Nothing),
            (Refused::NotKnownYet { guest }, Turned::Nothing),
            // What cannot be read says nothing of whoever called.
            (Refused::Store(StoreError::Locked { path: "/x".into() }), Turned::Nothing),
        ] {
            assert_eq!(Turned::by(&refused), turned, "{refused}");
        }
    }

    #[tokio::test]
    async fn good_is_the_identity_that_was_seen_last_or_given_since_of_a_guest_that_is_not_locked() {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Store::open(&directory.path().join("local"), &directory.path().join("shared")).expect("a store");
        let clock = Arc::new(SystemClock);
        let identities = Identities::open(&Arc::new(store), clock.clone(), None, Arc::new(NoMachines));
        let identities = Arc::new(identities.expect("identities"));
        let services = service::Services::new(identities.clone(), clock, mpsc::channel(16).0);
        let guest: Guest = "101".parse().expect("a guest");
        let csr = || {
            let key = rcgen::KeyPair::generate().expect("a key");
            rcgen::CertificateParams::default().serialize_request(&key).expect("a request").der().to_vec()
        };
        let peer =
            |chain: &[Vec<u8>]| Arc::new(tls::peer(&[CertificateDer::from(chain[0].as_slice())]).expect("an identity"));
        let secret = identities.create_token(guest, Vec::new()).expect("a token").secret;
        let request = JoinRequest { guest, secret, csr: csr(), facts: GuestFacts::default() };
        let now = pinion_proto::clock::Clock::now(&SystemClock);
        let first = peer(&identities.join(&request, now).expect("joined").chain);
        assert!(services.is_good(guest, &first).await);
        assert!(!services.is_good("102".parse().expect("a guest"), &first).await, "of another guest");
        let next = peer(&identities.renew(guest, &first, &csr()).expect("renewed").chain);
        assert!(services.is_good(guest, &first).await && services.is_good(guest, &next).await);
        let caller = crate::identity::LinkCaller {
            facts: &GuestFacts::default(),
            from: "10.0.0.5:1".parse().expect("an address"),
        };
        identities.admit(guest, &next, caller).expect("seen");
        assert!(!services.is_good(guest, &first).await && services.is_good(guest, &next).await);
        identities.lock(guest, "a test").expect("written");
        assert!(!services.is_good(guest, &next).await, "locked");
        identities.forget(guest).expect("forgotten");
        assert!(!services.is_good(guest, &next).await, "forgotten");
    }

    #[test]
    fn of_two_sessions_the_later_connection_is_the_later_one() {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Store::open(&directory.path().join("local"), &directory.path().join("shared")).expect("a store");
        let clock = Arc::new(SystemClock);
        let identities = Identities::open(&Arc::new(store), clock.clone(), None, Arc::new(NoMachines));
        let services = service::Services::new(Arc::new(identities.expect("identities")), clock, mpsc::channel(1).0);
        let [first, second, third] = [(); 3].map(|()| services.next_session());
        assert!(first < second && second < third);
    }
}
