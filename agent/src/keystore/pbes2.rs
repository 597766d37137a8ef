//! A private key, or certificates, behind a password: PBES2 of RFC 8018, with PBKDF2 by HMAC-SHA-256 and AES-256-CBC. That is
//! what OpenSSL 3 and Java choose.
//!
//! Invariant: the same content, password and key give the same bytes, so that a file that is as it should be is known by them;
//! salt and initialization vector are different ones for anything else.

use std::num::NonZeroU32;

use aws_lc_rs::{
    cipher::{AES_256, EncryptionContext, PaddedBlockEncryptingKey, UnboundCipherKey},
    iv::FixedLength,
    pbkdf2,
};
use zeroize::Zeroizing;

use super::{
    der::{NULL, integer, octets, oid, sequence},
    encrypted::Encrypted,
    error::EncodeError,
    salts::Salts,
};

/// How often PBKDF2 repeats, as Java does: the passwords that Pinion makes need no more.
const ITERATIONS: NonZeroU32 = NonZeroU32::new(10_000).expect("it is not 0");

const PBES2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0d];
const PBKDF2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0c];
const HMAC_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02, 0x09];
const AES256_CBC: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x2a];

/// Encrypts with a password; `what` tells apart what is encrypted with it.
pub(super) fn encrypt(plain: &[u8], password: &str, salts: &Salts, what: &str) -> Result<Encrypted, EncodeError> {
    let salt: [u8; 16] = salts.of(&format!("{what} salt"));
    let iv: [u8; 16] = salts.of(&format!("{what} iv"));
    let mut key = Zeroizing::new([0; 32]);
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ITERATIONS, &salt, password.as_bytes(), &mut *key);
    let key = UnboundCipherKey::new(&AES_256, &*key).map_err(|_| EncodeError::Cipher)?;
    let key = PaddedBlockEncryptingKey::cbc_pkcs7(key).map_err(|_| EncodeError::Cipher)?;
    let mut bytes = plain.to_vec();
    // With room for the padding, so that growing leaves no plain copy behind.
    bytes.reserve(16);
    let context = EncryptionContext::Iv128(FixedLength::from(iv));
    key.less_safe_encrypt(&mut bytes, context).map_err(|_| EncodeError::Cipher)?;
    let hmac = sequence(&[&oid(HMAC_SHA256), NULL]);
    let kdf = sequence(&[&oid(PBKDF2), &sequence(&[&octets(&salt), &integer(ITERATIONS.get()), &hmac])]);
    let cipher = sequence(&[&oid(AES256_CBC), &octets(&iv)]);
    Ok(Encrypted { algorithm: sequence(&[&oid(PBES2), &sequence(&[&kdf, &cipher])]), bytes })
}
