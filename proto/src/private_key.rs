//! Private keys, and the certificate requests that they sign: alike in a guest, where keys are born, and
//! in the controller for the keys that placements share.
//!
//! Invariant: a key is PKCS #8 in memory that is wiped when it is dropped, and is never shown.

use std::fmt;

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    rsa,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair},
};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PublicKeyData, RsaKeySize, SanType};
use rustls::pki_types::PrivatePkcs8KeyDer;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::{
    bundle::Fingerprint,
    key::KeyAlgorithm,
    names::{SubjectName, SubjectNames},
};

/// The PEM label of PKCS #8 (RFC 7468 section 10).
const LABEL: &str = "PRIVATE KEY";

/// A private key, zeroized when it is dropped and redacted in `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateKey {
    der: Zeroizing<Vec<u8>>,
    public: Fingerprint,
}

impl PrivateKey {
    /// Makes a new key. RSA takes up to seconds of a core: not for a thread that serves others.
    ///
    /// # Errors
    /// The library has no randomness or refuses.
    pub fn generate(algorithm: KeyAlgorithm) -> Result<Self, KeyError> {
        let failed = |why: String| KeyError::Generate { algorithm, why };
        let rsa = |size| KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, size).map_err(|e| failed(e.to_string()));
        let of = |kind| KeyPair::generate_for(kind).map_err(|e| failed(e.to_string()));
        let pair = match algorithm {
            KeyAlgorithm::EcdsaP256 => of(&rcgen::PKCS_ECDSA_P256_SHA256)?,
            KeyAlgorithm::EcdsaP384 => of(&rcgen::PKCS_ECDSA_P384_SHA384)?,
            KeyAlgorithm::Ed25519 => {
                // rcgen would write PKCS #8 version 2, which OpenSSL before 3.0 and many services cannot read.
                let refused = |_| failed("the library gives no reason".into());
                let pair = Ed25519KeyPair::generate().map_err(refused)?;
                return Self::from_pkcs8(Zeroizing::new(pair.to_pkcs8v1().map_err(refused)?.as_ref().to_vec()));
            }
            KeyAlgorithm::Rsa2048 => rsa(RsaKeySize::_2048)?,
            KeyAlgorithm::Rsa3072 => rsa(RsaKeySize::_3072)?,
            KeyAlgorithm::Rsa4096 => rsa(RsaKeySize::_4096)?,
        };
        let pair = Zeroizing::new(pair);
        Ok(Self {
            der: Zeroizing::new(pair.serialized_der().to_vec()),
            public: Fingerprint::of(&pair.subject_public_key_info()),
        })
    }

    /// Takes a key from PKCS #8, DER.
    ///
    /// # Errors
    /// It is malformed, or of a kind that Pinion does not make.
    pub fn from_pkcs8(der: Zeroizing<Vec<u8>>) -> Result<Self, KeyError> {
        let public = Fingerprint::of(&pair(&der)?.subject_public_key_info());
        Ok(Self { der, public })
    }

    /// The SHA-256 of its subjectPublicKeyInfo, to compare with a certificate's.
    #[must_use]
    pub fn public(&self) -> Fingerprint {
        self.public
    }

    /// The key as PKCS #8, DER.
    #[must_use]
    pub fn to_pkcs8(&self) -> Zeroizing<Vec<u8>> {
        self.der.clone()
    }

    /// PKCS #8 as PEM with Unix line ends.
    #[must_use]
    pub fn to_pem(&self) -> Zeroizing<String> {
        use base64::{Engine, engine::general_purpose::STANDARD};
        let body = Zeroizing::new(STANDARD.encode(&self.der));
        // Written into one buffer of the final size, so that growing leaves no copies behind.
        let mut pem = Zeroizing::new(String::with_capacity(body.len() + body.len() / 64 + 80));
        pem.push_str("-----BEGIN PRIVATE KEY-----\n");
        for line in body.as_bytes().chunks(64) {
            pem.extend(line.iter().map(|byte| char::from(*byte)));
            pem.push('\n');
        }
        pem.push_str("-----END PRIVATE KEY-----\n");
        pem
    }

    /// Takes a key from PEM as [`Self::to_pem`] writes it.
    ///
    /// # Errors
    /// No such PEM, or as [`Self::from_pkcs8`].
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let block = pem::parse(text).map_err(|_| KeyError::Pem)?;
        if block.tag() != LABEL {
            return Err(KeyError::Pem);
        }
        Self::from_pkcs8(Zeroizing::new(block.into_contents()))
    }

    /// Takes a key that another program has made, from PEM with the blocks that such files have: PKCS #8, SEC 1 (RFC 5915)
    /// or PKCS #1 (RFC 8017), with an elliptic curve's parameters or certificates beside it.
    ///
    /// # Errors
    /// No private key, more than one, one behind a password, or one of a kind that Pinion does not create.
    pub fn from_foreign_pem(text: &[u8]) -> Result<Self, KeyError> {
        let blocks = pem::parse_many(text).map_err(|_| KeyError::NoKey)?;
        let mut keys = blocks.into_iter().filter(|block| block.tag().ends_with(LABEL));
        let (Some(block), None) = (keys.next(), keys.next()) else { return Err(KeyError::NoKey) };
        let is_encrypted = block.tag().starts_with("ENCRYPTED") || block.headers().get("DEK-Info").is_some();
        let (label, der) = (block.tag().to_owned(), Zeroizing::new(block.into_contents()));
        if is_encrypted {
            return Err(KeyError::Encrypted);
        }
        let unknown = |why: String| KeyError::Malformed(why);
        let pkcs8 = match label.as_str() {
            LABEL => der,
            "EC PRIVATE KEY" => {
                let read = |kind| EcdsaKeyPair::from_private_key_der(kind, &der);
                let pair = read(&ECDSA_P256_SHA256_ASN1_SIGNING)
                    .or_else(|_| read(&ECDSA_P384_SHA384_ASN1_SIGNING))
                    .map_err(|e| unknown(e.to_string()))?;
                Zeroizing::new(pair.to_pkcs8v1().map_err(|e| unknown(e.to_string()))?.as_ref().to_vec())
            }
            "RSA PRIVATE KEY" => {
                let pair = rsa::KeyPair::from_der(&der).map_err(|e| unknown(e.to_string()))?;
                let pkcs8: Pkcs8V1Der<'_> = pair.as_der().map_err(|e| unknown(e.to_string()))?;
                Zeroizing::new(pkcs8.as_ref().to_vec())
            }
            other => return Err(unknown(format!("it is `{other}`"))),
        };
        Self::from_pkcs8(pkcs8)
    }

    /// A request (PKCS #10, DER) for exactly these names with this common name, signed by the key.
    ///
    /// # Errors
    /// A name cannot be written in a request, or the library refuses.
    pub fn request(&self, common_name: &SubjectName, names: &SubjectNames) -> Result<Vec<u8>, KeyError> {
        let failed = |e: rcgen::Error| KeyError::Request(e.to_string());
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = DistinguishedName::new();
        // A CA may cut or refuse a longer one (ub-common-name, RFC 5280 appendix A.1); the names carry it anyway.
        let common_name = common_name.plain();
        if common_name.len() <= 64 {
            parameters.distinguished_name.push(DnType::CommonName, common_name);
        }
        parameters.subject_alt_names = names.iter().map(san).collect::<Result<_, _>>().map_err(failed)?;
        let request = parameters.serialize_request(&*pair(&self.der)?).map_err(failed)?;
        Ok(request.der().to_vec())
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey(… for {})", self.public)
    }
}

