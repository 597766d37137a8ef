//! The files of a placement: what is in each, where it is, who may read it, and how they change together.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{
    error::SpecError,
    words::{Account, GuestPath},
};
use crate::id::{shown, string_serde};

/// What a file of a placement contains, as PEM where nothing else is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// The leaf without intermediates.
    Cert,
    /// The intermediates, without leaf and root.
    Chain,
    /// The leaf, followed by the intermediates: what most servers want.
    Fullchain,
    /// The private key, PKCS #8.
    Key,
    /// The issuer's roots: what a client needs to verify the other side.
    Ca,
    /// Leaf, intermediates and private key in one file.
    Combined,
    /// The leaf without intermediates, as DER.
    Der,
    /// Leaf, intermediates and private key behind a password: PKCS #12.
    Pkcs12,
    /// The same as Java's first keystore.
    Jks,
    /// The private key behind a password, PKCS #8.
    #[serde(rename = "encrypted_key")]
    EncryptedKey,
}

impl Part {
    /// Every part, in the order that they are documented in.
    pub const ALL: [Self; 10] = [
        Self::Cert,
        Self::Chain,
        Self::Fullchain,
        Self::Key,
        Self::Ca,
        Self::Combined,
        Self::Der,
        Self::Pkcs12,
        Self::Jks,
        Self::EncryptedKey,
    ];

    /// Those that every agent knows: one of before [`super::SPEC_LEVEL`] 3 would refuse a whole message for another one.
    pub const FIRST: [Self; 6] = [Self::Cert, Self::Chain, Self::Fullchain, Self::Key, Self::Ca, Self::Combined];

    /// The manifest's word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cert => "cert",
            Self::Chain => "chain",
            Self::Fullchain => "fullchain",
            Self::Key => "key",
            Self::Ca => "ca",
            Self::Combined => "combined",
            Self::Der => "der",
            Self::Pkcs12 => "pkcs12",
            Self::Jks => "jks",
            Self::EncryptedKey => "encrypted_key",
        }
    }

    /// Whether the file holds a private key.
    #[must_use]
    pub fn is_secret(self) -> bool {
        matches!(self, Self::Key | Self::Combined) || self.has_password()
    }

    /// Whether the file is behind a password.
    #[must_use]
    pub fn has_password(self) -> bool {
        matches!(self, Self::Pkcs12 | Self::Jks | Self::EncryptedKey)
    }

    /// Whether it is none of [`Self::FIRST`].
    #[must_use]
    pub fn is_newer(self) -> bool {
        !Self::FIRST.contains(&self)
    }
}

impl FromStr for Part {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        Self::ALL.into_iter().find(|p| p.as_str() == text).ok_or_else(|| SpecError::Part(shown(text)))
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How the files of a placement change from one generation to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Each file is a link into the directory of the generation in use, and one rename switches all of them.
    Symlink,
    /// Regular files, each exchanged by a rename of its own: for directories that are read from elsewhere.
    Copy,
}

impl Layout {
    /// Both layouts.
    pub const ALL: [Self; 2] = [Self::Symlink, Self::Copy];

    /// The manifest's word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Symlink => "symlink",
            Self::Copy => "copy",
        }
    }
}

impl FromStr for Layout {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        Self::ALL.into_iter().find(|layout| layout.as_str() == text).ok_or_else(|| SpecError::Layout(shown(text)))
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a part is written and who may read it; what is absent comes from the recipe, then from
/// the defaults: root, root, 0644, or 0600 for a part with a private key.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FileSpec {
    /// Absent only when the recipe has it.
    #[serde(default)]
    pub path: Option<GuestPath>,
    /// Permission bits, at most 0o777.
    #[serde(default)]
    pub mode: Option<FileMode>,
    /// A user's name or number in the guest.
    #[serde(default)]
    pub owner: Option<Account>,
    /// A group's name or number in the guest.
    #[serde(default)]
    pub group: Option<Account>,
    /// Where the password of a part behind one is, in the guest; absent: beside the file, with `.password` behind its name. Not
    /// in the text of a spec without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<GuestPath>,
    /// PKCS #12 with the algorithms that programs of before 2021 read. Not in the text of a spec without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub legacy: Option<bool>,
}

/// Permission bits, at most 0o777, written as octal text: `0640`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FileMode(u16);

impl FileMode {
    /// From a number of permission bits.
    ///
    /// # Errors
    /// Bits beyond 0o777: Pinion sets no setuid, setgid or sticky bit.
    pub fn from_bits(bits: u32) -> Result<Self, SpecError> {
        match u16::try_from(bits) {
            Ok(bits) if bits <= 0o777 => Ok(Self(bits)),
            _ => Err(SpecError::Mode(format!("{bits:o}"))),
        }
    }

    /// The permission bits, at most 0o777.
    #[must_use]
    pub fn bits(self) -> u32 {
        self.0.into()
    }
}

impl FromStr for FileMode {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let malformed = || SpecError::Mode(shown(text));
        if !(3..=4).contains(&text.len()) || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(malformed());
        }
        let bits = u32::from_str_radix(text, 8).map_err(|_| malformed())?;
        Self::from_bits(bits).map_err(|_| malformed())
    }
}

impl fmt::Display for FileMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl fmt::Debug for FileMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

string_serde!(FileMode);
