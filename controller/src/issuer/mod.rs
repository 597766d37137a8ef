//! Who signs certificates, behind one small trait.
//!
//! Answers: sign this request for these names, and what would you allow?
//! Invariant: the names always come from the manifest; a request's own names have been compared
//! with them before it gets here, and the issuer gets the manifest's.

use std::{fmt, future::Future, pin::Pin, time::Duration};

use pinion_proto::{
    bundle::{Chain, RootCertificate},
    id::PlacementId,
    names::{SubjectName, SubjectNames},
    spec::Usage,
};

mod asked;
mod check;
pub mod embedded;
pub(crate) mod error;
pub(crate) mod gain;
mod queue;
mod registry;
mod roots;
mod serial;
pub mod step_ca;
pub(crate) mod watch;

pub use self::{
    check::{Durations, IssuerCheck},
    error::IssuerError,
    queue::{IssuerCalls, Operation},
    registry::{EMBEDDED_TABLE, IssuerConfig, Issuers},
    roots::IssuerRoots,
    serial::Serial,
    step_ca::{CaUrl, Password, STEP_CA_TABLE, StepCaConfig, shown_roots},
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
    /// Which side of a connection shows it; none where nobody says.
    pub usage: Option<Usage>,
    /// How long it should be valid; an issuer that allows less gives what it allows.
    pub duration: Duration,
}

/// What an issuer made of a request. The issuer has checked that the leaf has the request's key and
/// names, and may be used as was asked.
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

    /// The roots that its certificates end at; none for an issuer that cannot say, as one that is asked by ACME: the
    /// protocol has no word for them. Its certificates are placed, and its roots are not.
    fn roots(&self) -> Option<&dyn Roots>;

    /// How it revokes; none for an issuer that cannot.
    fn revocation(&self) -> Option<&dyn Revocations> {
        None
    }
}

/// An issuer that says which roots its certificates end at.
pub trait Roots: Send + Sync {
    /// As it says now.
    fn now(&self) -> BoxFuture<'_, Result<IssuerRoots, IssuerError>>;

    /// As it said last, for while it cannot be asked; none where that is not kept.
    fn last_said(&self) -> Option<IssuerRoots> {
        None
    }

    /// How often that may change; none for one whose roots stay.
    fn every(&self) -> Option<Duration> {
        None
    }
}

/// An issuer that revokes certificates.
pub trait Revocations: Send + Sync {
    /// Whether it is to revoke those that were replaced.
    fn of_replaced(&self) -> bool;

    /// Revokes a certificate; well too when it is revoked already.
    fn revoke<'a>(&'a self, serial: &'a Serial, why: Revocation) -> BoxFuture<'a, Result<(), IssuerError>>;
}
