//! The cipher of PKCS #12 as programs of before 2021 read it: triple DES with keys by SHA-1 (RFC 7292, appendix C). Java before
//! 8u301, Windows before Server 2019 and OpenSSL's `-legacy` have it.
//!
//! Invariant: as in [`super::pbes2`], the same content gives the same bytes.

use aws_lc_rs::digest;
use des::{
    TdesEde3,
    cipher::{BlockCipherEncrypt, KeyInit},
};

use super::{
    der::{integer, octets, oid, sequence},
    encrypted::Encrypted,
    error::EncodeError,
    kdf::{Purpose, derive},
    salts::Salts,
};

/// How often a key is hashed, as OpenSSL does.
pub(super) const ITERATIONS: u32 = 2048;

const SHA1_TRIPLE_DES: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x01, 0x03];

/// The block of DES (bytes).
const BLOCK: usize = 8;

/// Encrypts with a password; `what` tells apart what is encrypted with it.
pub(super) fn encrypt(plain: &[u8], password: &str, salts: &Salts, what: &str) -> Result<Encrypted, EncodeError> {
    let salt: [u8; 8] = salts.of(&format!("{what} legacy salt"));
    let made =
        |purpose, length| derive(&digest::SHA1_FOR_LEGACY_USE_ONLY, purpose, password, &salt, ITERATIONS, length);
    let cipher = TdesEde3::new_from_slice(&made(Purpose::Cipher, 3 * BLOCK)).map_err(|_| EncodeError::Cipher)?;
    let mut before = [0; BLOCK];
    before.copy_from_slice(&made(Purpose::Vector, BLOCK));
    let padding = BLOCK - plain.len() % BLOCK;
    let mut bytes = Vec::with_capacity(plain.len() + padding);
    for chunk in plain.chunks(BLOCK).chain((padding == BLOCK).then_some(&[][..])) {
        // The last one is filled with how much it is filled by.
        let mut block = [u8::try_from(padding).map_err(|_| EncodeError::Cipher)?; BLOCK];
        for (byte, plain) in block.iter_mut().zip(chunk) {
            *byte = *plain;
        }
        for (byte, before) in block.iter_mut().zip(before) {
            *byte ^= before;
        }
        cipher.encrypt_block((&mut block).into());
        bytes.extend_from_slice(&block);
        before = block;
    }
    let algorithm = sequence(&[&oid(SHA1_TRIPLE_DES), &sequence(&[&octets(&salt), &integer(ITERATIONS)])]);
    Ok(Encrypted { algorithm, bytes })
}
