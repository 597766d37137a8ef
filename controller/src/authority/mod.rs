//! A small certificate authority: one root, made at first start and kept in the store, that signs leaves itself.
//!
//! Answers: what does a certificate of Pinion's own look like?
//! Invariant: the subject's key comes from a request whose possession was proven, everything else from the caller;
//! nothing is signed that outlives the root. The embedded issuer and the identity CA each have one of their own.

pub(crate) mod documents;
mod error;
mod kept;
pub(crate) mod node;

use std::{fmt, time::Duration};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use pinion_proto::{
    bundle::{CertificateRequest, Leaf, RootCertificate},
    clock::Timestamp,
    key::KeyAlgorithm,
    names::SubjectName,
};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SerialNumber, SignatureAlgorithm, SigningKey,
    SubjectPublicKeyInfo,
};
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use x509_parser::prelude::{FromDer, X509CertificationRequest};
use zeroize::Zeroizing;

pub(crate) use error::AuthorityError;
pub(crate) use kept::{Traces, check, forget, may_begin, note_root, noted};

use crate::store::{Area, Store, StoreError};
use kept::Known;

/// Ten years: a root outlives every host it is installed on, and is replaced by hand.
const ROOT_LIFE: Duration = Duration::from_secs(3652 * 24 * 3600);

/// Guests' clocks may be this far behind the controller's.
pub(crate) const BACKDATE: Duration = Duration::from_secs(60);

/// A root and its key.
pub(crate) struct Authority {
    root: RootCertificate,
    expires: Timestamp,
    issuer: Issuer<'static, RootKey>,
    /// The certificates between its leaves and the root, DER.
    above: Vec<Vec<u8>>,
}

/// What a leaf says besides its key.
#[derive(Debug)]
pub(crate) struct Profile<'a> {
    /// The subject's common name; left out when it is longer than X.520 allows (64 characters).
    pub(crate) common_name: Option<&'a str>,
    /// Its subjectAltName.
    pub(crate) names: Vec<&'a SubjectName>,
    /// For servers, clients or both.
    pub(crate) usages: &'a [ExtendedKeyUsagePurpose],
    /// How long it should be valid from now on.
    pub(crate) duration: Duration,
}

impl Authority {
    /// Reads the authority from the document `name` of the shared area. Where nothing says that there ever was one it is
    /// made, once, whoever else starts in that moment.
    pub(crate) fn load_or_make(
        store: &Store,
        name: &'static str,
        common_name: &str,
        traces: impl FnOnce() -> Result<Traces, StoreError>,
        now: Timestamp,
    ) -> Result<Self, AuthorityError> {
        let known = Known::read(store, name, traces()?)?;
        if store.read::<Document>(Area::Shared, name)?.is_none() {
            known.may_make(store, name)?;
        }
        let document = store.settle(Area::Shared, name, |_| true, || make(common_name, now))?;
        let authority = Self::load(&document).map_err(|why| AuthorityError::Unusable { name, why })?;
        known.check(store, name, authority.root.fingerprint())?;
        store.expect(name);
        Ok(authority)
    }

