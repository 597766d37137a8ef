//! Why there is no keystore.
//!
//! Invariant: no part of a password is in it.

use thiserror::Error;

/// The longest password (bytes); OpenSSL's tools take no longer one.
pub const MAX_PASSWORD: usize = 512;

/// Why a file's content is no password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PasswordError {
    /// Nothing.
    #[error("it is empty")]
    Empty,
    /// Too much.
    #[error("its line is longer than {MAX_PASSWORD} bytes")]
    TooLong,
    /// Something else.
    #[error("it is not one line of text")]
    NoText,
}

/// Why a keystore cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum EncodeError {
    /// The library refuses.
    #[error("the library cannot encrypt it, and gives no reason")]
    Cipher,
    /// No chain is so long.
    #[error("it is too long for a keystore")]
    TooLong,
}
