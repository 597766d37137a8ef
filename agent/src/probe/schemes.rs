//! Which signatures a look can verify: those of the key that is looked for, so that a service with certificates for several
//! kinds of keys shows the one that is meant (RFC 8446 section 4.2.3, RFC 5246 section 7.4.1.4.1).
//!
//! Invariant: in TLS 1.2 the cipher suite names the kind of key too, so suites are left out by the same rule.

use std::sync::Arc;

use pinion_proto::key::KeyAlgorithm;
use rustls::{SignatureAlgorithm, SignatureScheme, SupportedCipherSuite, crypto::CryptoProvider};

/// Whether a key of this kind makes such signatures; a kind that has no name here makes none.
pub(super) fn is_of(scheme: SignatureScheme, key: Option<KeyAlgorithm>) -> bool {
    let algorithm = match key {
        None => return false,
        Some(KeyAlgorithm::EcdsaP256 | KeyAlgorithm::EcdsaP384) => SignatureAlgorithm::ECDSA,
        Some(KeyAlgorithm::Ed25519) => SignatureAlgorithm::ED25519,
        Some(KeyAlgorithm::Rsa2048 | KeyAlgorithm::Rsa3072 | KeyAlgorithm::Rsa4096) => SignatureAlgorithm::RSA,
    };
    algorithm_of(scheme) == Some(algorithm)
}

fn algorithm_of(scheme: SignatureScheme) -> Option<SignatureAlgorithm> {
    use SignatureScheme as S;
    match scheme {
        S::RSA_PKCS1_SHA256 | S::RSA_PKCS1_SHA384 | S::RSA_PKCS1_SHA512 => Some(SignatureAlgorithm::RSA),
        S::RSA_PSS_SHA256 | S::RSA_PSS_SHA384 | S::RSA_PSS_SHA512 => Some(SignatureAlgorithm::RSA),
        S::ECDSA_NISTP256_SHA256 | S::ECDSA_NISTP384_SHA384 | S::ECDSA_NISTP521_SHA512 => {
            Some(SignatureAlgorithm::ECDSA)
        }
        S::ED25519 => Some(SignatureAlgorithm::ED25519),
        _ => None,
    }
}

/// The provider, without the cipher suites of TLS 1.2 that need another kind of key than these schemes have.
pub(super) fn suites_for(provider: &Arc<CryptoProvider>, schemes: &[SignatureScheme]) -> Arc<CryptoProvider> {
    let fits = |suite: &SupportedCipherSuite| match suite {
        SupportedCipherSuite::Tls12(suite) => suite.sign.iter().any(|scheme| schemes.contains(scheme)),
        SupportedCipherSuite::Tls13(_) => true,
    };
    let mut provider = CryptoProvider::clone(provider);
    provider.cipher_suites.retain(fits);
    Arc::new(provider)
}
