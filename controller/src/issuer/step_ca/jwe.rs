//! Opening a provisioner's encrypted key: compact JWE (RFC 7516 section 3.1), password-based.
//!
//! Invariant: what decides how much work is done comes from the CA's answer, so it meets limits first.

use std::num::NonZeroU32;

use aws_lc_rs::{
    aead::{AES_128_GCM, AES_192_GCM, AES_256_GCM, Aad, Algorithm, LessSafeKey, Nonce, UnboundKey},
    key_wrap::{AES_128, AES_256, AesBlockCipher, AesKek, KeyWrap},
    pbkdf2,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use thiserror::Error;
use zeroize::Zeroizing;

/// step writes 600,000 (100,000 in old versions); ten times that takes about a second (RFC 7518 section 4.8.1.2).
const MAX_ITERATIONS: u32 = 6_000_000;

/// RFC 7518 section 4.8.1.1 asks for at least 8 octets of salt; no more than this is ever used.
const MAX_SALT: usize = 1024;

/// A JWK is some hundred bytes, an RSA one some thousand.
const MAX_TEXT: usize = 64 * 1024;

#[derive(Deserialize)]
struct Header {
    alg: String,
    enc: String,
    #[serde(default)]
    zip: Option<String>,
    p2s: String,
    p2c: u32,
}

/// The content of a compact JWE that was encrypted with a password. Takes a noticeable time on purpose.
pub(super) fn open(text: &str, password: &[u8]) -> Result<Zeroizing<Vec<u8>>, JweError> {
    if text.len() > MAX_TEXT {
        return Err(JweError::Malformed("it is too long"));
    }
    let parts: Vec<&str> = text.trim_ascii().split('.').collect();
    let [protected, wrapped, nonce, content, tag] = parts.as_slice() else {
        return Err(JweError::Malformed("it does not have five parts"));
    };
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| JweError::Malformed("a part is not base64url"));
    let header: Header =
        serde_json::from_slice(&decode(protected)?).map_err(|_| JweError::Malformed("its header is not understood"))?;
    if let Some(zip) = header.zip {
        return Err(JweError::Unsupported(format!("zip {zip}")));
    }
    let unwrapping = Unwrapping::of(&header.alg)?;
    let cipher = content_cipher(&header.enc)?;
    let iterations = NonZeroU32::new(header.p2c).filter(|count| count.get() <= MAX_ITERATIONS);
    let iterations = iterations.ok_or(JweError::Malformed("its iteration count (p2c) is out of bounds"))?;
    let salt_input = decode(&header.p2s)?;
    if salt_input.len() > MAX_SALT {
        return Err(JweError::Malformed("its salt is too long"));
    }
    // RFC 7518 section 4.8.1.1: the salt is the algorithm's name, a zero octet, and p2s.
    let salt = [header.alg.as_bytes(), &[0], &salt_input].concat();
    let mut kek = Zeroizing::new(vec![0; unwrapping.key_length]);
    pbkdf2::derive(unwrapping.prf, iterations, &salt, password, &mut kek);

    let wrapped = decode(wrapped)?;
    let kek = AesKek::new(unwrapping.cipher, &kek).map_err(|_| JweError::Malformed("its key is of odd length"))?;
    // RFC 3394: the wrapped key is 8 octets longer, and carries its own check of the password.
    let mut key = Zeroizing::new(vec![0; wrapped.len()]);
    let length = kek.unwrap(&wrapped, &mut key).map_err(|_| JweError::Password)?.len();
    if length != cipher.key_len() {
        return Err(JweError::Malformed("its content key is of the wrong length"));
    }
    let key = key.get(..length).ok_or(JweError::Password)?;
    let key = UnboundKey::new(cipher, key).map_err(|_| JweError::Malformed("its content key cannot be used"))?;
    let nonce = Nonce::try_assume_unique_for_key(&decode(nonce)?)
        .map_err(|_| JweError::Malformed("its nonce is of the wrong length"))?;
    let mut sealed = Zeroizing::new(decode(content)?);
    sealed.extend_from_slice(&decode(tag)?);
    // RFC 7516 section 5.1 step 14: the authenticated data is the encoded header.
    let opened = LessSafeKey::new(key)
        .open_in_place(nonce, Aad::from(protected.as_bytes()), &mut sealed)
        .map_err(|_| JweError::Altered)?;
    Ok(Zeroizing::new(opened.to_vec()))
}

/// The key management algorithms of RFC 7518 section 4.8; aws-lc-rs has no AES-192 key wrap.
struct Unwrapping {
    prf: pbkdf2::Algorithm,
    cipher: &'static AesBlockCipher,
    key_length: usize,
}

