//! A leaf with what stands between it and its root.
//!
//! Answers: does this chain end at that root, by authorities that may stand there, and until when is it valid?

use x509_parser::prelude::X509Certificate;

use super::{
    CertificateError, Leaf, MAX_CHAIN, PurposeError, RootCertificate, certificates_from_pem, parse_certificate,
    purpose, subject_and_end,
};
use crate::{clock::Timestamp, id::shown, spec::Usage};

/// A leaf and its intermediates, leaf first, without the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    leaf: Leaf,
    intermediates: Vec<Box<[u8]>>,
    expires: Timestamp,
}

impl Chain {
    /// Parses DER certificates, leaf first; a self-signed one at the end is left out.
    ///
    /// # Errors
    /// None, too many, or one that is malformed.
    pub fn from_der(certificates: &[Vec<u8>]) -> Result<Self, CertificateError> {
        let (leaf, rest) = certificates.split_first().ok_or(CertificateError::EmptyChain)?;
        if certificates.len() > MAX_CHAIN {
            return Err(CertificateError::LongChain(certificates.len()));
        }
        let leaf = Leaf::parse(leaf)?;
        let mut intermediates = Vec::with_capacity(rest.len());
        let mut expires = leaf.not_after();
        for der in rest {
            let certificate = parse_certificate(der)?;
            if certificate.subject().as_raw() != certificate.issuer().as_raw() {
                expires = expires.min(certificate.validity().not_after.to_datetime().into());
                intermediates.push(der.as_slice().into());
            }
        }
        Ok(Self { leaf, intermediates, expires })
    }

    /// Parses PEM, leaf first; text between the blocks is ignored.
    ///
    /// # Errors
    /// As [`Self::from_der`], or a block that is not a certificate.
    pub fn from_pem(text: &str) -> Result<Self, CertificateError> {
        Self::from_der(&certificates_from_pem(text)?)
    }

    /// The first certificate of the chain, the end-entity's.
    #[must_use]
    pub fn leaf(&self) -> &Leaf {
        &self.leaf
    }

    /// The last second in which the whole chain is valid: the earliest end of the leaf and its intermediates. A root's own
    /// end is left out, because verifiers trust a root as it is.
    #[must_use]
    pub fn expires(&self) -> Timestamp {
        self.expires
    }

    /// The authority above the leaf that ends first, up to and including `root`: its subject and its last second.
    #[must_use]
    pub fn first_authority_to_end(&self, root: &RootCertificate) -> Option<(String, Timestamp)> {
        self.authorities(root).min_by_key(|(_, end)| *end)
    }

    /// The authorities above the leaf, up to and including `root`: each one's subject and its last second.
    pub fn authorities<'a>(&'a self, root: &'a RootCertificate) -> impl Iterator<Item = (String, Timestamp)> + 'a {
        self.intermediates().chain([root.der()]).filter_map(|der| subject_and_end(der).ok())
    }

    /// Whether it may be used by that side of a connection; by either, where nobody says which.
    ///
    /// # Errors
    /// The first extension that says otherwise.
    pub fn fits(&self, usage: Option<Usage>) -> Result<(), PurposeError> {
        // Each was parsed when this was made.
        let parsed = |der| parse_certificate(der).map_err(|_| PurposeError::Malformed("list"));
        let authorities = self.intermediates().map(parsed).collect::<Result<Vec<_>, _>>()?;
        purpose::check(&parsed(self.leaf.der())?, &authorities, usage)
    }

    /// The certificates between leaf and root, as DER.
    pub fn intermediates(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.intermediates.iter().map(AsRef::as_ref)
    }

    /// Leaf and intermediates, as DER.
    pub fn certificates(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::once(self.leaf.der()).chain(self.intermediates())
    }

    /// Checks that every certificate is signed by the next, the last by `root`, that all are valid at `now`,
    /// and that those after the leaf may sign, at that depth (RFC 5280 section 6.1, without name constraints and policies,
    /// which are the verifying clients' to apply).
    ///
    /// # Errors
    /// The first link that does not hold.
    pub fn verify(&self, root: &RootCertificate, now: Timestamp) -> Result<(), CertificateError> {
        let chain: Vec<&[u8]> = self.certificates().chain([root.der()]).collect();
        for (depth, pair) in chain.windows(2).enumerate() {
            let (Some(subject), Some(signer)) = (pair.first(), pair.get(1)) else { continue };
            let (subject, signer) = (parse_certificate(subject)?, parse_certificate(signer)?);
            let label = || shown(&subject.subject().to_string());
            if subject.issuer().as_raw() != signer.subject().as_raw() {
                return Err(CertificateError::Unlinked {
                    subject: label(),
                    issuer: shown(&subject.issuer().to_string()),
                });
            }
            if !signer.is_ca() || !may_sign_certificates(&signer) {
                return Err(CertificateError::NotAnAuthority(shown(&signer.subject().to_string())));
            }
            // The certificates between this authority and the leaf; the first signer has none below it.
            if allowed_below(&signer).is_some_and(|max| depth > max) {
                return Err(CertificateError::TooDeep {
                    authority: shown(&signer.subject().to_string()),
                    below: depth,
                });
            }
            subject
                .verify_signature(Some(signer.public_key()))
                .map_err(|_| CertificateError::Signature { subject: label() })?;
            for (certificate, depth) in [(&subject, depth), (&signer, depth + 1)] {
                let from: Timestamp = certificate.validity().not_before.to_datetime().into();
                let until: Timestamp = certificate.validity().not_after.to_datetime().into();
                if now < from || until < now {
                    return Err(CertificateError::OutsideValidity { depth, from, until, now });
                }
            }
        }
        Ok(())
    }
}

/// Whether a certificate's key usage, where it says one, has certificates signed (RFC 5280 section 6.1.4 n).
pub(super) fn may_sign_certificates(certificate: &X509Certificate<'_>) -> bool {
    match certificate.key_usage() {
        Ok(Some(usage)) => usage.value.key_cert_sign(),
        Ok(None) => true,
        Err(_) => false,
    }
}

/// How many authorities may be between this one and a leaf, where it says so (RFC 5280 section 6.1.4 m).
fn allowed_below(certificate: &X509Certificate<'_>) -> Option<usize> {
    let constraints = certificate.basic_constraints().ok()??.value;
    constraints.path_len_constraint.map(|max| usize::try_from(max).unwrap_or(usize::MAX))
}