    fn load(document: &Document) -> Result<Self, String> {
        let der = STANDARD.decode(&document.certificate).map_err(|e| format!("its certificate: {e}"))?;
        let root = RootCertificate::parse(&der).map_err(|e| format!("its certificate: {e}"))?;
        let key = Zeroizing::new(STANDARD.decode(document.key.0.as_bytes()).map_err(|e| format!("its key: {e}"))?);
        let key = RootKey::from_pkcs8(&key).map_err(|e| format!("its key: {e}"))?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&der).map_err(|e| format!("its certificate: {e}"))?;
        if parsed.public_key().subject_public_key.as_ref() != key.der_bytes() {
            return Err("its key does not belong to its certificate".into());
        }
        let expires = parsed.validity().not_after.to_datetime().into();
        let issuer = Issuer::from_ca_cert_der(&CertificateDer::from(der.as_slice()), key).map_err(|e| e.to_string())?;
        Ok(Self { root, expires, issuer, above: Vec::new() })
    }

    pub(crate) fn root(&self) -> &RootCertificate {
        &self.root
    }

    /// Vouches for another root to those who trust this one: its subject and key, as of an authority that may have others
    /// below it.
    pub(crate) fn endorse(&self, next: &RootCertificate, now: Timestamp) -> Result<Vec<u8>, AuthorityError> {
        let (_, parsed) = x509_parser::parse_x509_certificate(next.der()).map_err(|_| AuthorityError::Key)?;
        let key = SubjectPublicKeyInfo::from_der(parsed.public_key().raw).map_err(|_| AuthorityError::Key)?;
        // A root of Pinion's own has a common name and nothing else.
        let name = parsed.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name.ok_or(AuthorityError::Key)?);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.serial_number = Some(serial()?);
        params.not_before = (now - BACKDATE).into();
        params.not_after = next.not_after().min(self.expires).into();
        params.use_authority_key_identifier_extension = true;
        Ok(params.signed_by(&key, &self.issuer).map_err(AuthorityError::Sign)?.der().to_vec())
    }

    /// A leaf of its own with everything between it and the root, each DER.
    pub(crate) fn chain(&self, leaf: &Leaf) -> Vec<Vec<u8>> {
        std::iter::once(leaf.der().to_vec()).chain(self.above.iter().cloned()).collect()
    }

    /// Its own last second.
    pub(crate) fn expires(&self) -> Timestamp {
        self.expires
    }

    /// Signs a leaf for the key of a PKCS #10 request, of which nothing else is taken.
    pub(crate) fn sign(&self, csr: &[u8], profile: Profile<'_>, now: Timestamp) -> Result<Leaf, AuthorityError> {
        let (algorithm, key) = proven_key(csr)?;
        let mut params = self.parameters(profile.duration, now)?;
        // RFC 5280 appendix A.1: ub-common-name is 64.
        if let Some(name) = profile.common_name.filter(|name| name.chars().count() <= 64) {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        params.subject_alt_names = profile.names.into_iter().map(general_name).collect::<Result<_, _>>()?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        if matches!(algorithm, KeyAlgorithm::Rsa2048 | KeyAlgorithm::Rsa3072 | KeyAlgorithm::Rsa4096) {
            // TLS 1.2's RSA key exchange, which some old clients of old services still use.
            params.key_usages.push(KeyUsagePurpose::KeyEncipherment);
        }
        params.extended_key_usages = profile.usages.to_vec();
        params.use_authority_key_identifier_extension = true;
        let leaf = params.signed_by(&key, &self.issuer).map_err(AuthorityError::Sign)?;
        Ok(Leaf::parse(leaf.der())?)
    }

    /// A certificate without a name: its serial number, and its life from now on, which ends with the authority's own.
    fn parameters(&self, life: Duration, now: Timestamp) -> Result<CertificateParams, AuthorityError> {
        if self.expires <= now {
            return Err(AuthorityError::RootExpired(self.expires));
        }
        let mut params = CertificateParams::default();
        params.serial_number = Some(serial()?);
        params.not_before = (now - BACKDATE).into();
        params.not_after = (now + life).min(self.expires).into();
        params.distinguished_name = DistinguishedName::new();
        Ok(params)
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("root", &self.root).field("expires", &self.expires).finish_non_exhaustive()
    }
}

/// The authority in the store: both base64, certificate DER, key PKCS #8.
#[derive(Debug, Serialize, Deserialize)]
struct Document {
    certificate: String,
    key: SecretText,
}

/// Text that is wiped when dropped and not shown.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct SecretText(Zeroizing<String>);

impl SecretText {
    pub(crate) fn new(text: Zeroizing<String>) -> Self {
        Self(text)
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(…)")
    }
}

/// ECDSA on P-256, held by the crypto library alone, which wipes it when it is dropped.
struct RootKey(EcdsaKeyPair);

impl RootKey {
    fn from_pkcs8(der: &[u8]) -> Result<Self, String> {
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der).map(Self).map_err(|e| e.to_string())
    }
}

impl PublicKeyData for RootKey {
    fn der_bytes(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl SigningKey for RootKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signature = self.0.sign(&SystemRandom::new(), message).map_err(|_| rcgen::Error::RingUnspecified)?;
        Ok(signature.as_ref().to_vec())
    }
}

