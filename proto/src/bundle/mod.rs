//! Certificates, chains and requests, parsed and checked once.
//!
//! Answers: what does this certificate say, does this chain end at that root, what does this request ask for?
//! Invariant: a [`Leaf`], [`Chain`], [`RootCertificate`] or [`CertificateRequest`] is well-formed DER without
//! trailing bytes; a request's signature by its own key has been checked.

mod chain;
mod endorsed;
mod error;
mod fingerprint;
mod purpose;
mod request;

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use x509_parser::{
    oid_registry::{
        OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_PKCS1_RSAENCRYPTION, OID_SIG_ED25519,
    },
    prelude::{FromDer, X509Certificate},
    public_key::PublicKey,
    x509::SubjectPublicKeyInfo,
};

pub use chain::Chain;
pub use endorsed::EndorsedRoot;
pub use error::{CertificateError, MAX_CHAIN, MAX_DER};
pub use fingerprint::Fingerprint;
pub use purpose::PurposeError;
pub use request::CertificateRequest;

use error::malformed;

use crate::{clock::Timestamp, key::KeyAlgorithm, names::SubjectNames};

/// An end-entity certificate: parsed once, with its names, validity and key at hand.
#[derive(Clone, PartialEq, Eq)]
pub struct Leaf {
    der: Box<[u8]>,
    serial: Box<str>,
    not_before: Timestamp,
    not_after: Timestamp,
    names: SubjectNames,
    key: Fingerprint,
    key_algorithm: Option<KeyAlgorithm>,
}

impl Leaf {
    /// Parses DER.
    ///
    /// # Errors
    /// Not one well-formed X.509 version 3 certificate with a subjectAltName.
    pub fn parse(der: &[u8]) -> Result<Self, CertificateError> {
        let certificate = parse_certificate(der)?;
        let san = certificate.subject_alternative_name().map_err(malformed("certificate"))?;
        let san = san.ok_or(CertificateError::NoNames)?;
        Ok(Self {
            der: der.into(),
            serial: hex(certificate.raw_serial()).into(),
            not_before: certificate.validity().not_before.to_datetime().into(),
            not_after: certificate.validity().not_after.to_datetime().into(),
            names: SubjectNames::from_general_names(&san.value.general_names)?,
            key: Fingerprint::of(certificate.public_key().raw),
            key_algorithm: key_algorithm(certificate.public_key()),
        })
    }

    /// The certificate as DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The serial number as `openssl x509 -serial` prints it: upper-case hexadecimal, whole octets.
    #[must_use]
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// The first second of its validity.
    #[must_use]
    pub fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// The last second of its validity.
    #[must_use]
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Every name in its subjectAltName.
    #[must_use]
    pub fn names(&self) -> &SubjectNames {
        &self.names
    }

    /// The SHA-256 of its subjectPublicKeyInfo: which key it is for.
    #[must_use]
    pub fn key(&self) -> Fingerprint {
        self.key
    }

    /// Whether both name the same issuer.
    #[must_use]
    pub fn has_issuer_of(&self, other: &Self) -> bool {
        let (Ok(one), Ok(other)) = (parse_certificate(&self.der), parse_certificate(&other.der)) else { return false };
        one.issuer().as_raw() == other.issuer().as_raw()
    }

    /// What kind of key it is for; none for a kind that the manifest has no word for.
    #[must_use]
    pub fn key_algorithm(&self) -> Option<KeyAlgorithm> {
        self.key_algorithm
    }
}

impl fmt::Debug for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leaf").field("serial", &self.serial).field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

impl Serialize for Leaf {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.der))
    }
}

impl<'de> Deserialize<'de> for Leaf {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let der = STANDARD.decode(text).map_err(de::Error::custom)?;
        Self::parse(&der).map_err(de::Error::custom)
    }
}

/// The root that a chain ends at.
#[derive(Clone, PartialEq, Eq)]
pub struct RootCertificate {
    der: Box<[u8]>,
    fingerprint: Fingerprint,
    not_after: Timestamp,
}

impl RootCertificate {
    /// Parses DER.
    ///
    /// # Errors
    /// Not a well-formed certificate of a certificate authority.
    pub fn parse(der: &[u8]) -> Result<Self, CertificateError> {
        let certificate = parse_certificate(der)?;
        if !certificate.is_ca() {
            return Err(CertificateError::NotAnAuthority(crate::id::shown(&certificate.subject().to_string())));
        }
        let not_after = certificate.validity().not_after.to_datetime().into();
        Ok(Self { der: der.into(), fingerprint: Fingerprint::of(der), not_after })
    }

