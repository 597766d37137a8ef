//! A private key with its certificates in one file behind a password: for Java, Windows, and programs that want it so.
//!
//! Answers: which bytes are in a part `pkcs12`, `jks` or `encrypted_key`?
//! Invariants: the same credential and password give the same bytes, so that what is in place can be compared with what should
//! be; a password is wiped when it is dropped, and is never shown.

mod der;
mod error;
mod encrypted;
mod jks;
mod kdf;
mod legacy;
mod pbes2;
mod pkcs12;
mod salts;

use std::fmt;

use pinion_proto::spec::Part;
use zeroize::Zeroizing;

use crate::bundle::Credential;
pub use error::{EncodeError, MAX_PASSWORD, PasswordError};
use salts::Salts;

/// The password of a file.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// What is in a password's file: one line.
    ///
    /// # Errors
    /// It is empty, too long, or no line of text.
    pub fn read(bytes: &[u8]) -> Result<Self, PasswordError> {
        let text = std::str::from_utf8(bytes).map_err(|_| PasswordError::NoText)?;
        let line = text.strip_suffix('\n').unwrap_or(text);
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.is_empty() {
            Err(PasswordError::Empty)
        } else if line.len() > MAX_PASSWORD {
            Err(PasswordError::TooLong)
        } else if line.chars().any(char::is_control) {
            Err(PasswordError::NoText)
        } else {
            Ok(Self(Zeroizing::new(line.to_owned())))
        }
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// The content of a part behind a password; `alias` is what the pair in it is called, and `legacy` has PKCS #12 with the algorithms
/// of before 2021. None for a part that has no password.
///
/// # Errors
/// The library refuses.
pub fn encode(
    part: Part,
    legacy: bool,
    credential: &Credential,
    alias: &str,
    password: &Password,
) -> Result<Option<Zeroizing<Vec<u8>>>, EncodeError> {
    let (salts, password) = (Salts::new(credential, part.as_str(), &password.0), password.0.as_str());
    let bytes = match part {
        Part::Pkcs12 => pkcs12::encode(legacy, credential, alias, password, &salts)?,
        Part::Jks => jks::encode(credential, alias, password, &salts)?,
        Part::EncryptedKey => {
            let key = pbes2::encrypt(&credential.key.to_pkcs8(), password, &salts, "key")?;
            let pem = pem::Pem::new("ENCRYPTED PRIVATE KEY", key.private_key_info());
            let lines = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
            pem::encode_config(&pem, lines).into_bytes()
        }
        _ => return Ok(None),
    };
    Ok(Some(Zeroizing::new(bytes)))
}

#[cfg(test)]
mod tests;