/// Makes an authority that takes another's place later, once; it is not noted.
pub(crate) fn settle_made(store: &Store, name: &str, common_name: &str, now: Timestamp) -> Result<(), AuthorityError> {
    store.settle(Area::Shared, name, |_: &Document| true, || make(common_name, now)).map(drop)
}

/// A stored authority with its key, if there is one; it is not noted.
pub(crate) fn stored(store: &Store, name: &'static str) -> Result<Option<Authority>, AuthorityError> {
    let Some(document) = store.read::<Document>(Area::Shared, name)? else { return Ok(None) };
    Authority::load(&document).map(Some).map_err(|why| AuthorityError::Unusable { name, why })
}

/// The root of a stored authority, if there is one.
pub(crate) fn stored_root(store: &Store, name: &str) -> Result<Option<RootCertificate>, AuthorityError> {
    let Some(document) = store.read::<Document>(Area::Shared, name)? else { return Ok(None) };
    let der = STANDARD.decode(&document.certificate).map_err(|_| AuthorityError::Key)?;
    Ok(Some(RootCertificate::parse(&der)?))
}

fn make(common_name: &str, now: Timestamp) -> Result<Document, AuthorityError> {
    let random = |_| AuthorityError::Random;
    let document =
        EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new()).map_err(random)?;
    let key = RootKey::from_pkcs8(document.as_ref()).map_err(|_| AuthorityError::Random)?;
    let mut params = CertificateParams::default();
    params.serial_number = Some(serial()?);
    params.not_before = (now - BACKDATE).into();
    params.not_after = (now + ROOT_LIFE).into();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    // One authority may stand between the root and a leaf: a node's own.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let root = params.self_signed(&key).map_err(AuthorityError::Sign)?;
    let key = Zeroizing::new(STANDARD.encode(document.as_ref()));
    Ok(Document { certificate: STANDARD.encode(root.der()), key: SecretText(key) })
}

/// The key of a PKCS #10 request, whose possession was proven by the request's signature (RFC 2986).
fn proven_key(csr: &[u8]) -> Result<(KeyAlgorithm, SubjectPublicKeyInfo), AuthorityError> {
    let algorithm = CertificateRequest::parse(csr)?.key_algorithm.ok_or(AuthorityError::Key)?;
    let (_, parsed) = X509CertificationRequest::from_der(csr).map_err(|_| AuthorityError::Key)?;
    let key = SubjectPublicKeyInfo::from_der(parsed.certification_request_info.subject_pki.raw)
        .map_err(|_| AuthorityError::Key)?;
    Ok((algorithm, key))
}

/// A positive INTEGER of 20 octets with 158 random bits (RFC 5280 section 4.1.2.2 asks for a positive one of
/// at most 20; the CA/Browser Forum for 64 random bits).
fn serial() -> Result<SerialNumber, AuthorityError> {
    let mut bytes = [0u8; 20];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| AuthorityError::Random)?;
    bytes[0] = (bytes[0] & 0x7f) | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

fn general_name(name: &SubjectName) -> Result<SanType, AuthorityError> {
    let text = |text: &str| text.try_into().map_err(AuthorityError::Sign);
    Ok(match name {
        SubjectName::Dns(dns) => SanType::DnsName(text(dns)?),
        SubjectName::Ip(address) => SanType::IpAddress(*address),
        SubjectName::Uri(uri) => SanType::URI(text(uri)?),
        SubjectName::Email(email) => SanType::Rfc822Name(text(email)?),
    })
}

/// PKCS #8 of a fresh ECDSA P-256 key, and a request signed by it that asks for nothing.
pub(crate) fn fresh_key() -> Result<(Zeroizing<Vec<u8>>, Vec<u8>), AuthorityError> {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map_err(|_| AuthorityError::Random)?;
    let pkcs8 = pair.to_pkcs8v1().map_err(|_| AuthorityError::Random)?;
    let csr = CertificateParams::default().serialize_request(&RootKey(pair)).map_err(AuthorityError::Sign)?;
    Ok((Zeroizing::new(pkcs8.as_ref().to_vec()), csr.der().to_vec()))
}

#[cfg(test)]
mod tests;
