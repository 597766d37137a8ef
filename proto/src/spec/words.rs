//! Names in a guest, checked once: of paths, accounts, units, and whatever else is a file's name there.

use std::str::FromStr;

use super::error::SpecError;
use crate::id::{checked_text, is_plain_name, shown};

/// An absolute path in a guest without `.`, `..`, doubled or trailing slashes; at most 1024 bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GuestPath(Box<str>);

impl FromStr for GuestPath {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let parts_ok = text.strip_prefix('/').is_some_and(|rest| {
            rest.split('/').all(|part| !part.is_empty() && part.len() <= 255 && part != "." && part != "..")
        });
        if parts_ok && text.len() <= 1024 && !text.chars().any(char::is_control) {
            Ok(Self(text.into()))
        } else {
            Err(SpecError::Path(shown(text)))
        }
    }
}

checked_text!(GuestPath, "The path as text.");

/// A name that is safe as a file name: of a recipe, a hook or an issuer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlainName(Box<str>);

impl FromStr for PlainName {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        if is_plain_name(text) { Ok(Self(text.into())) } else { Err(SpecError::PlainName(shown(text))) }
    }
}

checked_text!(PlainName, "The name as text.");

/// A user or group in the guest, by name or number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account(Box<str>);

impl FromStr for Account {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        // useradd's own rule, and plain numbers.
        let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
        let starts = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
        if starts && text.len() <= 32 && text.bytes().all(legal) {
            Ok(Self(text.into()))
        } else {
            Err(SpecError::Account(shown(text)))
        }
    }
}

checked_text!(Account, "The name or number as text.");

/// A unit of the guest's service manager, with its suffix: `nginx.service`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Unit(Box<str>);

impl FromStr for Unit {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        // systemd.unit(5): letters, digits and `:-_.\@`; no backslash here, so that a name is safe everywhere.
        let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b':' | b'-' | b'_' | b'.' | b'@');
        let starts = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        let stem = text.strip_suffix(".service").unwrap_or_default();
        if starts && !stem.is_empty() && text.len() <= 255 && text.bytes().all(legal) {
            Ok(Self(text.into()))
        } else {
            Err(SpecError::Unit(shown(text)))
        }
    }
}

checked_text!(Unit, "The unit's name as text.");

#[cfg(test)]
mod tests {
    use std::path::{Component, Path};

    use super::*;

    proptest::proptest! {
        /// A path is taken as it stands or not at all: nothing in it goes up, stays, is doubled or is hidden.
        #[test]
        fn only_plain_absolute_paths_are_paths(
            bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..40),
            parts in proptest::collection::vec("(\\.{0,3}|[a-z~$* ]{0,3}|\\PC{1,3}|\\x00|\n|n{254,257})", 0..6),
            absolute in proptest::bool::weighted(0.9),
        ) {
            let text = format!("{}{}", if absolute { "/" } else { "" }, parts.join("/"));
            for text in [text.as_str(), &String::from_utf8_lossy(&bytes)] {
                let names = || Path::new(text).components().skip(1);
                let plain = |part: Component<'_>| matches!(part, Component::Normal(name) if name.len() <= 255);
                let joined: String = names().map(|part| format!("/{}", part.as_os_str().to_string_lossy())).collect();
                let legal = joined == text && text.len() <= 1024 && !text.contains(|c: char| c.is_control());
                let parsed = text.parse::<GuestPath>();
                proptest::prop_assert_eq!(parsed.is_ok(), !joined.is_empty() && names().all(plain) && legal, "{:?}", text);
                if let Ok(path) = parsed {
                    proptest::prop_assert_eq!(path.as_str(), text);
                }
            }
        }
    }
}
