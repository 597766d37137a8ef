//! The messages of join and link as checked values; [`crate::wire`] reads and writes them.

use std::{fmt, net::SocketAddr};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    bundle::{Chain, EndorsedRoot, Fingerprint, RootCertificate},
    examination::{Examined, Subject},
    id::{CertificateName, Guest},
    report::{GuestFacts, PlacementReport},
    spec::{GuestPath, PlacementSpec, PlainName},
};

/// A new agent's request for its identity.
#[derive(Debug)]
pub struct JoinRequest {
    /// Whom the token was made for.
    pub guest: Guest,
    /// The secret part of the join token.
    pub secret: JoinSecret,
    /// The certificate request for the identity: PKCS #10, DER.
    pub csr: Vec<u8>,
    /// What the guest says of itself.
    pub facts: GuestFacts,
}

/// The 256 bits of a join token. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinSecret(pub Zeroizing<[u8; 32]>);

impl fmt::Debug for JoinSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinSecret(…)")
    }
}

/// An identity as it goes to an agent: the certificate for the key of its request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedIdentity {
    /// Leaf first, without the root: each DER.
    pub chain: Vec<Vec<u8>>,
    /// How many identities the guest has had, this one included.
    pub generation: u64,
}

/// What an agent says on the link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToController {
    /// The first message: everything that the guest holds.
    Hello(Hello),
    /// One placement's new state.
    Report(Box<PlacementReport>),
    /// What came of a purge.
    Purged(Purged),
    /// The agent wants its identity renewed: PKCS #10, DER.
    RenewIdentity(Vec<u8>),
    /// The answer to [`ToAgent::Examine`].
    Examined(Box<Examined>),
}

/// The first message of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// What the guest says of itself.
    pub facts: GuestFacts,
    /// The identity that the agent holds is its guest's how-manieth.
    pub identity_generation: u64,
    /// How many links the agent has begun since it joined, this one included; 0 when it cannot tell. A guest that was
    /// taken back to an earlier state says a number once more.
    pub link_count: u64,
    /// Every placement that the guest knows of, the retired ones too.
    pub reports: Vec<PlacementReport>,
    /// The roots that the agent trusts for the controller's identity; none from one that knows a single one for ever.
    pub roots: Vec<Fingerprint>,
}

/// Which files of a placement are to be removed, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purge {
    /// Whose.
    pub certificate: CertificateName,
    /// The placement stays: only files that an earlier spec put elsewhere are removed.
    pub left_behind: bool,
    /// What was there before Pinion is put back, where it is valid.
    pub restore: bool,
    /// Also what a service's configuration names is removed.
    pub force: bool,
}

impl Purge {
    /// Everything of a placement, unless a service's configuration names it.
    #[must_use]
    pub fn all(certificate: CertificateName) -> Self {
        Self { certificate, left_behind: false, restore: false, force: false }
    }
}

/// How files are removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurgeManner {
    /// What was there before Pinion is put back, where it is valid.
    #[serde(default)]
    pub restore: bool,
    /// Also what a service's configuration names is removed.
    #[serde(default)]
    pub force: bool,
}

impl PurgeManner {
    /// Whether it is the usual one.
    #[must_use]
    pub fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

/// What came of a purge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purged {
    /// Whose files were to be removed.
    pub certificate: CertificateName,
    /// The placement is still there: only what it had left behind was removed, or nothing.
    pub remains: bool,
    /// Files that are still there, because somebody changed them since Pinion wrote them.
    pub left: Vec<GuestPath>,
    /// Files that were there before Pinion, and are back.
    pub restored: Vec<GuestPath>,
    /// Where copies of such files are kept in the guest.
    pub kept: Vec<GuestPath>,
    /// Why nothing was removed: where a configuration names which file.
    pub named: Vec<String>,
}

impl Purged {
    /// Everything of a placement is gone.
    #[must_use]
    pub fn all(certificate: CertificateName) -> Self {
        let (left, restored, kept, named) = Default::default();
        Self { certificate, remains: false, left, restored, kept, named }
    }
}

/// What the controller says on the link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToAgent {
    /// Everything that the guest should hold; replaces what was said before.
    Desired(Vec<PlacementSpec>),
    /// A certificate that was ordered, signed by its issuer.
    Delivery(Box<Delivery>),
    /// Remove files of a placement, as a person has asked.
    Purge(Purge),
    /// The answer to [`ToController::RenewIdentity`].
    Identity(IssuedIdentity),
    /// Someone waits for this placement: if its next try is put off, try now.
    Retry(CertificateName),
    /// Someone waits for what this placement is now: look at it, and report this number when that is done.
    Look(CertificateName, u64),
    /// Where the agent may dial from now on, beside what it knows to work.
    Controllers(Controllers),
    /// Another root to trust for the controller's identity.
    Root(Box<EndorsedRoot>),
    /// What is wrong with the manifest on the host's disk, which is not in force for it; none when nothing is any more.
    ManifestProblem(Option<String>),
    /// A person wants to know this about the guest; the answer has the same number.
    Examine(u64, Subject),
}

/// The longest that is said of a manifest's problem (characters): one mistake with its place.
pub const MAX_MANIFEST_PROBLEM: usize = 400;

/// Where the controllers of an installation are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Controllers {
    /// The controllers' addresses, node by node.
    pub nodes: Vec<ControllerNode>,
    /// The name of the node that the guest is on.
    pub home: PlainName,
}

/// Where one node's controller is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControllerNode {
    /// The node's name in the cluster.
    pub name: PlainName,
    /// By which addresses guests reach it.
    pub addresses: Vec<SocketAddr>,
}

/// A certificate for an ordered generation.
#[derive(Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The certificate's name in the manifest.
    pub certificate: CertificateName,
    /// Which order it answers.
    pub generation: u64,
    /// The leaf, followed by the intermediates.
    pub chain: Chain,
    /// The root at which the chain ends.
    pub root: RootCertificate,
    /// The issuer's name in the manifest.
    pub issuer: PlainName,
    /// PKCS #8, DER; only when the key is shared.
    pub shared_key: Option<Zeroizing<Vec<u8>>>,
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("certificate", &self.certificate)
            .field("generation", &self.generation)
            .field("leaf", self.chain.leaf())
            .field("issuer", &self.issuer)
            .field("shared_key", &self.shared_key.as_ref().map(|_| "…"))
            .finish_non_exhaustive()
    }
}
