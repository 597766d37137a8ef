//! An example of every event, for docs/reference/events.md.
//!
//! Invariant: every variant of `what` is here; a test compares.

use std::{net::SocketAddr, time::Duration};

use pinion_proto::{
    bundle::Fingerprint,
    clock::Timestamp,
    id::{CertificateName, Guest, PlacementId, Vmid},
    message::Purged,
    report::Original,
    spec::{GuestPath, PlainName},
    stage::{Halt, Stage, Trouble},
};

use super::{
    Document, Event,
    what::{CertificateEvent, GuestEvent, HostEvent, IssuerEvent, NameEvent, PlacementEvent, What},
};

/// An event of every form, in the order of the code.
///
/// # Panics
/// Never: what is parsed is written here.
#[must_use]
pub fn examples() -> Vec<Event> {
    all().into_iter().map(|what| what.at(at())).collect()
}

fn all() -> Vec<What> {
    let mut all: Vec<_> = host().into_iter().map(What::Host).collect();
    all.extend(issuer().map(|event| What::Issuer(parsed("step-ca"), event)));
    all.extend(guest().into_iter().chain(names()).map(|event| What::Guest(parsed::<Guest>("1001"), event)));
    let certificate = || parsed::<CertificateName>("web");
    all.push(What::Certificate(certificate(), CertificateEvent::SharedKeyUnreadable(because())));
    all.push(What::Certificate(certificate(), CertificateEvent::SharedKeyGivenUp));
    all.extend(placement().into_iter().map(|event| What::Placement(web(), event)));
    all
}

fn host() -> Vec<HostEvent> {
    let address = SocketAddr::from(([0, 0, 0, 0], 7443));
    let documents = [
        Document::Reports,
        Document::Departures,
        Document::Evictions,
        Document::Freezes,
        Document::GuestNames,
        Document::Revocations,
        Document::SharedKeys,
        Document::Undelivered,
        Document::Journal,
    ];
    let mut host = vec![
        HostEvent::Started { address, trust_domain: "bea0d546.pinion".into(), root: root() },
        HostEvent::Stops,
        HostEvent::ManifestInForce { certificates: 2, placements: 5 },
        HostEvent::ManifestRejected { since: None, problem: "12:9 certificates[1].name: …".into() },
        HostEvent::InventoryUnknown(trouble("read /etc/pve", "pmxcfs is not mounted there")),
        HostEvent::InventoryKnown,
        HostEvent::RunningUnknown(trouble("list the running guests", "permission denied")),
        HostEvent::RunningKnown,
        HostEvent::SameNetworkCard(trouble("tell guests 1001 and 1002 apart", "they have the same network card")),
        HostEvent::NetworkCardsDiffer,
        HostEvent::ClockMovedBack { to: at(), renewed: vec![web()] },
        HostEvent::SharedStateUnwritable("cannot write the shared state: read-only file system".into()),
        HostEvent::SharedStateWritable,
    ];
    host.extend(documents.map(|document| HostEvent::Unreadable(document, because())));
    host.extend([
        HostEvent::EvictionsReadable,
        HostEvent::NodeAuthorityRenewed,
        HostEvent::NodeAuthorityFails(because()),
        HostEvent::Refused("a join from 10.0.0.77: its token is unknown, used or too old".into()),
        HostEvent::EventsLeftOut,
        HostEvent::EventsMissed(12),
        HostEvent::Frozen { what: "docker".into(), end: format!("until {}", at()) },
        HostEvent::FreezeLifted("docker".into()),
        HostEvent::FreezeEnded("docker".into()),
        HostEvent::RenewalAsked(3),
        HostEvent::SignedIn { user: "anna@pve!page".into(), may_renew: false, is_almighty: false },
    ]);
    host
}

fn issuer() -> [IssuerEvent; 3] {
    [
        IssuerEvent::NewRoot { root: root(), not_after: at() },
        IssuerEvent::RootGone(root()),
        IssuerEvent::SignsUnder(root()),
    ]
}

fn guest() -> Vec<GuestEvent> {
    vec![
        GuestEvent::Linked,
        GuestEvent::Unlinked("the connection was closed".into()),
        GuestEvent::Joined(1),
        GuestEvent::IdentityRenewed(2),
        GuestEvent::Refused("its identity is not the newest".into()),
        GuestEvent::EventsLeftOut,
        GuestEvent::RolledBack("its link counter is lower than before".into()),
        GuestEvent::Locked("two machines use its identity in turns".into()),
        GuestEvent::OtherVmgenid,
        GuestEvent::MayBeCopy,
        GuestEvent::RefusalUnwritten(because()),
        GuestEvent::Destroyed(2),
        GuestEvent::DestroyedNotRefused(because()),
        GuestEvent::MadeAnew,
        GuestEvent::EndNoted,
        GuestEvent::Evicted(None),
        GuestEvent::Evicted(Some(because())),
        GuestEvent::EvictionStep("web@1001: 0A1B is revoked".into()),
        GuestEvent::AgentRemoved,
        GuestEvent::AgentStays("it does not run".into()),
        GuestEvent::EvictionUnwritten(because()),
        GuestEvent::LinkedWhileEvicted,
        GuestEvent::LetIn,
        GuestEvent::Unlocked,
        GuestEvent::Forgotten,
        GuestEvent::TokenMade,
        GuestEvent::EnrolAsked,
        GuestEvent::WakeAsked,
        GuestEvent::Enrolled("the agent is installed".into()),
        GuestEvent::AgentPutBack("the new agent does not link".into()),
        GuestEvent::NotEnrolled(trouble("install the agent in guest 1001", "its disk is full")),
    ]
}

