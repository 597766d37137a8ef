//! What should be different in each keystore, and the same whenever the same one is written.
//!
//! Invariant: who does not have the private key cannot tell a salt from a random one.

use aws_lc_rs::hmac;

use crate::bundle::Credential;

/// Salts of one keystore.
pub(super) struct Salts {
    key: hmac::Key,
    of: Vec<u8>,
}

impl Salts {
    /// Of a keystore with this in it, behind this password.
    pub(super) fn new(credential: &Credential, part: &str, password: &str) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &credential.key.to_pkcs8());
        // The password only by what its HMAC is: it is in no buffer that outlives this.
        let password = hmac::sign(&key, password.as_bytes());
        let leaf = hmac::sign(&key, credential.chain.leaf().der());
        Self { of: [part.as_bytes(), &[0], password.as_ref(), leaf.as_ref()].concat(), key }
    }

    /// The salt for this.
    pub(super) fn of<const N: usize>(&self, what: &str) -> [u8; N] {
        let mut salt = [0; N];
        let made = hmac::sign(&self.key, &[&self.of, what.as_bytes()].concat());
        for (byte, made) in salt.iter_mut().zip(made.as_ref()) {
            *byte = *made;
        }
        salt
    }
}
