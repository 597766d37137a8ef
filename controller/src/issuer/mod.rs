//! Who signs certificates, behind one small trait.
//!
//! Answers: sign this request for these names, and what would you allow?
//! Invariant: the names always come from the manifest; a request's own names have been compared
//! with them before it gets here, and whoever signs is told the manifest's.

use std::{fmt, future::Future, pin::Pin, time::Duration};

use pinion_proto::{
    bundle::{Chain, RootCertificate},
    id::PlacementId,
    names::{SubjectName, SubjectNames},
};

mod check;
mod config;
pub mod embedded;
pub(crate) mod error;
mod queue;
mod roots;
mod serial;
pub mod step_ca;

pub use self::{
    check::{Durations, IssuerCheck},
    config::{IssuerConfig, StepCaConfig},
    error::IssuerError,
    queue::Issuers,
    roots::IssuerRoots,
    serial::Serial,
};

/// A request to sign, already compared with the manifest.
#[derive(Debug, Clone)]
pub struct SigningRequest {
    /// For which placement; goes into logs.
    pub placement: PlacementId,
    /// PKCS #10, DER.
    pub csr: Vec<u8>,
    /// The subject's common name; one of `names`.
    pub common_name: SubjectName,
    /// Every name.
    pub names: SubjectNames,
    /// How long it should be valid; an issuer that allows less gives what it allows.
    pub duration: Duration,
}

/// What an issuer made of a request. The issuer has checked that the leaf has the request's key and names.
#[derive(Debug, Clone)]
pub struct Signed {
    /// Leaf and intermediates.
    pub chain: Chain,
    /// The root that the chain ends at.
    pub root: RootCertificate,
    /// The longest duration that the issuer allowed, when that is less than was asked for.
    pub shortened_to: Option<Duration>,
}

/// Why a certificate is revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revocation {
    /// Another one is in use.
    Superseded,
    /// Its key may be in other hands.
    KeyCompromise,
}

/// The future of a trait method; trait objects need it boxed.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Someone who signs certificates.
pub trait Issuer: fmt::Debug + Send + Sync {
    /// Signs a request.
    fn sign<'a>(&'a self, request: &'a SigningRequest) -> BoxFuture<'a, Result<Signed, IssuerError>>;

    /// Looks whether it could sign, without signing: reachability, root, provisioner, durations, clock.
    fn check(&self) -> BoxFuture<'_, Result<IssuerCheck, IssuerError>>;

    /// Which roots its certificates end at: as it says now or, while it cannot be asked, as it said last.
    fn roots(&self) -> BoxFuture<'_, Result<IssuerRoots, IssuerError>>;

    /// How often that may change; none for one whose roots stay.
    fn roots_every(&self) -> Option<Duration> {
        None
    }

    /// Whether it is to revoke certificates that were replaced.
    fn revokes_replaced(&self) -> bool {
        false
    }

    /// Whether it can revoke at all.
    fn can_revoke(&self) -> bool {
        false
    }

    /// Revokes a certificate; well too when it is revoked already.
    fn revoke<'a>(&'a self, serial: &'a Serial, _why: Revocation) -> BoxFuture<'a, Result<(), IssuerError>> {
        let message = format!("this issuer cannot revoke {serial}");
        Box::pin(async { Err(IssuerError::Refused { message }) })
    }
}
