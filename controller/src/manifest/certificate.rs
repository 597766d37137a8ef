//! An entry of the manifest, and the places where it goes.
//!
//! Invariant: what only a certificate has is in its [`LeafPolicy`]; an entry for an issuer's roots has none of it.

use std::{collections::BTreeMap, time::Duration};

use pinion_proto::{
    content::{Content, LeafSpec},
    id::CertificateName,
    key::KeyPolicy,
    mount::MountPoint,
    names::{SubjectName, SubjectNames},
    spec::{FileSpec, Layout, Part, PlainName, Probe, Reload, Usage, Validate},
};

use super::{GuestRef, SpecHash, window::Window};

/// One entry: a certificate, perhaps in several places, an issuer's roots, or what is served and only watched.
#[derive(Debug, Clone, PartialEq)]
pub struct Certificate {
    /// What people call it.
    pub name: CertificateName,
    /// Who signs it, or whose roots are placed; none where a certificate is only watched.
    pub issuer: Option<PlainName>,
    /// A certificate, roots, or a look at what is served.
    pub content: Content<LeafPolicy>,
    /// Where it goes, each guest once.
    pub placements: Vec<Placement>,
}

/// How a certificate is to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct LeafPolicy {
    /// Who signs it, by the name in controller.toml.
    pub issuer: PlainName,
    /// The subject's common name; one of `names`.
    pub common_name: SubjectName,
    /// Every name, unless a placement has its own.
    pub names: SubjectNames,
    /// How its keys are made.
    pub key: KeyPolicy,
    /// How long it should be valid: 5 minutes to 10 years.
    pub duration: Duration,
    /// How long before its end it is renewed; none for two thirds of its real life. Less than `duration`.
    pub renew_before: Option<Duration>,
    /// One key in all places, made by the controller.
    pub shared: bool,
    /// Names, key algorithm and issuer in one.
    pub(super) spec_hash: SpecHash,
}

/// An entry in one place.
#[derive(Debug, Clone, PartialEq)]
pub struct Placement {
    /// The guest, by VMID or name, or the host.
    pub guest: GuestRef,
    /// Its names in place of the certificate's; the common name is among them.
    pub own_names: Option<OwnNames>,
    /// Where files, validate, reload and probe come from unless they are given here.
    pub recipe: Option<PlainName>,
    /// Files, over the recipe's. Without a recipe there is one at least, and each has a path.
    pub files: BTreeMap<Part, FileSpec>,
    /// How the files change, over the recipe's.
    pub layout: Option<Layout>,
    /// How new files are checked; overrides the recipe.
    pub validate: Option<Validate>,
    /// How the service is reloaded; overrides the recipe.
    pub reload: Option<Reload>,
    /// How further services are reloaded; none without `reload`.
    pub more_reloads: Vec<Reload>,
    /// Where the service is probed; overrides the recipe.
    pub probe: Option<Probe>,
    /// Where services are probed too; none without `probe`.
    pub more_probes: Vec<Probe>,
    /// When its service may be disturbed; none for any time.
    pub window: Option<Window>,
    /// Where something must be mounted before the files are touched; none where the guest finds out by itself.
    pub requires_mount: Option<MountPoint>,
    /// Which side of a connection shows the certificate; none where the recipe says.
    pub usage: Option<Usage>,
    /// A good pair that is there already is taken over as it is.
    pub adopt: bool,
    /// The files are to be removed and nothing is to be held.
    pub purge: bool,
}

/// Names that one placement has in place of its certificate's.
#[derive(Debug, Clone, PartialEq)]
pub struct OwnNames {
    pub(super) names: SubjectNames,
    /// These names, the certificate's key algorithm and issuer in one.
    pub(super) spec_hash: SpecHash,
}

/// A certificate as one placement is to hold it.
#[derive(Debug, Clone, Copy)]
pub struct PlacedLeaf<'m> {
    /// How it is made.
    pub policy: &'m LeafPolicy,
    /// Every name here: the certificate's, or the placement's own.
    pub names: &'m SubjectNames,
    /// Names, key algorithm and issuer in one.
    pub spec_hash: SpecHash,
}

impl Certificate {
    /// What one of its placements is to hold.
    #[must_use]
    pub fn content_at<'m>(&'m self, placement: &'m Placement) -> Content<PlacedLeaf<'m>> {
        self.content.as_ref().map(|policy| {
            let (names, spec_hash) = match &placement.own_names {
                Some(OwnNames { names, spec_hash }) => (names, *spec_hash),
                None => (&policy.names, policy.spec_hash),
            };
            PlacedLeaf { policy, names, spec_hash }
        })
    }

    /// Whether the controller makes its key, one for all placements.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.content.leaf().is_some_and(|policy| policy.shared)
    }
}

impl PlacedLeaf<'_> {
    /// As a guest is asked to hold it.
    #[must_use]
    pub fn spec(&self) -> LeafSpec {
        let LeafPolicy { common_name, key, shared, .. } = self.policy;
        LeafSpec { common_name: common_name.clone(), names: self.names.clone(), key: *key, shared: *shared }
    }
}
