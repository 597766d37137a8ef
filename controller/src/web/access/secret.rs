//! Secrets of 256 bits, and the sums that are kept of them.

use std::fmt;

use aws_lc_rs::{digest, rand};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// The SHA-256 of a secret. One cannot be found from it, so comparing two takes no care.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Digest([u8; 32]);

impl Digest {
    pub(super) fn of(secret: &str) -> Self {
        let digest = digest::digest(&digest::SHA256, secret.as_bytes());
        Self(digest.as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(…)")
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        URL_SAFE_NO_PAD.encode(digest.0)
    }
}

impl TryFrom<String> for Digest {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| "not base64")?;
        bytes.try_into().map(Self).map_err(|_| "not 32 bytes")
    }
}

/// A new secret, in the letters that a URL and a cookie take, and its sum.
pub(super) fn new() -> (Zeroizing<String>, Digest) {
    let mut bytes = Zeroizing::new([0; 32]);
    rand::fill(&mut *bytes).expect("the system has random numbers");
    let secret = Zeroizing::new(URL_SAFE_NO_PAD.encode(bytes.as_slice()));
    let digest = Digest::of(&secret);
    (secret, digest)
}
