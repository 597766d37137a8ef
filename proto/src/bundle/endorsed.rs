//! Another root of the controller's identities, with the word of the one that an agent knows.
//!
//! Answers: may an agent trust this root beside the one that it joined with?
//! Invariant: only the key of a root that is trusted already vouches for another; a controller's own authority, which is
//! below the root, cannot: it allows no authority below itself, and an endorsement does (RFC 4210 section 4.4 calls such a
//! certificate "new with old").

use super::{CertificateError, RootCertificate, chain::may_sign_certificates, parse_certificate};

/// A root and the certificate by which another vouches for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndorsedRoot {
    /// The root, signed by itself.
    pub root: RootCertificate,
    /// Its subject and key, signed by the other: DER.
    pub endorsement: Vec<u8>,
}

impl EndorsedRoot {
    /// Whether `known` vouches for the root.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, known: &RootCertificate) -> Result<(), CertificateError> {
        let wrong = |why: &str| CertificateError::Endorsement(why.to_owned());
        let (root, endorsement) = (parse_certificate(self.root.der())?, parse_certificate(&self.endorsement)?);
        if !self.root.has_signed(self.root.der()) {
            return Err(wrong("the root is not signed by itself"));
        }
        if !known.has_signed(&self.endorsement) {
            return Err(wrong("it is not signed by the root that is trusted"));
        }
        if endorsement.public_key().raw != root.public_key().raw
            || endorsement.subject().as_raw() != root.subject().as_raw()
        {
            return Err(wrong("it is another's"));
        }
        let below = endorsement.basic_constraints().ok().flatten().map(|constraints| constraints.value);
        let may = below
            .is_some_and(|constraints| constraints.ca && constraints.path_len_constraint.is_none_or(|max| max > 0));
        let confined = endorsement.name_constraints().ok().flatten().is_some()
            || endorsement.extended_key_usage().ok().flatten().is_some();
        if !may || confined || !may_sign_certificates(&endorsement) {
            return Err(wrong("its authority may not have subordinate authorities"));
        }
        Ok(())
    }
}
