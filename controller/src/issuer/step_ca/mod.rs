//! Signing by a step-ca server, through one of its JWK provisioners.
//!
//! Answers: has the CA that was configured signed what was asked, and if not, who must act?
//! Invariant: what comes back is checked before it is believed: the request's key, the ordered names, a chain that
//! ends at the pinned root.
//!
//! The flow is smallstep/certificates' `POST /1.0/sign` with a one-time token (`api/sign.go`,
//! `authority/provisioner/jwk.go`).

mod authorities;
mod check;
mod config;
mod durations;
mod http;
mod jwe;
mod jwk;
mod key;
mod password;
mod provisioner;
mod revoke;
mod roots;
mod server;
mod session;
mod settings;
mod sign;
mod skew;
mod token;
mod unconfigured;

use std::time::Duration;

pub use config::{CaUrl, STEP_CA_TABLE, StepCaConfig};
pub use password::Password;
pub use server::StepCa;
pub(super) use unconfigured::check as check_unconfigured;
pub use unconfigured::shown_roots;

use super::{
    BoxFuture, Issuer, IssuerCheck, IssuerError, IssuerRoots, Revocation, Revocations, Roots, Serial, Signed,
    SigningRequest,
};

impl Issuer for StepCa {
    fn sign<'a>(&'a self, request: &'a SigningRequest) -> BoxFuture<'a, Result<Signed, IssuerError>> {
        Box::pin(sign::sign(self, request))
    }

    fn check(&self) -> BoxFuture<'_, Result<IssuerCheck, IssuerError>> {
        Box::pin(check::check(self))
    }

    fn roots(&self) -> Option<&dyn Roots> {
        Some(self)
    }

    fn revocation(&self) -> Option<&dyn Revocations> {
        Some(self)
    }
}

impl Roots for StepCa {
    fn now(&self) -> BoxFuture<'_, Result<IssuerRoots, IssuerError>> {
        Box::pin(self.roots_now())
    }

    fn last_said(&self) -> Option<IssuerRoots> {
        self.memory.last_said()
    }

    fn every(&self) -> Option<Duration> {
        Some(self.settings.roots_every)
    }
}

impl Revocations for StepCa {
    fn of_replaced(&self) -> bool {
        self.settings.revoke_replaced
    }

    fn revoke<'a>(&'a self, serial: &'a Serial, why: Revocation) -> BoxFuture<'a, Result<(), IssuerError>> {
        Box::pin(revoke::revoke(self, serial, why))
    }
}
