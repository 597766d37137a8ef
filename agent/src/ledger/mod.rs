//! What the agent remembers of each placement: one JSON document, `placements/<certificate>.json`, 0600.
//!
//! Answers: what was asked, what was ordered, what is installed, what was being exchanged when the power went?
//! Invariants: a document is replaced whole or not at all; one that cannot be read is never overwritten, blocks its
//! own placement alone, and nothing that is installed is disturbed for it.

mod store;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt, net::SocketAddr, path::PathBuf};

use pinion_proto::{
    bundle::Fingerprint,
    id::CertificateName,
    key::KeyAlgorithm,
    names::{SubjectName, SubjectNames},
    private_key::PrivateKey,
    report::{Held, Incoming, Original, PlacementReport, Progress},
    spec::{FileMode, GuestPath, Layout, Part, PlacementSpec},
    stage::Stage,
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{bundle::Bundle, install::acl::Acl, recipe::Kept};

pub use store::{LedgerError, Ledgers};

/// What is remembered of one placement.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// What was asked for last, without the controller's side of it; none before anything was.
    pub spec: Option<PlacementSpec>,
    /// No longer asked for.
    #[serde(default)]
    pub retired: bool,
    /// Its files are being removed.
    #[serde(default)]
    pub purging: bool,
    /// What was there before is put back when they are removed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub restoring: bool,
    /// What was in the places of its files before Pinion, and is kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub originals: Vec<Original>,
    /// The highest generation ever used.
    pub last_generation: u64,
    /// What is asked of the controller and has not come.
    #[serde(default)]
    pub order: Option<PendingRequest>,
    /// What has come and been verified, and is not in place.
    #[serde(default)]
    pub next: Option<Bundle>,
    /// What is in place.
    #[serde(default)]
    pub held: Option<Installed>,
    /// The exchange of files that is not known to have gone well yet.
    #[serde(default, rename = "switch")]
    pub journal: Option<Journal>,
    /// Files of earlier specs, elsewhere.
    #[serde(default)]
    pub left_behind: Vec<InstalledFile>,
    /// What it keeps although the guest would not allow it anew; none in what agents wrote that allowed it.
    #[serde(default)]
    pub kept: Option<Kept>,
    /// The mount point that each directory of its files was on when it was last looked at, the root where it was on none
    /// of its own; both without links on their way. Ledgers of before have none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub mounts: BTreeMap<PathBuf, PathBuf>,
}

/// The request for a generation that was ordered, until its certificate comes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingRequest {
    /// Its number.
    pub generation: u64,
    /// The common name in the request.
    pub common_name: SubjectName,
    /// The names in the request.
    pub names: SubjectNames,
    /// The kind of key.
    pub algorithm: KeyAlgorithm,
    /// The key; none when it is shared.
    pub key: Option<PrivateKey>,
    /// The request, DER; empty when the key is shared.
    pub request: Vec<u8>,
}

/// A bundle whose files are in place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installed {
    /// The content.
    pub bundle: Bundle,
    /// How far it has come.
    pub stage: Stage,
    /// Where it is.
    pub files: Vec<InstalledFile>,
    /// How it is there.
    #[serde(default = "copy")]
    pub layout: Layout,
    /// Which roots its files of [`Part::Ca`] contain; none where it has no such file.
    #[serde(default)]
    pub roots: Box<[Fingerprint]>,
    /// Those of them that their readers are known to have.
    #[serde(default)]
    pub trusted: Box<[Fingerprint]>,
    /// Other roots came beside a certificate that stayed: the service is to be notified, whatever it shows.
    #[serde(default, rename = "untold")]
    pub unnotified: bool,
    /// Key and certificate were there before Pinion.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub adopted: bool,
    /// Those of its files that stay as they were found, byte for byte, until the next generation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub as_found: Vec<Saved>,
}

impl Installed {
    /// How its files are there: what stays as it was found is no link to a generation.
    #[must_use]
    pub fn layout(&self, wanted: Layout) -> Layout {
        if self.as_found.is_empty() { wanted } else { Layout::Copy }
    }

    /// Its files get other roots, of which its readers know nothing yet.
    pub fn set_roots(&mut self, roots: Box<[Fingerprint]>) {
        self.trusted = self.trusted.iter().filter(|root| roots.contains(root)).copied().collect();
        self.roots = roots;
    }
}

/// Ledgers of before there were two.
fn copy() -> Layout {
    Layout::Copy
}

/// A file that Pinion wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstalledFile {
    /// What it contains.
    pub part: Part,
    /// Where, as the spec names it.
    pub path: GuestPath,
    /// The SHA-256 of its content: a file that says something else by now is not Pinion's to remove.
    pub content: Fingerprint,
}

