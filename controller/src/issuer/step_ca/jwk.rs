//! A provisioner's private key, and the tokens that it signs (RFC 7515, 7517, 7518, 7519).
//!
//! Invariant: the key lives in the crypto library, which wipes it; what is decoded on the way is wiped here.

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING,
        EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair,
    },
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::Zeroizing;

/// A private key that signs tokens.
pub(super) struct TokenKey {
    pair: Pair,
    algorithm: &'static str,
}

enum Pair {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// The fields of a private JWK that matter (RFC 7517 section 4, RFC 7518 section 6, RFC 8037 section 2).
#[derive(Deserialize)]
struct PrivateJwk {
    kty: String,
    #[serde(default)]
    crv: String,
    #[serde(default)]
    alg: Option<String>,
    #[serde(default)]
    x: String,
    #[serde(default)]
    y: String,
    #[serde(default)]
    d: Zeroizing<String>,
}

impl TokenKey {
    /// Reads a private JWK.
    pub(super) fn parse(json: &[u8]) -> Result<Self, JwkError> {
        let jwk: PrivateJwk = serde_json::from_slice(json).map_err(|_| JwkError::Malformed)?;
        match (jwk.kty.as_str(), jwk.crv.as_str()) {
            ("EC", "P-256") => Self::ecdsa(&jwk, &ECDSA_P256_SHA256_FIXED_SIGNING, 32, "ES256"),
            ("EC", "P-384") => Self::ecdsa(&jwk, &ECDSA_P384_SHA384_FIXED_SIGNING, 48, "ES384"),
            ("EC", "P-521") => Self::ecdsa(&jwk, &ECDSA_P521_SHA512_FIXED_SIGNING, 66, "ES512"),
            ("OKP", "Ed25519") => {
                jwk.must_be_for("EdDSA")?;
                let (seed, public) = (field(&jwk.d, 32)?, field(&jwk.x, 32)?);
                let pair = Ed25519KeyPair::from_seed_and_public_key(&seed, &public).map_err(|_| JwkError::Malformed)?;
                Ok(Self { pair: Pair::Ed25519(pair), algorithm: "EdDSA" })
            }
            (kind, curve) => Err(JwkError::Unsupported(pinion_proto::id::shown(format!("{kind} {curve}").trim()))),
        }
    }

    fn ecdsa(
        jwk: &PrivateJwk,
        algorithm: &'static EcdsaSigningAlgorithm,
        size: usize,
        name: &'static str,
    ) -> Result<Self, JwkError> {
        jwk.must_be_for(name)?;
        let (d, x, y) = (field(&jwk.d, size)?, field(&jwk.x, size)?, field(&jwk.y, size)?);
        // SEC 1 section 2.3.3: an uncompressed point.
        let public = [&[4], x.as_slice(), y.as_slice()].concat();
        let pair =
            EcdsaKeyPair::from_private_key_and_public_key(algorithm, &d, &public).map_err(|_| JwkError::Malformed)?;
        Ok(Self { pair: Pair::Ecdsa(pair), algorithm: name })
    }

    /// A compact JWS of the claims, with the key's id in its header.
    pub(super) fn sign(&self, key_id: &str, claims: &impl Serialize) -> Result<String, JwkError> {
        let header = Header { alg: self.algorithm, kid: key_id, typ: "JWT" };
        let encode = |json: Result<Vec<u8>, serde_json::Error>| {
            json.map(|json| URL_SAFE_NO_PAD.encode(json)).map_err(|_| JwkError::Malformed)
        };
        let mut token = encode(serde_json::to_vec(&header))?;
        token.push('.');
        token.push_str(&encode(serde_json::to_vec(claims))?);
        let signature = match &self.pair {
            Pair::Ecdsa(pair) => {
                pair.sign(&SystemRandom::new(), token.as_bytes()).map_err(|_| JwkError::Sign)?.as_ref().to_vec()
            }
            Pair::Ed25519(pair) => pair.sign(token.as_bytes()).as_ref().to_vec(),
        };
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }
}

impl std::fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TokenKey({})", self.algorithm)
    }
}

impl PrivateJwk {
    fn must_be_for(&self, algorithm: &str) -> Result<(), JwkError> {
        match &self.alg {
            Some(stated) if stated != algorithm => Err(JwkError::Unsupported(pinion_proto::id::shown(stated))),
            _ => Ok(()),
        }
    }
}

