//! What can be wrong with a certificate, chain or request.

use std::fmt;

use thiserror::Error;

use crate::clock::Timestamp;

/// No certificate or request that Pinion handles is larger, 500 names included (bytes of DER).
pub const MAX_DER: usize = 64 * 1024;

/// Nor is a chain longer: leaf, a few intermediates, and cross-signed ones.
pub const MAX_CHAIN: usize = 8;

/// What is wrong with a certificate, chain or request.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CertificateError {
    /// Not the DER it should be.
    #[error("the {what} is malformed: {why}")]
    Malformed {
        /// Certificate, request or PEM.
        what: &'static str,
        /// The parser's reason.
        why: String,
    },
    /// More authorities below one than it allows.
    #[error("{below} authorities are below {authority}, which allows fewer (its path length constraint)")]
    TooDeep {
        /// Subject of the authority with the path length constraint.
        authority: String,
        /// How many are between it and the leaf.
        below: usize,
    },
    /// Nobody who is trusted vouches for a root.
    #[error("no trusted root vouches for this root: {0}")]
    Endorsement(String),
    /// Larger than any that Pinion handles.
    #[error("the certificate or request has {0} bytes, more than the {MAX_DER} allowed")]
    TooLarge(usize),
    /// Bytes follow the end of the DER structure.
    #[error("{0} bytes follow the end of the certificate or request")]
    TrailingBytes(usize),
    /// The certificate has no subjectAltName, which every leaf needs.
    #[error("the certificate has no subjectAltName")]
    NoNames,
    /// A name is wrong.
    #[error(transparent)]
    Name(#[from] crate::names::NameError),
    /// There is not a single certificate.
    #[error("the chain is empty")]
    EmptyChain,
    /// There are more certificates than a chain or a root may have.
    #[error("{0} certificates are too many here (a chain has at most {MAX_CHAIN}, a root is one)")]
    LongChain(usize),
    /// A certificate is not followed by its issuer.
    #[error("`{subject}` was issued by `{issuer}`, which does not follow it in the chain")]
    Unlinked {
        /// Whose issuer is missing.
        subject: String,
        /// The issuer that the certificate names.
        issuer: String,
    },
    /// A certificate in the chain may not sign others.
    #[error("`{0}` is not a certificate authority")]
    NotAnAuthority(String),
    /// A signature does not hold.
    #[error("the signature on `{subject}` is not by the key of the next certificate")]
    Signature {
        /// Subject of the certificate with the wrong signature.
        subject: String,
    },
    /// Expired or not yet valid.
    #[error("certificate {depth} of the chain is valid from {from} until {until}, but now it is {now}")]
    OutsideValidity {
        /// 0 for the leaf.
        depth: usize,
        /// First valid second.
        from: Timestamp,
        /// Last valid second.
        until: Timestamp,
        /// The time of the check.
        now: Timestamp,
    },
    /// The request is not signed by its own key.
    #[error("the certificate request is not signed by its own key")]
    Possession,
    /// The text is not 64 hexadecimal digits.
    #[error("`{0}` is not a SHA-256 fingerprint: 64 hexadecimal digits are needed")]
    Fingerprint(String),
}

/// As an error about `what`.
pub(super) fn malformed<E: fmt::Display>(what: &'static str) -> impl Fn(E) -> CertificateError {
    move |why| CertificateError::Malformed { what, why: why.to_string() }
}
