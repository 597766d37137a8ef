//! What a guest is asked to hold: the manifest's placement, resolved as far as the host can.
//!
//! Recipes live in the guest, so a spec carries a recipe's name and the manifest's overrides;
//! nothing in it is a command line.

use std::{collections::BTreeMap, fmt, net::SocketAddr, str::FromStr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    bundle::{Fingerprint, RootCertificate},
    clock::Timestamp,
    containers::{ContainerName, ContainerSignal, SwarmSecrets},
    content::Content,
    id::{CertificateName, checked_text, is_plain_name, shown, string_serde},
    mount::MountPoint,
    names::SubjectName,
    stage::Trouble,
};

/// One placement as its guest is asked to hold it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacementSpec {
    /// Which certificate; a guest holds each at most once.
    pub certificate: CertificateName,
    /// A certificate with its key, or roots alone.
    #[serde(flatten)]
    pub content: Content,
    /// What [`Part::Ca`] contains: every root of the issuer's that somebody may need, at most [`MOST_ROOTS`]. Empty
    /// while the controller does not know them: then those that were said before stay.
    #[serde(default)]
    pub roots: Vec<RootCertificate>,
    /// Where files, validate, reload and probe come from unless they are given here.
    #[serde(default)]
    pub recipe: Option<PlainName>,
    /// Files, over the recipe's.
    #[serde(default)]
    pub files: BTreeMap<Part, FileSpec>,
    /// How the files change, over the recipe's.
    #[serde(default)]
    pub layout: Option<Layout>,
    /// Over the recipe's.
    #[serde(default)]
    pub validate: Option<Validate>,
    /// Over the recipe's.
    #[serde(default)]
    pub reload: Option<Reload>,
    /// Over the recipe's.
    #[serde(default)]
    pub probe: Option<Probe>,
    /// When the service may be disturbed: the next stretches, soonest first; none for at any time.
    #[serde(default)]
    pub window: Option<Vec<Opening>>,
    /// Where something must be mounted before the files are touched; none where the guest finds out by itself. Not in the
    /// text of a spec without it, so that agents that do not know it compute the same [`Self::revision`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requires_mount: Option<MountPoint>,
    /// Remove the files and hold nothing.
    #[serde(default)]
    pub purge: bool,
    /// The generation that the controller orders, when it does.
    #[serde(default)]
    pub ordered: Option<u64>,
    /// What holds it up on the controller's side.
    #[serde(default)]
    pub trouble: Option<Trouble>,
}

impl PlacementSpec {
    /// A number that is another one when anything is that lasts, unlike the order, the trouble and the next openings:
    /// by it a guest says which spec its report is about. Which roots it has is told by themselves.
    #[must_use]
    pub fn revision(&self) -> u64 {
        let lasting = Self { ordered: None, trouble: None, window: None, roots: Vec::new(), ..self.clone() };
        // Maps and sets are sorted, so that equal specs are equal text.
        let text = serde_json::to_vec(&lasting).unwrap_or_default();
        Fingerprint::of(&text).short()
    }
}

/// An issuer has one root, and two while one takes the other's place; more is a mistake.
pub const MOST_ROOTS: usize = 16;

/// What a file of a placement contains, all PEM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// The leaf alone.
    Cert,
    /// The intermediates, without leaf and root.
    Chain,
    /// Leaf and intermediates.
    Fullchain,
    /// The private key, PKCS #8.
    Key,
    /// The issuer's roots.
    Ca,
    /// Leaf, intermediates and private key in one file.
    Combined,
}

impl Part {
    /// Every part, in the order that they are documented in.
    pub const ALL: [Self; 6] = [Self::Cert, Self::Chain, Self::Fullchain, Self::Key, Self::Ca, Self::Combined];

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
        }
    }

    /// Whether the file holds a private key.
    #[must_use]
    pub fn is_secret(self) -> bool {
        matches!(self, Self::Key | Self::Combined)
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

/// A stretch of time in which a service may be disturbed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Opening {
    /// When it begins.
    pub opens: Timestamp,
    /// When it is over; no part of it any more.
    pub closes: Timestamp,
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
    /// Both.
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
}

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

    /// The permission bits.
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

/// How the new files are checked before the service is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Validate {
    /// Not at all.
    Nothing,
    /// By a hook of the guest's.
    Hook(PlainName),
}

/// How the service is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reload {
    /// Not at all: it reads its files anew by itself, or nothing runs.
    Nothing,
    /// `systemctl reload`, or the unit's hook with the argument `reload`.
    Reload(Unit),
    /// `systemctl restart`, or the unit's hook with the argument `restart`.
    Restart(Unit),
    /// A hook of the guest's.
    Hook(PlainName),
    /// `docker restart`.
    Container(ContainerName),
    /// `docker kill --signal`.
    Signal(ContainerSignal),
    /// The file's time of change becomes now, for a service that watches it.
    Touch(GuestPath),
    /// New versions of a Swarm service's secrets.
    Swarm(SwarmSecrets),
}

/// How the agent looks at what is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Probe {
    /// Not at all: the placement ends at `reloaded`.
    Nothing,
    /// By a TLS handshake.
    Tls {
        /// Where the service listens, as the guest sees it.
        connect: SocketAddr,
        /// The SNI to ask with; absent: the common name.
        server_name: Option<SubjectName>,
        /// What is spoken before TLS; absent: nothing.
        #[serde(default)]
        starttls: Option<StartTls>,
    },
}

/// A protocol whose connections begin without TLS and turn to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StartTls {
    /// RFC 3207.
    Smtp,
    /// RFC 9051, section 6.2.1.
    Imap,
    /// PostgreSQL's SSLRequest (its documentation, 55.2.10).
    Postgres,
}

impl StartTls {
    /// The manifest's word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Smtp => "smtp",
            Self::Imap => "imap",
            Self::Postgres => "postgres",
        }
    }
}

impl FromStr for StartTls {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let all = [Self::Smtp, Self::Imap, Self::Postgres];
        all.into_iter().find(|protocol| protocol.as_str() == text).ok_or_else(|| SpecError::StartTls(shown(text)))
    }
}

/// Text that is not what a spec may hold.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SpecError {
    /// No such part.
    #[error("`{0}` is not a file part: use cert, chain, fullchain, key, ca or combined")]
    Part(String),
    /// No such layout.
    #[error("`{0}` is not a layout: use symlink or copy")]
    Layout(String),
    /// Not a path.
    #[error("`{0}` is not an absolute path without `.`, `..`, `//`, a trailing `/` or control characters")]
    Path(String),
    /// Not a mount point.
    #[error(
        "`{0}` is not a mount point: use an absolute path such as /mnt/pve/nfs, or / where nothing has to be mounted"
    )]
    MountPoint(String),
    /// Not a mode.
    #[error("`{0}` is not a file mode: use octal permission bits such as 0640, at most 0777")]
    Mode(String),
    /// Not a plain name.
    #[error("`{0}` is not a name: use up to 63 letters, digits, `.`, `_`, `-`, starting with a letter or digit")]
    PlainName(String),
    /// Not an account.
    #[error("`{0}` is not a user or group: use its name or number")]
    Account(String),
    /// Not a unit.
    #[error("`{0}` is not a service unit: use its full name, for example nginx.service")]
    Unit(String),
    /// Not a protocol.
    #[error("`{0}` is not a protocol that turns to TLS here: use smtp, imap or postgres")]
    StartTls(String),
}

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
