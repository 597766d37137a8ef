//! Keys from passwords as PKCS #12 makes them (RFC 7292, appendix B.2), for its hash over a file and for its old ciphers.
//!
//! Invariant: the password is BMP text that ends with a zero, in buffers that are wiped.

use aws_lc_rs::digest;
use zeroize::Zeroizing;

/// What a key is for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose {
    Cipher = 1,
    Vector = 2,
    Mac = 3,
}

/// The block of SHA-1 and of SHA-256 (bytes).
const BLOCK: usize = 64;

/// So many bytes for a purpose.
pub(super) fn derive(
    hash: &'static digest::Algorithm,
    purpose: Purpose,
    password: &str,
    salt: &[u8],
    iterations: u32,
    length: usize,
) -> Zeroizing<Vec<u8>> {
    let password: Zeroizing<Vec<u8>> =
        Zeroizing::new(password.encode_utf16().chain([0]).flat_map(u16::to_be_bytes).collect());
    let filled = |bytes: &[u8]| -> Zeroizing<Vec<u8>> {
        let length = bytes.len().div_ceil(BLOCK) * BLOCK;
        Zeroizing::new(bytes.iter().copied().cycle().take(length).collect())
    };
    let mut blocks = Zeroizing::new([filled(salt).as_slice(), filled(&password).as_slice()].concat());
    let mut key = Zeroizing::new(Vec::with_capacity(length + BLOCK));
    while key.len() < length {
        let input = Zeroizing::new([[purpose as u8; BLOCK].as_slice(), blocks.as_slice()].concat());
        let mut hashed = digest::digest(hash, &input);
        for _ in 1..iterations {
            hashed = digest::digest(hash, hashed.as_ref());
        }
        key.extend_from_slice(hashed.as_ref());
        for block in blocks.chunks_mut(BLOCK) {
            add(block, hashed.as_ref());
        }
    }
    key.truncate(length);
    key
}

/// Adds a hash, repeated, and one more to a number as long as a block.
fn add(block: &mut [u8], hashed: &[u8]) {
    let added: Vec<u8> = hashed.iter().copied().cycle().take(block.len()).collect();
    let mut carry = 1;
    for (byte, added) in block.iter_mut().rev().zip(added.iter().rev()) {
        let [high, low] = (u16::from(*byte) + u16::from(*added) + carry).to_be_bytes();
        *byte = low;
        carry = u16::from(high);
    }
}