impl Serialize for PrivateKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_pem())
    }
}

impl<'de> Deserialize<'de> for PrivateKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        Self::from_pem(&text).map_err(de::Error::custom)
    }
}

/// Why there is no key or request.
#[derive(Debug, Error)]
pub enum KeyError {
    /// No key could be made.
    #[error("cannot create a key of kind {algorithm}: {why}")]
    Generate {
        /// The kind that was asked for.
        algorithm: KeyAlgorithm,
        /// The library's reason.
        why: String,
    },
    /// The bytes are not a private key that Pinion can use.
    #[error("the private key is not PKCS #8 of a kind that Pinion creates: {0}")]
    Malformed(String),
    /// The text is not exactly one PEM block with a private key.
    #[error("the private key is not one PEM block of the kind `{LABEL}`")]
    Pem,
    /// A file has no private key, or more than one.
    #[error("it does not contain exactly one private key")]
    NoKey,
    /// The key in it is behind a password.
    #[error("its private key is encrypted")]
    Encrypted,
    /// No request could be made.
    #[error("cannot create the certificate request: {0}")]
    Request(String),
}

fn pair(der: &[u8]) -> Result<Zeroizing<KeyPair>, KeyError> {
    let pair = KeyPair::try_from(&PrivatePkcs8KeyDer::from(der)).map_err(|e| KeyError::Malformed(e.to_string()))?;
    Ok(Zeroizing::new(pair))
}

