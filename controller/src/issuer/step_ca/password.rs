//! A provisioner's password that is in no file yet.
//!
//! Invariant: it is shown nowhere, and overwritten when it is dropped.

use std::fmt;

use zeroize::Zeroizing;

/// A password is a line of text, not a disk (bytes).
pub(super) const MAX_PASSWORD: u64 = 4096;

/// A password as somebody has just given it.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// The longest that is read of a file with a password (bytes).
    pub const MAX: u64 = MAX_PASSWORD;

    /// This text without the white space at its end, as it would be read from a file. None for an empty one.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim_ascii_end();
        (!text.is_empty()).then(|| Self(Zeroizing::new(text.to_owned())))
    }

    /// The text itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_what_its_file_would_say_and_is_not_shown() {
        let password = Password::new("secret \n").expect("a password");
        assert_eq!((password.reveal(), format!("{password:?}").as_str()), ("secret", "Password(…)"));
        assert!(Password::new(" \n").is_none());
    }
}
