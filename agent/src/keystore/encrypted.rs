//! Encrypted bytes, and how they are written in a private key of its own and in PKCS #12.
//!
//! Invariant: what decrypts them, but for the password, stands before them.

use super::der::{implicit_octets, octets, sequence};

/// Encrypted bytes, and how.
pub(super) struct Encrypted {
    /// `AlgorithmIdentifier`.
    pub(super) algorithm: Vec<u8>,
    pub(super) bytes: Vec<u8>,
}

impl Encrypted {
    /// As PKCS #8's `EncryptedPrivateKeyInfo`.
    pub(super) fn private_key_info(&self) -> Vec<u8> {
        sequence(&[&self.algorithm, &octets(&self.bytes)])
    }

    /// Algorithm and content of PKCS #7's `EncryptedContentInfo`.
    pub(super) fn content(&self) -> [Vec<u8>; 2] {
        [self.algorithm.clone(), implicit_octets(&self.bytes)]
    }
}