#[derive(Serialize)]
struct Header<'a> {
    alg: &'a str,
    kid: &'a str,
    typ: &'a str,
}

/// RFC 7518 section 6.2: each coordinate has the full size of the curve.
fn field(text: &str, size: usize) -> Result<Zeroizing<Vec<u8>>, JwkError> {
    let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(text).map_err(|_| JwkError::Malformed)?);
    if bytes.len() == size { Ok(bytes) } else { Err(JwkError::Malformed) }
}

/// Why a provisioner's key cannot sign.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum JwkError {
    #[error("the provisioner's key is not a complete private JWK")]
    Malformed,
    #[error("the provisioner's key has kind `{0}`; Pinion supports EC on P-256, P-384 or P-521, and Ed25519")]
    Unsupported(String),
    #[error("cannot sign with the provisioner's key")]
    Sign,
}

#[cfg(test)]
pub(super) mod tests {
    use aws_lc_rs::encoding::{AsBigEndian, EcPrivateKeyBin};
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519, KeyPair, UnparsedPublicKey,
        VerificationAlgorithm,
    };

    use super::*;

    fn ec(algorithm: &'static EcdsaSigningAlgorithm, curve: &str) -> (String, Vec<u8>) {
        let pair = EcdsaKeyPair::generate(algorithm).expect("a key");
        let private: EcPrivateKeyBin<'_> = pair.private_key().as_be_bytes().expect("its number");
        let public = pair.public_key().as_ref().to_vec();
        let half = (public.len() - 1) / 2;
        let [x, y] = [&public[1..=half], &public[half + 1..]].map(|part| URL_SAFE_NO_PAD.encode(part));
        let d = URL_SAFE_NO_PAD.encode(private.as_ref());
        (format!(r#"{{"kty":"EC","crv":"{curve}","use":"sig","x":"{x}","y":"{y}","d":"{d}"}}"#), public)
    }

    #[test]
    fn tokens_of_every_kind_verify() {
        let seed = Ed25519KeyPair::generate().expect("a key");
        let x = URL_SAFE_NO_PAD.encode(seed.public_key().as_ref());
        let bytes = seed.seed().expect("a seed").as_be_bytes().expect("its bytes");
        let d = URL_SAFE_NO_PAD.encode(bytes.as_ref());
        let ed = format!(r#"{{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","x":"{x}","d":"{d}"}}"#);
        type Case = ((String, Vec<u8>), &'static dyn VerificationAlgorithm);
        let cases: [Case; 4] = [
            (ec(&ECDSA_P256_SHA256_FIXED_SIGNING, "P-256"), &ECDSA_P256_SHA256_FIXED),
            (ec(&ECDSA_P384_SHA384_FIXED_SIGNING, "P-384"), &ECDSA_P384_SHA384_FIXED),
            (ec(&ECDSA_P521_SHA512_FIXED_SIGNING, "P-521"), &ECDSA_P521_SHA512_FIXED),
            ((ed, seed.public_key().as_ref().to_vec()), &ED25519),
        ];
        for ((jwk, public), verification) in cases {
            let key = TokenKey::parse(jwk.as_bytes()).expect(&jwk);
            let token = key.sign("kid-1", &serde_json::json!({"sub": "x"})).expect("a token");
            let (signed, signature) = token.rsplit_once('.').expect("three parts");
            let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
            UnparsedPublicKey::new(verification, &public).verify(signed.as_bytes(), &signature).expect("it verifies");
        }
    }

    #[test]
    fn keys_of_other_kinds_are_named() {
        for (jwk, shown) in [
            (r#"{"kty":"RSA","n":"AQAB","e":"AQAB","d":"AQAB"}"#, "RSA"),
            (r#"{"kty":"EC","crv":"secp256k1"}"#, "EC secp256k1"),
            (r#"{"kty":"OKP","crv":"Ed25519","alg":"ES256"}"#, "ES256"),
        ] {
            assert_eq!(TokenKey::parse(jwk.as_bytes()).err(), Some(JwkError::Unsupported(shown.into())));
        }
        for bad in ["", "[]", r#"{"kty":"EC","crv":"P-256","x":"AA","y":"AA","d":"AA"}"#] {
            assert_eq!(TokenKey::parse(bad.as_bytes()).err(), Some(JwkError::Malformed), "{bad}");
        }
    }
}
