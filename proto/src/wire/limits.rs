//! How many elements each repeated field may have in one message.
//!
//! Answers: which fields of which messages can make a short message large in memory?
//! Invariant: every field of the contract that is repeated, or holds a message, is in this table
//! (`count::tests::the_table_is_the_contracts` compares it with the `.proto` files).

use super::{
    controllers::{MAX_ADDRESSES, MAX_NODES},
    pb,
};
use crate::{
    bundle::MAX_CHAIN,
    examination::{MAX_CERTIFICATES, MAX_FINDINGS, MAX_LISTENERS, MAX_SHOWN_NAMES},
    spec::{MAX_ROOTS, MAX_SERVICES, Part},
};

/// No guest holds more placements.
pub const MAX_PLACEMENTS: usize = 1000;

/// Files of earlier specs that a report names; where there are more, the first ones show what is to be done.
pub(super) const MAX_LEFT_BEHIND: usize = 100;

/// Files of before Pinion that a report names, and copies of them that a purge names.
pub const MAX_ORIGINALS: usize = 16;

/// Places in configurations that name a placement's files: where there are more, the first ones show what is to be done.
pub const MAX_NAMED: usize = 16;

/// An agent knows one root, and another while one takes the other's place.
pub const MAX_TRUSTED: usize = 4;

/// Proxmox gives a guest at most 32 network cards; bridges and tunnels in it come on top.
pub const MAX_HWADDRS: usize = 64;

/// A message whose size in memory is known before it is decoded.
pub trait Bounded: prost::Message + Default + Send + 'static {
    /// Its part of the table.
    #[doc(hidden)]
    const SHAPE: &'static Shape;
}

macro_rules! bounded {
    ($($message:ident => $shape:ident),+) => {
        $(impl Bounded for pb::$message {
            const SHAPE: &'static Shape = &$shape;
        })+
    };
}

bounded!(JoinRequest => JOIN_REQUEST, JoinResponse => JOIN_RESPONSE, ToController => TO_CONTROLLER, ToAgent => TO_AGENT);

/// The fields of a message that count.
#[derive(Debug)]
pub struct Shape {
    /// As the `.proto` files name it.
    #[cfg_attr(not(test), expect(dead_code, reason = "what the table is compared by"))]
    pub(super) name: &'static str,
    pub(super) fields: &'static [Field],
}

/// A field that is repeated or holds a message.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) tag: u32,
    /// Unique in the table: what is counted is counted by it.
    pub(super) name: &'static str,
    pub(super) holds: Holds,
    pub(super) repeated: Option<Limit>,
}