impl Unwrapping {
    fn of(name: &str) -> Result<Self, JweError> {
        match name {
            "PBES2-HS256+A128KW" => Ok(Self { prf: pbkdf2::PBKDF2_HMAC_SHA256, cipher: &AES_128, key_length: 16 }),
            "PBES2-HS512+A256KW" => Ok(Self { prf: pbkdf2::PBKDF2_HMAC_SHA512, cipher: &AES_256, key_length: 32 }),
            other => Err(JweError::Unsupported(format!("alg {}", pinion_proto::id::shown(other)))),
        }
    }
}

/// The content encryption algorithms of RFC 7518 section 5.3.
fn content_cipher(name: &str) -> Result<&'static Algorithm, JweError> {
    match name {
        "A128GCM" => Ok(&AES_128_GCM),
        "A192GCM" => Ok(&AES_192_GCM),
        "A256GCM" => Ok(&AES_256_GCM),
        other => Err(JweError::Unsupported(format!("enc {}", pinion_proto::id::shown(other)))),
    }
}

/// Why a JWE was not opened.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum JweError {
    #[error("the encrypted key is malformed: {0}")]
    Malformed(&'static str),
    #[error(
        "the encrypted key uses {0}, which is not supported (PBES2-HS256+A128KW or PBES2-HS512+A256KW with AES-GCM is)"
    )]
    Unsupported(String),
    #[error("the password does not open it")]
    Password,
    #[error("the encrypted key was altered")]
    Altered,
}

#[cfg(test)]
pub(super) mod tests {
    use aws_lc_rs::aead::NONCE_LEN;

    use super::*;

    /// A JWE as step writes them, for tests.
    pub(in super::super) fn seal(plain: &[u8], password: &[u8], alg: &str, enc: &str, iterations: u32) -> String {
        let header = format!(
            r#"{{"alg":"{alg}","cty":"jwk+json","enc":"{enc}","p2c":{iterations},"p2s":"AAECAwQFBgcICQoLDA0ODw"}}"#
        );
        let protected = URL_SAFE_NO_PAD.encode(&header);
        let how = Unwrapping::of(alg).expect("a known algorithm");
        let salt = [alg.as_bytes(), &[0], &(0..16).collect::<Vec<u8>>()].concat();
        let mut kek = vec![0; how.key_length];
        pbkdf2::derive(how.prf, NonZeroU32::new(iterations).expect("iterations"), &salt, password, &mut kek);
        let cipher = content_cipher(enc).expect("a known cipher");
        let key = vec![9; cipher.key_len()];
        let mut wrapped = vec![0; key.len() + 8];
        let length = AesKek::new(how.cipher, &kek).expect("a key").wrap(&key, &mut wrapped).expect("wrapped").len();
        wrapped.truncate(length);
        let mut content = plain.to_vec();
        let tag = LessSafeKey::new(UnboundKey::new(cipher, &key).expect("a key"))
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key([3; NONCE_LEN]),
                Aad::from(protected.as_bytes()),
                &mut content,
            )
            .expect("sealed");
        let parts = [&wrapped, &[3; NONCE_LEN][..], &content, tag.as_ref()].map(|part| URL_SAFE_NO_PAD.encode(part));
        format!("{protected}.{}", parts.join("."))
    }

    #[test]
    fn every_supported_kind_opens_with_its_password_only() {
        for alg in ["PBES2-HS256+A128KW", "PBES2-HS512+A256KW"] {
            for enc in ["A128GCM", "A192GCM", "A256GCM"] {
                let text = seal(b"{}", b"secret", alg, enc, 1000);
                assert_eq!(open(&text, b"secret").expect(alg).as_slice(), b"{}");
                assert_eq!(open(&text, b"Secret").err(), Some(JweError::Password));
            }
        }
    }

    #[test]
    fn what_is_altered_or_too_costly_is_refused() {
        let text = seal(b"{}", b"secret", "PBES2-HS256+A128KW", "A256GCM", 1000);
        for at in 0..text.len() {
            let mut altered = text.clone().into_bytes();
            altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
            let altered = String::from_utf8(altered).expect("ASCII");
            // The last letter of a part has bits that mean nothing, and base64 refuses those that are set.
            assert!(open(&altered, b"secret").is_err(), "altered at {at}");
            assert!(open(&text[..at], b"secret").is_err(), "cut at {at}");
        }
        let costly =
            URL_SAFE_NO_PAD.encode(r#"{"alg":"PBES2-HS256+A128KW","enc":"A256GCM","p2c":4000000000,"p2s":"AA"}"#);
        assert!(matches!(open(&format!("{costly}.A.A.A.A"), b"x"), Err(JweError::Malformed(_))));
        let foreign = URL_SAFE_NO_PAD.encode(r#"{"alg":"RSA-OAEP","enc":"A256GCM","p2c":1,"p2s":"AA"}"#);
        assert!(matches!(open(&format!("{foreign}.A.A.A.A"), b"x"), Err(JweError::Unsupported(_))));
    }
}
