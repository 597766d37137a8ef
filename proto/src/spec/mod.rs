//! What a guest is asked to hold: the manifest's placement, resolved as far as the host can.
//!
//! Recipes live in the guest, so a spec carries a recipe's name and the manifest's overrides;
//! nothing in it is a command line.

mod adoption;
mod error;
mod files;
mod service;
mod usage;
mod words;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    bundle::{Fingerprint, RootCertificate},
    content::Content,
    id::CertificateName,
    mount::MountPoint,
    stage::Trouble,
};

pub use adoption::{Adoption, AdoptionDecision};
pub use error::SpecError;
pub use files::{FileMode, FileSpec, Layout, Part};
pub use service::{Opening, Probe, ProxyProtocol, Reload, Settle, StartTls, TlsProbe, Validate};
pub use usage::Usage;
pub use words::{Account, GuestPath, PlainName, Unit};

/// One placement as its guest is asked to hold it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacementSpec {
    /// Which certificate; a guest holds each at most once.
    pub certificate: CertificateName,
    /// A certificate with its key, or roots alone.
    #[serde(flatten)]
    pub content: Content,
    /// What [`Part::Ca`] contains: every root of the issuer's that somebody may need, at most [`MAX_ROOTS`]. Empty
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
    /// More services to notify, besides that of `reload`, which there is then. Not in the text of a spec without, as in
    /// `requires_mount`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub more_reloads: Vec<Reload>,
    /// More handshakes, besides that of `probe`, which there is then: the certificate is served where all of them see it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub more_probes: Vec<Probe>,
    /// When the service may be disturbed: the next stretches, soonest first; none for at any time.
    #[serde(default)]
    pub window: Option<Vec<Opening>>,
    /// Where something must be mounted before the files are touched; none where the guest finds out by itself. Not in the
    /// text of a spec without it, so that agents that do not know it compute the same [`Self::revision`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requires_mount: Option<MountPoint>,
    /// Which side shows the certificate; absent: as the recipe says. Not in the text of a spec without it, as with
    /// [`Self::requires_mount`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// Remove the files and hold nothing.
    #[serde(default)]
    pub purge: bool,
    /// The generation that the controller orders, when it does.
    #[serde(default)]
    pub ordered: Option<u64>,
    /// What holds it up on the controller's side.
    #[serde(default)]
    pub trouble: Option<Trouble>,
    /// What becomes of a good pair that is there already; none where something is held, and from controllers that adopt
    /// nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adoption: Option<Adoption>,
}

impl PlacementSpec {
    /// A number that is another one when anything is that lasts, unlike the order, the trouble, the next openings and
    /// what becomes of what is there already:
    /// a guest says by it which spec its report is about. Roots are reported one by one.
    #[must_use]
    pub fn revision(&self) -> u64 {
        let lasting =
            Self { ordered: None, trouble: None, window: None, adoption: None, roots: Vec::new(), ..self.clone() };
        // Maps and sets are sorted, so that equal specs are equal text.
        let text = serde_json::to_vec(&lasting).unwrap_or_default();
        Fingerprint::of(&text).short()
    }

    /// Every service to notify, as far as the spec says: none where its recipe does.
    pub fn reloads(&self) -> impl Iterator<Item = &Reload> {
        self.reload.iter().chain(&self.more_reloads)
    }

    /// Every look at what is served, as far as the spec says: none where its recipe does.
    pub fn probes(&self) -> impl Iterator<Item = &Probe> {
        self.probe.iter().chain(&self.more_probes)
    }

    /// What an agent must know to do all of this: an agent of a lower level leaves out what it does not know.
    #[must_use]
    pub fn level(&self) -> u32 {
        if self.content.is_watched() {
            return 5;
        }
        if self.files.keys().any(|part| part.is_newer()) {
            return 3.max(self.level_of_probes());
        }
        if self.level_of_probes() > 0 {
            return self.level_of_probes();
        }
        u32::from(!self.more_reloads.is_empty() || !self.more_probes.is_empty())
    }

    fn level_of_probes(&self) -> u32 {
        let tls = || self.probes().filter_map(|probe| if let Probe::Tls(tls) = probe { Some(tls) } else { None });
        if tls().any(|tls| tls.unit.is_some()) {
            return 4;
        }
        if tls().any(TlsProbe::is_newer) { 2 } else { 0 }
    }
}

/// So many services one placement may notify, and so many handshakes it may be looked at with.
pub const MAX_SERVICES: usize = 16;

/// Which fields of a spec an agent of this version knows: [`PlacementSpec::level`].
pub const SPEC_LEVEL: u32 = 5;

/// An issuer has one root, and two while one takes the other's place; more is a mistake.
pub const MAX_ROOTS: usize = 16;
