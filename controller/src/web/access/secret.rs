//! Secrets of 256 bits.

use aws_lc_rs::rand;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use crate::digest::Digest;

/// A new secret, in the letters that a URL and a cookie take, and its sum.
pub(super) fn new() -> (Zeroizing<String>, Digest) {
    let mut bytes = Zeroizing::new([0; 32]);
    rand::fill(&mut *bytes).expect("the system has random numbers");
    let secret = Zeroizing::new(URL_SAFE_NO_PAD.encode(bytes.as_slice()));
    let digest = Digest::of(&secret);
    (secret, digest)
}