fn san(name: &SubjectName) -> Result<SanType, rcgen::Error> {
    Ok(match name {
        SubjectName::Dns(text) => SanType::DnsName(text.to_string().try_into()?),
        SubjectName::Ip(address) => SanType::IpAddress(*address),
        SubjectName::Uri(text) => SanType::URI(text.to_string().try_into()?),
        SubjectName::Email(text) => SanType::Rfc822Name(text.to_string().try_into()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::CertificateRequest;

    #[test]
    fn every_kind_of_key_signs_a_request_for_exactly_the_names() {
        let names: Vec<SubjectName> = ["a.example", "*.a.example", "10.0.0.1", "::1", "spiffe://x/y", "ops@a.example"]
            .iter()
            .map(|text| text.parse().expect(text))
            .collect();
        let names = SubjectNames::try_from(names).expect("names");
        let common_name = "a.example".parse().expect("a name");
        for algorithm in KeyAlgorithm::ALL {
            let key = PrivateKey::generate(algorithm).expect("a key");
            let request = key.request(&common_name, &names).expect("a request");
            let read = CertificateRequest::parse(&request).expect("a request that proves possession");
            assert_eq!(read.names.as_ref(), Some(&names));
            assert_eq!(read.key, key.public());
            assert_eq!(read.key_algorithm, Some(algorithm));
            let again = PrivateKey::from_pem(&key.to_pem()).expect("reads back");
            assert_eq!(again, key);
        }
    }

    #[test]
    fn keys_of_other_programs_are_read_and_those_behind_a_password_are_told() {
        let read = |text: &str| PrivateKey::from_foreign_pem(text.as_bytes());
        let openssl = |arguments: &[&str]| {
            let made = std::process::Command::new("openssl").args(arguments).output().expect("openssl");
            assert!(made.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&made.stderr));
            String::from_utf8(made.stdout).expect("PEM")
        };
        for arguments in [
            // With its parameters, and as SEC 1.
            &["ecparam", "-name", "prime256v1", "-genkey"][..],
            &["ecparam", "-name", "secp384r1", "-genkey", "-noout"],
            &["genrsa", "-traditional", "2048"],
            &["genrsa", "2048"],
            &["genpkey", "-algorithm", "ed25519"],
        ] {
            let text = openssl(arguments);
            let key = read(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
            assert_eq!(PrivateKey::from_pem(&key.to_pem()).expect("PKCS #8"), key, "{arguments:?}");
        }
        let own = PrivateKey::generate(KeyAlgorithm::EcdsaP256).expect("a key");
        assert_eq!(read(&own.to_pem()).expect("its own"), own);
        let certificate = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
        assert_eq!(read(&format!("{certificate}{}", *own.to_pem())).expect("beside a certificate"), own);
        for (text, error) in [
            (certificate.to_owned(), "exactly one"),
            (format!("{}{}", *own.to_pem(), *own.to_pem()), "exactly one"),
            (String::new(), "exactly one"),
            (openssl(&["genrsa", "-aes128", "-passout", "pass:x", "2048"]), "encrypted"),
            (openssl(&["genrsa", "-traditional", "-aes128", "-passout", "pass:x", "2048"]), "encrypted"),
            (openssl(&["ecparam", "-name", "secp521r1", "-genkey", "-noout"]), "not PKCS #8 of a kind"),
        ] {
            let refused = read(&text).expect_err(error).to_string();
            assert!(refused.contains(error), "{error}: {refused}");
        }
    }

    #[test]
    fn ed25519_keys_are_version_one() {
        let key = PrivateKey::generate(KeyAlgorithm::Ed25519).expect("a key");
        // PrivateKeyInfo ::= SEQUENCE { version INTEGER 0, … } (RFC 5208 section 5).
        assert_eq!(key.der.get(2..5), Some(&[2, 1, 0][..]));
    }

    #[test]
    fn keys_are_not_shown_and_bad_ones_are_refused() {
        let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).expect("a key");
        assert!(format!("{key:?}").starts_with("PrivateKey(…"));
        assert!(PrivateKey::from_pkcs8(Zeroizing::new(vec![0x30, 0])).is_err());
        assert!(PrivateKey::from_pem("").is_err());
        assert!(PrivateKey::from_pem("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n").is_err());
    }
}
