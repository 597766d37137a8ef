//! The trust domain of the identities: made once, and kept.
//!
//! Invariant: a start never changes a stored domain, because agents know the controller by it; only [`set_domain`] does.

use pinion_proto::id::TrustDomain;
use serde::{Deserialize, Serialize};

use super::error::IdentityError;
use crate::{
    authority::AuthorityError,
    store::{Area, Store, StoreError},
};

const DOMAIN_DOCUMENT: &str = "identity-domain";

#[derive(Serialize, Deserialize)]
struct Domain {
    trust_domain: TrustDomain,
}

/// The stored trust domain, or the wanted one, or one that is made now.
pub(crate) fn settle_domain(store: &Store, wanted: Option<&TrustDomain>) -> Result<TrustDomain, IdentityError> {
    let make = || {
        let trust_domain = wanted.map_or_else(random_domain, |wanted| Ok(wanted.clone()))?;
        Ok::<_, IdentityError>(Domain { trust_domain })
    };
    let Domain { trust_domain } = store.settle(Area::Shared, DOMAIN_DOCUMENT, |_| true, make)?;
    if let Some(wanted) = wanted.filter(|wanted| **wanted != trust_domain) {
        return Err(IdentityError::Domain { stored: trust_domain, wanted: wanted.clone() });
    }
    store.expect(DOMAIN_DOCUMENT);
    Ok(trust_domain)
}

/// The trust domain of the identities that there are.
pub(crate) fn stored_domain(store: &Store) -> Result<Option<TrustDomain>, StoreError> {
    Ok(store.read::<Domain>(Area::Shared, DOMAIN_DOCUMENT)?.map(|domain| domain.trust_domain))
}

/// Says which trust domain the root is for that is made next.
pub(crate) fn set_domain(store: &Store, trust_domain: &TrustDomain) -> Result<(), StoreError> {
    store.replace(Area::Shared, DOMAIN_DOCUMENT, &Domain { trust_domain: trust_domain.clone() })
}

/// A domain of its own for each installation: an identity of one is a stranger to another.
fn random_domain() -> Result<TrustDomain, IdentityError> {
    let mut bytes = [0u8; 4];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| AuthorityError::Random)?;
    let text = format!("{:08x}.pinion", u32::from_be_bytes(bytes));
    text.parse().map_err(IdentityError::Name)
}