/// What a field's bytes are.
#[derive(Debug)]
pub(super) enum Holds {
    /// A string or a byte string.
    Bytes,
    /// A field that contains another message, with its own table.
    Message(&'static Shape),
}

/// How often a field may occur.
#[derive(Debug)]
pub(super) struct Limit {
    /// In one message, wherever in it.
    pub(super) max: usize,
    /// What an element takes in a vector (bytes), without what its strings point to.
    pub(super) each: usize,
}

const fn one(tag: u32, name: &'static str, shape: &'static Shape) -> Field {
    Field { tag, name, holds: Holds::Message(shape), repeated: None }
}

const fn messages<T>(tag: u32, name: &'static str, shape: &'static Shape, max: usize) -> Field {
    Field { tag, name, holds: Holds::Message(shape), repeated: Some(Limit { max, each: size_of::<T>() }) }
}

/// Strings and byte strings take as much.
const fn texts(tag: u32, name: &'static str, max: usize) -> Field {
    Field { tag, name, holds: Holds::Bytes, repeated: Some(Limit { max, each: size_of::<String>() }) }
}

const fn plain(name: &'static str) -> Shape {
    Shape { name, fields: &[] }
}

/// More names than 300 placements of 400 names each; one placement has at most 500.
const MAX_NAMES: usize = 128 * 1024;

/// A placement has a file for each part, and there may be more parts one day.
const MAX_FILES: usize = MAX_PLACEMENTS * if Part::ALL.len() > 16 { Part::ALL.len() } else { 16 };

static JOIN_REQUEST: Shape = Shape { name: "JoinRequest", fields: &[one(4, "join_request.facts", &GUEST_FACTS)] };

static JOIN_RESPONSE: Shape = Shape { name: "JoinResponse", fields: &[texts(1, "join_response.chain_der", MAX_CHAIN)] };

static GUEST_FACTS: Shape = Shape { name: "GuestFacts", fields: &[texts(5, "facts.hwaddrs", MAX_HWADDRS)] };

static TO_CONTROLLER: Shape = Shape {
    name: "ToController",
    fields: &[
        one(1, "to_controller.hello", &HELLO),
        one(2, "to_controller.report", &PLACEMENT_REPORT),
        one(3, "to_controller.purged", &PURGED),
        one(5, "to_controller.examined", &EXAMINED),
    ],
};

static HELLO: Shape = Shape {
    name: "Hello",
    fields: &[
        one(1, "hello.facts", &GUEST_FACTS),
        messages::<pb::PlacementReport>(3, "hello.reports", &PLACEMENT_REPORT, MAX_PLACEMENTS),
        texts(5, "hello.roots", MAX_TRUSTED),
    ],
};

static EXAMINED: Shape = Shape {
    name: "Examined",
    fields: &[
        texts(3, "examined.left_out", MAX_FINDINGS),
        messages::<pb::GuestFinding>(4, "examined.findings", &GUEST_FINDING, MAX_FINDINGS),
        messages::<pb::Listener>(5, "examined.listeners", &LISTENER, MAX_LISTENERS),
        messages::<pb::FileCertificate>(6, "examined.certificates", &FILE_CERTIFICATE, MAX_CERTIFICATES),
    ],
};

static GUEST_FINDING: Shape = plain("GuestFinding");
static LISTENER: Shape = Shape { name: "Listener", fields: &[one(4, "listener.shows", &SEEN_CERTIFICATE)] };
static FILE_CERTIFICATE: Shape =
    Shape { name: "FileCertificate", fields: &[one(2, "file_certificate.holds", &SEEN_CERTIFICATE)] };
static SEEN_CERTIFICATE: Shape = Shape {
    name: "SeenCertificate",
    fields: &[texts(1, "seen_certificate.names", (MAX_LISTENERS + MAX_CERTIFICATES) * MAX_SHOWN_NAMES)],
};

static PURGED: Shape = Shape {
    name: "Purged",
    fields: &[
        texts(2, "purged.left", MAX_PLACEMENTS),
        texts(4, "purged.restored", MAX_ORIGINALS),
        texts(5, "purged.kept", MAX_ORIGINALS),
        texts(6, "purged.named", MAX_NAMED),
    ],
};

static PLACEMENT_REPORT: Shape = Shape {
    name: "PlacementReport",
    fields: &[
        one(4, "report.held", &HELD),
        one(5, "report.incoming", &INCOMING),
        one(6, "report.trouble", &TROUBLE),
        texts(8, "report.left_behind", MAX_PLACEMENTS * MAX_LEFT_BEHIND),
        texts(11, "report.roots", MAX_PLACEMENTS * MAX_ROOTS),
        messages::<pb::Original>(16, "report.originals", &ORIGINAL, MAX_PLACEMENTS * MAX_ORIGINALS),
        one(17, "report.details", &DETAILS),
        one(18, "report.found", &FOUND),
        one(21, "report.watched", &WATCHED_CERTIFICATE),
        one(22, "report.timing", &TIMING),
    ],
};

static DETAILS: Shape = Shape {
    name: "Details",
    fields: &[
        texts(1, "details.files", MAX_PLACEMENTS * MAX_SERVICES),
        texts(2, "details.services", MAX_PLACEMENTS * MAX_SERVICES),
        texts(3, "details.probes", MAX_PLACEMENTS * MAX_SERVICES),
        texts(4, "details.chain", MAX_PLACEMENTS * MAX_CHAIN),
    ],
};

static FOUND: Shape = plain("Found");
static TIMING: Shape = plain("Timing");
static WATCHED_CERTIFICATE: Shape =
    Shape { name: "WatchedCertificate", fields: &[texts(1, "watched.names", MAX_PLACEMENTS * MAX_SHOWN_NAMES)] };
static HELD: Shape = plain("Held");
static INCOMING: Shape = plain("Incoming");
static TROUBLE: Shape = plain("Trouble");
static ORIGINAL: Shape = plain("Original");

static PURGE: Shape = plain("Purge");

static ENDORSED_ROOT: Shape = plain("EndorsedRoot");

static TO_AGENT: Shape = Shape {
    name: "ToAgent",
    fields: &[
        one(1, "to_agent.desired", &DESIRED),
        one(2, "to_agent.delivery", &DELIVERY),
        one(4, "to_agent.identity", &IDENTITY),
        one(6, "to_agent.controllers", &CONTROLLERS),
        one(7, "to_agent.root", &ENDORSED_ROOT),
        one(8, "to_agent.look", &LOOK),
        one(9, "to_agent.purge_files", &PURGE),
        one(11, "to_agent.examine", &EXAMINE),
    ],
};

static EXAMINE: Shape = plain("Examine");
static LOOK: Shape = Shape { name: "Look", fields: &[] };

static DESIRED: Shape = Shape {
    name: "Desired",
    fields: &[messages::<pb::PlacementSpec>(1, "desired.placements", &PLACEMENT_SPEC, MAX_PLACEMENTS)],
};

static DELIVERY: Shape = Shape { name: "Delivery", fields: &[texts(3, "delivery.chain_der", MAX_CHAIN)] };

static IDENTITY: Shape = Shape { name: "Identity", fields: &[texts(1, "identity.chain_der", MAX_CHAIN)] };

static CONTROLLERS: Shape = Shape {
    name: "Controllers",
    fields: &[messages::<pb::ControllerNode>(1, "controllers.nodes", &CONTROLLER_NODE, MAX_NODES)],
};

static CONTROLLER_NODE: Shape =
    Shape { name: "ControllerNode", fields: &[texts(2, "controller_node.addresses", MAX_NODES * MAX_ADDRESSES)] };

static PLACEMENT_SPEC: Shape = Shape {
    name: "PlacementSpec",
    fields: &[
        texts(3, "spec.names", MAX_NAMES),
        messages::<pb::FileSpec>(8, "spec.files", &FILE_SPEC, MAX_FILES),
        one(9, "spec.validate", &VALIDATE),
        one(10, "spec.reload", &RELOAD),
        one(11, "spec.probe", &PROBE),
        one(14, "spec.trouble", &TROUBLE),
        one(16, "spec.window", &WINDOW),
        texts(18, "spec.roots_der", MAX_PLACEMENTS * MAX_ROOTS),
        messages::<pb::Reload>(20, "spec.more_reloads", &RELOAD, MAX_PLACEMENTS * MAX_SERVICES),
        messages::<pb::FileSpec>(23, "spec.more_files", &FILE_SPEC, MAX_FILES),
        messages::<pb::Probe>(21, "spec.more_probes", &PROBE, MAX_PLACEMENTS * MAX_SERVICES),
        one(24, "spec.adoption", &ADOPTION),
    ],
};

static ADOPTION: Shape = plain("Adoption");

static FILE_SPEC: Shape = plain("FileSpec");
static VALIDATE: Shape = plain("Validate");
static PROBE: Shape = Shape { name: "Probe", fields: &[one(2, "probe.tls", &TLS_PROBE)] };
static TLS_PROBE: Shape = plain("TlsProbe");

static RELOAD: Shape = Shape {
    name: "Reload",
    fields: &[one(6, "reload.signal", &CONTAINER_SIGNAL), one(8, "reload.swarm", &SWARM_SECRETS)],
};

static CONTAINER_SIGNAL: Shape = plain("ContainerSignal");

static SWARM_SECRETS: Shape = Shape {
    name: "SwarmSecrets",
    fields: &[messages::<pb::SwarmSecret>(2, "swarm.secrets", &SWARM_SECRET, MAX_FILES)],
};

static SWARM_SECRET: Shape = plain("SwarmSecret");

static WINDOW: Shape = Shape {
    name: "Window",
    fields: &[messages::<pb::Opening>(1, "window.openings", &OPENING, MAX_PLACEMENTS * super::spec::MAX_OPENINGS)],
};

static OPENING: Shape = plain("Opening");