/// The journal of one exchange of files, and the way back from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    /// Whether the files are still being exchanged, and which way.
    pub phase: Phase,
    /// What was there before, byte for byte.
    pub saved: Vec<Saved>,
    /// What was held before; none when Pinion had nothing there.
    pub previous: Option<Box<Installed>>,
    /// Whether the service answered with TLS before; of several, any.
    pub was_serving: bool,
    /// Which of several services did not, while another one did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub silent: Vec<SocketAddr>,
}

/// How far an exchange of files is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// The new set is being put in place; after a crash it is finished.
    Forward,
    /// The new set is in place and on disk, the old one kept until the new one is served.
    Done,
    /// The old set is being put back; after a crash that is finished.
    Back,
}

/// What was at a path.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// The real path, links resolved.
    pub path: PathBuf,
    /// The file; none when nothing was there.
    pub file: Option<SavedFile>,
    /// The generation that it was reached through; none when it was a file itself.
    #[serde(default)]
    pub generation: Option<u64>,
}

/// A file as it was.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedFile {
    /// Its owner's number.
    pub uid: u32,
    /// Its group's number.
    pub gid: u32,
    /// Its permission bits.
    pub mode: FileMode,
    /// Its access control list, where that says more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acl: Option<Acl>,
    /// Its bytes.
    #[serde(with = "base64_bytes")]
    pub content: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for SavedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SavedFile").field("mode", &self.mode).finish_non_exhaustive()
    }
}

impl fmt::Debug for Saved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept = self.file.as_ref().map(|file| file.mode);
        f.debug_struct("Saved").field("path", &self.path).field("mode", &kept).finish_non_exhaustive()
    }
}

impl PendingRequest {
    /// The order as it is reported.
    #[must_use]
    pub fn incoming(&self) -> Incoming {
        Incoming { generation: self.generation, progress: Progress::Requested(self.request.clone()) }
    }
}

impl Ledger {
    /// The state without the trouble, which is not remembered.
    #[must_use]
    pub fn report(&self, name: &CertificateName) -> PlacementReport {
        let held = self.held.as_ref().and_then(|held| {
            let credential = held.bundle.credential()?;
            Some(Held {
                generation: held.bundle.generation(),
                leaf: credential.chain.leaf().clone(),
                issuer: credential.issuer.clone(),
                common_name: credential.common_name.clone(),
                root: Some(credential.root.fingerprint()),
                chain_ends: Some(credential.chain.expires()),
                adopted: held.adopted,
            })
        });
        let requested = self.order.as_ref().map(PendingRequest::incoming);
        let delivered = self.next.as_ref().filter(|next| next.credential().is_some()).and_then(|next| {
            // The same generation on its way to other paths is not incoming any more.
            let here = held.as_ref().is_some_and(|held| held.generation == next.generation());
            (!here).then(|| Incoming { generation: next.generation(), progress: Progress::Delivered })
        });
        let stage = match (&self.held, &self.next) {
            (Some(held), _) => held.stage,
            (None, Some(_)) => Stage::Issued,
            (None, None) => Stage::Pending,
        };
        let roots = self.held.as_ref().map(|held| held.trusted.clone()).unwrap_or_default();
        PlacementReport {
            last_generation: self.last_generation,
            stage,
            held,
            incoming: requested.or(delivered),
            retired: self.retired,
            originals: self.originals.clone(),
            left_behind: self.left_behind.iter().map(|file| file.path.clone()).collect(),
            roots,
            ..PlacementReport::nothing(name.clone())
        }
    }

    /// Every file that Pinion wrote and may still be there; one that was being exchanged is named twice.
    pub fn files(&self) -> impl Iterator<Item = &InstalledFile> {
        let previous = self.journal.iter().filter_map(|journal| journal.previous.as_deref());
        self.held.iter().chain(previous).flat_map(|held| &held.files).chain(&self.left_behind)
    }

    /// What it keeps although the guest would not allow it anew; of files only those that it has.
    #[must_use]
    pub fn kept(&self) -> Kept {
        let mut kept = self.kept.clone().unwrap_or_default();
        kept.files.retain(|path| self.files().any(|file| file.path == *path));
        kept
    }

    /// Whether nothing of the placement is in the guest.
    #[must_use]
    pub fn is_bare(&self) -> bool {
        self.held.is_none() && self.journal.is_none() && self.left_behind.is_empty()
    }
}

mod base64_bytes {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use serde::{Deserialize, Deserializer, Serializer, de};
    use zeroize::Zeroizing;

    pub(super) fn serialize<S: Serializer>(bytes: &Zeroizing<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Zeroizing::new(STANDARD.encode(bytes.as_slice())))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Zeroizing<Vec<u8>>, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        STANDARD.decode(text.as_bytes()).map(Zeroizing::new).map_err(de::Error::custom)
    }
}