fn names() -> [GuestEvent; 4] {
    let trouble = trouble("find the guest web", "guest 101 is named web-old now; web is guest 102 now");
    [
        NameEvent::Lost(trouble),
        NameEvent::Again("web".into()),
        NameEvent::TakenOver { name: "web".into(), from: Vmid::try_from(101).expect("the constant is a VMID") },
        NameEvent::Accepted("web".into()),
    ]
    .map(GuestEvent::Name)
}

fn placement() -> Vec<PlacementEvent> {
    let (issuer, serial) = (|| parsed::<PlainName>("step-ca"), || "0A1B".to_owned());
    let issued = |shortened_to| PlacementEvent::Issued {
        issuer: issuer(),
        generation: 3,
        serial: serial(),
        not_after: at(),
        shortened_to,
    };
    let expiry = |expired| PlacementEvent::Expiry {
        expired,
        generation: Some(3),
        serial: serial(),
        not_after: at(),
        trouble: Some(trouble("have web@1001 signed", "step-ca is unreachable")),
    };
    let stage = |stage, back| PlacementEvent::Stage { stage, back, generation: 3, serial: serial() };
    let revoked =
        |compromised| PlacementEvent::Revoked { issuer: issuer(), generation: 2, serial: serial(), compromised };
    let purged = |named: &[&str]| {
        let named = named.iter().map(|line| (*line).to_owned()).collect();
        PlacementEvent::Purged(Box::new(Purged { named, ..Purged::all(parsed("web")) }))
    };
    let path = || parsed::<GuestPath>("/etc/nginx/ssl/web.crt");
    vec![
        issued(None),
        issued(Some(Duration::from_secs(86_400))),
        PlacementEvent::NotIssued {
            generation: Some(3),
            trouble: trouble("have web@1001 signed", "step-ca is unreachable"),
        },
        PlacementEvent::SharedKeyWaits(because()),
        PlacementEvent::RequestRefused { generation: 3, why: "it asks for other names".into() },
        stage(Stage::Served, false),
        stage(Stage::Served, true),
        PlacementEvent::HeldUp(trouble("reload nginx.service", "the unit is not active")),
        expiry(false),
        expiry(true),
        PlacementEvent::Retired,
        PlacementEvent::PurgeAsked,
        purged(&[]),
        purged(&["/etc/nginx/sites-enabled/web:4 names /etc/nginx/ssl/web.crt"]),
        PlacementEvent::Adopted { generation: 1, serial: serial(), not_after: at() },
        PlacementEvent::Watched { serial: serial(), not_after: at() },
        PlacementEvent::NotAdopted(
            "/etc/nginx/ssl/web.key has mode 0644: others than its owner could have read or changed it".into(),
        ),
        PlacementEvent::Replaces(Box::new(Original {
            path: path(),
            subject: "CN=web.internal.example".into(),
            issuer: "CN=old CA".into(),
            not_after: Some(at()),
            kept: Some(parsed("/var/lib/pinion-agent/replaced/1/etc/nginx/ssl/web.crt")),
            key: None,
        })),
        revoked(false),
        revoked(true),
        PlacementEvent::NotRevoked { issuer: issuer(), generation: 2, serial: serial(), cause: because() },
    ]
}

/// A moment like those of the examples in the documents.
fn at() -> Timestamp {
    Timestamp::from_unix(1_797_850_800)
}

fn web() -> PlacementId {
    parsed("web@1001")
}

fn root() -> Fingerprint {
    parsed(&"6f".repeat(32))
}

fn because() -> String {
    "permission denied".into()
}

fn trouble(attempt: &str, cause: &str) -> Trouble {
    Trouble { halt: Halt::Waiting, attempt: attempt.into(), cause: cause.into(), remedy: "…".into(), retry_at: None }
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("the constant is valid")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_has_an_example() {
        let examples: Vec<_> = all().iter().map(|what| format!("{what:?}")).collect();
        let mut variants = 0;
        // A variant stands in a line of its own, four columns in.
        for line in include_str!("what.rs").lines() {
            let Some(rest) = line.strip_prefix("    ").filter(|rest| rest.starts_with(char::is_uppercase)) else {
                continue;
            };
            let name: String = rest.chars().take_while(|c| c.is_alphanumeric()).collect();
            variants += 1;
            assert!(examples.iter().any(|example| example.contains(&name)), "no example of {name} in examples.rs");
        }
        assert!(variants > 70, "{variants}");
    }
}
