//! Pinion's own CA: it signs identities for links, and nothing else.
//!
//! Invariant: a guest's identity carries one URI and clientAuth only, so it can never stand in for the controller;
//! the URI comes from the controller's own knowledge of who asks, never from the request.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use pinion_proto::{
    bundle::RootCertificate,
    clock::Timestamp,
    id::{Guest, Member, SpiffeId, TrustDomain},
    names::SubjectName,
    tls::CONTROLLER_NAME,
};
use rcgen::ExtendedKeyUsagePurpose;
use zeroize::Zeroizing;

use super::{
    ROOT_DOCUMENT,
    domain::settle_domain,
    error::IdentityError,
    grant::Grant,
    rollover::{self, Rollover},
};
use crate::{
    authority::{Authority, Profile, Traces, fresh_key, may_begin},
    store::{Area, Store},
};

/// An agent that was away for a vacation comes back by itself; one that was away for longer joins anew.
const LIFE: Duration = Duration::from_secs(30 * 24 * 3600);

/// The CA of one trust domain.
#[derive(Debug)]
pub struct IdentityCa {
    root: RootCertificate,
    /// The root itself, or this node's authority under it.
    signer: RwLock<Arc<Signer>>,
    trust_domain: TrustDomain,
}

/// Whoever signs, and since when.
#[derive(Debug)]
struct Signer {
    authority: Authority,
    /// None where it is the root itself.
    node_since: Option<Timestamp>,
}

/// The controller's own identity, as [`pinion_proto::tls::IdentityCell`] takes it.
pub struct ControllerIdentity {
    /// Leaf first, without the root, each DER.
    pub chain: Vec<Vec<u8>>,
    /// The private key as PKCS #8, DER.
    pub key: Zeroizing<Vec<u8>>,
    /// The leaf's last second.
    pub not_after: Timestamp,
}

impl std::fmt::Debug for ControllerIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ControllerIdentity").field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

/// A guest's identity as it was just signed.
#[derive(Debug)]
pub(super) struct GuestIdentity {
    pub(super) chain: Vec<Vec<u8>>,
    /// As [`pinion_proto::tls::Peer`] has it.
    pub(super) serial: String,
}

impl IdentityCa {
    pub(super) fn load_or_make(
        store: &Store,
        wanted: Option<&TrustDomain>,
        traces: Traces,
        now: Timestamp,
    ) -> Result<Self, IdentityError> {
        if store.read::<serde::de::IgnoredAny>(Area::Shared, ROOT_DOCUMENT)?.is_none() {
            // Where the root was lost, its domain is nothing to begin with.
            may_begin(store, ROOT_DOCUMENT, &traces)?;
        }
        let trust_domain = settle_domain(store, wanted)?;
        let name = format!("Pinion identities of {trust_domain}");
        let authority = Authority::load_or_make(store, ROOT_DOCUMENT, &name, || Ok(traces), now)?;
        Ok(Self::of(authority, None, trust_domain))
    }

    /// Under a root whose key is the root process's.
    pub(super) fn under(store: &Store, wanted: Option<&TrustDomain>, grant: Grant) -> Result<Self, IdentityError> {
        let Grant { authority, trust_domain, made } = grant;
        // The root process reads the same configuration, and has the last word once its root is made.
        if let Some(wanted) = wanted.filter(|wanted| **wanted != trust_domain) {
            return Err(IdentityError::Domain { stored: trust_domain, wanted: wanted.clone() });
        }
        let trust_domain = settle_domain(store, Some(&trust_domain))?;
        Ok(Self::of(authority, Some(made), trust_domain))
    }

    fn of(authority: Authority, node_since: Option<Timestamp>, trust_domain: TrustDomain) -> Self {
        let root = authority.root().clone();
        Self { root, signer: RwLock::new(Arc::new(Signer { authority, node_since })), trust_domain }
    }

    /// The roots beside this one.
    pub(super) fn rollover(&self, store: &Store, now: Timestamp) -> Result<Rollover, IdentityError> {
        let signer = self.signer();
        rollover::read(store, &signer.authority, signer.node_since.is_none(), now)
    }

    /// When this node's authority was given; none where this is the root itself.
    pub(super) fn node_since(&self) -> Option<Timestamp> {
        self.signer().node_since
    }

    /// This node has another authority under the same root.
    pub(super) fn renewed_node(&self, grant: Grant) {
        let next = Arc::new(Signer { authority: grant.authority, node_since: Some(grant.made) });
        *self.signer.write().unwrap_or_else(PoisonError::into_inner) = next;
    }

    fn signer(&self) -> Arc<Signer> {
        self.signer.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn root(&self) -> &RootCertificate {
        &self.root
    }

    pub(super) fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    pub(super) fn issue_controller(&self, now: Timestamp) -> Result<ControllerIdentity, IdentityError> {
        let (key, csr) = fresh_key()?;
        let names = [SubjectName::Dns(CONTROLLER_NAME.into()), self.uri(Member::Controller)];
        let usages = [ExtendedKeyUsagePurpose::ServerAuth];
        let profile = Profile { common_name: None, names: names.iter().collect(), usages: &usages, duration: LIFE };
        let Signer { authority, .. } = &*self.signer();
        let leaf = authority.sign(&csr, profile, now)?;
        Ok(ControllerIdentity { chain: authority.chain(&leaf), key, not_after: leaf.not_after() })
    }

    pub(super) fn issue_guest(&self, guest: Guest, csr: &[u8], now: Timestamp) -> Result<GuestIdentity, IdentityError> {
        let names = [self.uri(Member::Guest(guest))];
        let usages = [ExtendedKeyUsagePurpose::ClientAuth];
        let profile = Profile { common_name: None, names: names.iter().collect(), usages: &usages, duration: LIFE };
        let Signer { authority, .. } = &*self.signer();
        let leaf = authority.sign(csr, profile, now)?;
        Ok(GuestIdentity { chain: authority.chain(&leaf), serial: leaf.serial().to_owned() })
    }

    fn uri(&self, member: Member) -> SubjectName {
        SubjectName::Uri(SpiffeId { trust_domain: self.trust_domain.clone(), member }.to_string().into())
    }
}