    /// Parses one PEM block.
    ///
    /// # Errors
    /// Not exactly one certificate, or as [`Self::parse`].
    pub fn from_pem(text: &str) -> Result<Self, CertificateError> {
        match certificates_from_pem(text)?.as_slice() {
            [one] => Self::parse(one),
            several => Err(CertificateError::LongChain(several.len())),
        }
    }

    /// The certificate as DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The SHA-256 of its DER: what `step certificate fingerprint` prints.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Its subject, as people read it.
    #[must_use]
    pub fn subject(&self) -> String {
        subject_and_end(&self.der).map(|(subject, _)| subject).unwrap_or_default()
    }

    /// The last second of its validity.
    #[must_use]
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Whether it has signed this certificate (DER).
    #[must_use]
    pub fn has_signed(&self, der: &[u8]) -> bool {
        let (Ok(signer), Ok(subject)) = (parse_certificate(&self.der), parse_certificate(der)) else { return false };
        subject.issuer().as_raw() == signer.subject().as_raw()
            && subject.verify_signature(Some(signer.public_key())).is_ok()
    }
}

impl Serialize for RootCertificate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.der))
    }
}

impl<'de> Deserialize<'de> for RootCertificate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let der = STANDARD.decode(text).map_err(de::Error::custom)?;
        Self::parse(&der).map_err(de::Error::custom)
    }
}

impl fmt::Debug for RootCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RootCertificate({})", self.fingerprint())
    }
}

/// The DER of every certificate in PEM text; text between blocks is ignored.
///
/// # Errors
/// Malformed PEM, or a block of another kind.
pub fn certificates_from_pem(text: &str) -> Result<Vec<Vec<u8>>, CertificateError> {
    let blocks = pem::parse_many(text).map_err(malformed("PEM"))?;
    blocks
        .into_iter()
        .map(|block| match block.tag() {
            "CERTIFICATE" => Ok(block.into_contents()),
            other => {
                Err(malformed("PEM")(format!("a block of `{}` instead of a certificate", crate::id::shown(other))))
            }
        })
        .collect()
}

/// The subject and the last second of a certificate in PEM, of an authority that no chain leads to here.
///
/// # Errors
/// Not exactly one certificate, or malformed.
pub fn authority_from_pem(text: &str) -> Result<(String, Timestamp), CertificateError> {
    match certificates_from_pem(text)?.as_slice() {
        [one] => subject_and_end(one),
        several => Err(CertificateError::LongChain(several.len())),
    }
}

fn subject_and_end(der: &[u8]) -> Result<(String, Timestamp), CertificateError> {
    let certificate = parse_certificate(der)?;
    let end = certificate.validity().not_after.to_datetime().into();
    Ok((crate::id::shown(&certificate.subject().to_string()), end))
}

/// PEM text of DER certificates, in order, with Unix line ends.
pub fn certificates_to_pem<'a>(certificates: impl IntoIterator<Item = &'a [u8]>) -> String {
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    certificates.into_iter().map(|der| pem::encode_config(&pem::Pem::new("CERTIFICATE", der), config)).collect()
}

fn parse_certificate(der: &[u8]) -> Result<X509Certificate<'_>, CertificateError> {
    if der.len() > MAX_DER {
        return Err(CertificateError::TooLarge(der.len()));
    }
    let (rest, certificate) = X509Certificate::from_der(der).map_err(malformed("certificate"))?;
    if rest.is_empty() { Ok(certificate) } else { Err(CertificateError::TrailingBytes(rest.len())) }
}

fn key_algorithm(key: &SubjectPublicKeyInfo<'_>) -> Option<KeyAlgorithm> {
    let oid = &key.algorithm.algorithm;
    if *oid == OID_KEY_TYPE_EC_PUBLIC_KEY {
        let curve = key.algorithm.parameters.as_ref()?.as_oid().ok()?;
        if curve == OID_EC_P256 {
            Some(KeyAlgorithm::EcdsaP256)
        } else if curve == OID_NIST_EC_P384 {
            Some(KeyAlgorithm::EcdsaP384)
        } else {
            None
        }
    } else if *oid == OID_SIG_ED25519 {
        Some(KeyAlgorithm::Ed25519)
    } else if *oid == OID_PKCS1_RSAENCRYPTION {
        let PublicKey::RSA(rsa) = key.parsed().ok()? else { return None };
        match rsa.key_size() {
            2048 => Some(KeyAlgorithm::Rsa2048),
            3072 => Some(KeyAlgorithm::Rsa3072),
            4096 => Some(KeyAlgorithm::Rsa4096),
            _ => None,
        }
    } else {
        None
    }
}

fn hex(bytes: &[u8]) -> String {
    // A positive INTEGER may start with a zero octet that is not part of the number.
    let number = match bytes {
        [0, rest @ ..] if !rest.is_empty() => rest,
        whole => whole,
    };
    number.iter().map(|byte| format!("{byte:02X}")).collect()
}
