//! What an issuer signed against what it was asked for.
//!
//! Answers: is it for the request's key, with exactly the ordered names, and can it be used for what it was ordered for?

use pinion_proto::bundle::{CertificateRequest, Chain, PurposeError};
use thiserror::Error as ThisError;

use super::SigningRequest;

/// How what was signed differs from what was asked.
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
pub(super) enum Difference {
    /// Another key.
    #[error("the certificate is not for the request's key")]
    Key,
    /// Other names.
    #[error("the certificate's names are not those that were ordered (missing: {missing}; extra: {extra})")]
    Names {
        /// Ordered and not there.
        missing: String,
        /// There and not ordered.
        extra: String,
    },
    /// It cannot be used for what it was ordered for.
    #[error(transparent)]
    Purpose(#[from] PurposeError),
}

impl Difference {
    /// What a person can do, where a provisioner or profile of the CA's has a template for what it signs.
    pub(super) fn remedy(&self, template: &str) -> String {
        match self {
            Self::Key | Self::Names { .. } => {
                format!("correct {template} so that it keeps the request's key and exactly the ordered names (`.SANs`)")
            }
            Self::Purpose(PurposeError::Extended { .. }) => format!(
                "correct `extKeyUsage` in {template}; or set \"usage\" of the placement in the manifest to `server`, \
                 `client` or `both`, if the certificate is for another side than Pinion takes it for"
            ),
            Self::Purpose(_) => format!("correct {template} so that it makes end-entity certificates for TLS"),
        }
    }
}

/// Whether a chain's leaf is for the request's key, has exactly the ordered names, and may be used as was asked.
pub(super) fn is_what_was_asked(
    chain: &Chain,
    asked: &CertificateRequest,
    request: &SigningRequest,
) -> Result<(), Difference> {
    let (leaf, names) = (chain.leaf(), &request.names);
    if leaf.key() != asked.key {
        return Err(Difference::Key);
    }
    let list = |names: Vec<String>| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    if leaf.names() != names {
        return Err(Difference::Names {
            missing: list(names.missing_from(leaf.names()).map(ToString::to_string).collect()),
            extra: list(leaf.names().missing_from(names).map(ToString::to_string).collect()),
        });
    }
    Ok(chain.fits(request.usage)?)
}
