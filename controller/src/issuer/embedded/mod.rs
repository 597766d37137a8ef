//! The CA inside the controller: to try Pinion with, and for those who need no other.
//!
//! Invariant: its key is not the identities'; a service's certificate never opens a link.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use pinion_proto::{
    bundle::{CertificateRequest, Chain},
    causes::chain,
    clock::Clock,
    lock::lock,
    spec::PlainName,
};
use rcgen::ExtendedKeyUsagePurpose;

use super::{
    BoxFuture, Durations, Issuer, IssuerCheck, IssuerError, IssuerRoots, Roots, Signed, SigningRequest,
    asked::is_what_was_asked,
};
use crate::{
    authority::{self, Authority, AuthorityError, Profile, Traces},
    identity::{GivenUp, NewRoot},
    store::{Area, GIVEN_UP, NEW_EMBEDDED_ROOT, Store, StoreError},
    world::ReportRecord,
};

/// The root's document in the shared area.
const DOCUMENT: &str = "issuer-embedded";

const COMMON_NAME: &str = "Pinion Embedded CA";

/// When a root has less left than this, it is time to think of the next one.
const ROOT_ENDS_SOON: Duration = Duration::from_secs(365 * 24 * 3600);

/// Nothing shorter could be installed before it expires.
const SHORTEST: Duration = Duration::from_secs(60);

/// The default of the manifest.
const DEFAULT: Duration = Duration::from_secs(30 * 24 * 3600);

/// An issuer that signs with a root of its own, made at first use.
#[derive(Debug)]
pub struct Embedded {
    name: PlainName,
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    authority: OnceLock<Authority>,
    making: std::sync::Mutex<()>,
}

impl Embedded {
    /// An embedded issuer; nothing is read or made before it is first used.
    #[must_use]
    pub fn new(name: PlainName, store: Arc<Store>, clock: Arc<dyn Clock>) -> Self {
        Self { name, store, clock, authority: OnceLock::new(), making: std::sync::Mutex::new(()) }
    }

    fn authority(&self) -> Result<&Authority, IssuerError> {
        if let Some(authority) = self.authority.get() {
            return Ok(authority);
        }
        // Two callers that come first together must not make two roots.
        let _making = lock(&self.making);
        if let Some(authority) = self.authority.get() {
            return Ok(authority);
        }
        let traces = || self.traces();
        let authority = Authority::load_or_make(&self.store, DOCUMENT, COMMON_NAME, traces, self.clock.now())
            .map_err(|e| self.sorted(&e))?;
        tracing::info!(issuer = %self.name, root = %authority.root().fingerprint(), "The embedded CA is ready");
        Ok(self.authority.get_or_init(|| authority))
    }

    /// What says that there was a root. A person's wish for a new one is spent here, and good only where there is none.
    fn traces(&self) -> Result<Traces, StoreError> {
        let asked = self.store.take::<NewRoot>(Area::Local, NEW_EMBEDDED_ROOT)?.is_some();
        if self.store.read::<serde::de::IgnoredAny>(Area::Shared, DOCUMENT)?.is_some() {
            return Ok(Traces::default());
        }
        if asked {
            tracing::warn!(issuer = %self.name, "A new root of the embedded CA was asked for");
            authority::forget(&self.store, DOCUMENT)?;
            self.store.remove(Area::Local, GIVEN_UP)?;
            return Ok(Traces::default());
        }
        let mut holders = 0;
        for guest in self.store.list(Area::Local, "reports")? {
            // What cannot be read is reported elsewhere.
            let record = self.store.read::<ReportRecord>(Area::Local, &format!("reports/{guest}")).ok().flatten();
            let reports = record.iter().flat_map(|record| &record.placements).filter_map(|kept| kept.report.as_ref());
            holders +=
                reports.filter(|report| report.held.as_ref().is_some_and(|held| held.issuer == self.name)).count();
        }
        let of_use = if holders > 0 {
            Some(format!("{holders} placements have certificates from it"))
        } else {
            // Then nobody knows whether there was one.
            let given_up = self.store.read::<GivenUp>(Area::Local, GIVEN_UP)?;
            given_up.map(|GivenUp { asked_at }| format!("the state with it was given up as lost at {asked_at}"))
        };
        Ok(Traces { pinned: None, of_use })
    }

