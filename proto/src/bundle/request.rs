//! A certificate request: what does it ask for, and is it signed by the key that it is for?

use x509_parser::{
    certification_request::X509CertificationRequest,
    prelude::{FromDer, ParsedExtension},
};

use super::{CertificateError, Fingerprint, MAX_DER, key_algorithm, malformed};
use crate::{key::KeyAlgorithm, names::SubjectNames};

/// A PKCS #10 request (RFC 2986) whose signature by its own key has been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateRequest {
    /// Its subject's common name; none when it has none.
    pub common_name: Option<String>,
    /// The names of its extensionRequest; none when it asks for none.
    pub names: Option<SubjectNames>,
    /// The SHA-256 of its subjectPublicKeyInfo.
    pub key: Fingerprint,
    /// What kind of key it is for.
    pub key_algorithm: Option<KeyAlgorithm>,
}

impl CertificateRequest {
    /// Parses DER and checks the proof of possession.
    ///
    /// # Errors
    /// Malformed, or not signed by its own key.
    pub fn parse(der: &[u8]) -> Result<Self, CertificateError> {
        if der.len() > MAX_DER {
            return Err(CertificateError::TooLarge(der.len()));
        }
        let (rest, request) = X509CertificationRequest::from_der(der).map_err(malformed("certificate request"))?;
        if !rest.is_empty() {
            return Err(CertificateError::TrailingBytes(rest.len()));
        }
        request.verify_signature().map_err(|_| CertificateError::Possession)?;
        let mut names = None;
        for extension in request.requested_extensions().into_iter().flatten() {
            if let ParsedExtension::SubjectAlternativeName(san) = extension {
                names = Some(SubjectNames::from_general_names(&san.general_names)?);
            }
        }
        let info = &request.certification_request_info;
        let common_name = info.subject.iter_common_name().next().map(|name| name.as_str().map(ToOwned::to_owned));
        let common_name = common_name.transpose().map_err(malformed("certificate request"))?;
        let key = &info.subject_pki;
        Ok(Self { common_name, names, key: Fingerprint::of(key.raw), key_algorithm: key_algorithm(key) })
    }
}