    fn sign_now(&self, request: &SigningRequest) -> Result<Signed, IssuerError> {
        let authority = self.authority()?;
        let now = self.clock.now();
        let duration = request.duration.max(SHORTEST);
        let usages = [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let common_name = request.common_name.plain();
        let profile = Profile {
            common_name: Some(&common_name),
            names: request.names.iter().collect(),
            usages: &usages,
            duration,
        };
        let leaf = authority.sign(&request.csr, profile, now).map_err(|e| self.sorted(&e))?;
        let malformed = |e: &dyn std::error::Error| IssuerError::Refused {
            message: format!(
                "issuer `{}`: the certificate for {} is wrong: {}",
                self.name,
                request.placement,
                chain(e)
            ),
        };
        let chain = Chain::from_der(&[leaf.der().to_vec()]).map_err(|e| malformed(&e))?;
        let asked = CertificateRequest::parse(&request.csr).map_err(|e| malformed(&e))?;
        is_what_was_asked(&chain, &asked, request)
            .map_err(|why| IssuerError::Refused { message: format!("issuer `{}`: {why}", self.name) })?;
        let given = leaf.not_after().since(now);
        Ok(Signed { chain, root: authority.root().clone(), shortened_to: (given < duration).then_some(given) })
    }

    fn check_now(&self) -> Result<IssuerCheck, IssuerError> {
        let authority = self.authority()?;
        let left = authority.expires().since(self.clock.now());
        let mut warnings = Vec::new();
        if left < ROOT_ENDS_SOON {
            warnings.push(format!(
                "the root expires at {}: plan a new one, and let clients trust it before it signs",
                authority.expires()
            ));
        }
        Ok(IssuerCheck {
            name: self.name.clone(),
            kind: "embedded".into(),
            address: None,
            root: Some(authority.root().fingerprint()),
            provisioner: None,
            durations: Durations { min: SHORTEST, default: DEFAULT.min(left), max: left },
            authority_ends: Some(authority.expires()),
            clock_difference: None,
            shortened: None,
            revokes_replaced: false,
            warnings,
        })
    }

    fn sorted(&self, error: &AuthorityError) -> IssuerError {
        let message = format!("issuer `{}`: {}", self.name, chain(error));
        match error {
            AuthorityError::Store(StoreError::Io { .. } | StoreError::ReadOnly { .. }) | AuthorityError::Random => {
                IssuerError::Unavailable { message }
            }
            AuthorityError::Store(_)
            | AuthorityError::Unusable { .. }
            | AuthorityError::Lost { .. }
            | AuthorityError::Another(_)
            | AuthorityError::RootExpired(_) => IssuerError::misconfigured(
                message,
                "restore the file that the message names; Pinion does not \
                    replace it",
            ),
            AuthorityError::Request(_) | AuthorityError::Key | AuthorityError::Sign(_) => {
                IssuerError::Refused { message }
            }
        }
    }
}

impl Issuer for Embedded {
    fn sign<'a>(&'a self, request: &'a SigningRequest) -> BoxFuture<'a, Result<Signed, IssuerError>> {
        // A signature takes a fraction of a millisecond: no thread of its own is worth it.
        Box::pin(async move { self.sign_now(request) })
    }

    fn check(&self) -> BoxFuture<'_, Result<IssuerCheck, IssuerError>> {
        Box::pin(async move { self.check_now() })
    }

    fn roots(&self) -> Option<&dyn Roots> {
        Some(self)
    }
}

impl Roots for Embedded {
    fn now(&self) -> BoxFuture<'_, Result<IssuerRoots, IssuerError>> {
        Box::pin(async move {
            let root = self.authority()?.root().clone();
            let signing = root.fingerprint();
            Ok(IssuerRoots { current: vec![root], former: Vec::new(), signing })
        })
    }
}

#[cfg(test)]
mod tests;
