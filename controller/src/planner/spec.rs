//! A placement as it goes to its guest.

use pinion_proto::{
    bundle::RootCertificate,
    spec::{Opening, PlacementSpec},
    stage::Trouble,
};

use crate::manifest::{Certificate, Placement};

/// What a guest is asked to hold: the placement, its issuer's roots, the generation that is ordered, if one is, what holds it up on the
/// controller's side, and when its service may be disturbed.
#[must_use]
pub fn spec(
    certificate: &Certificate,
    placement: &Placement,
    roots: &[RootCertificate],
    ordered: Option<u64>,
    trouble: Option<&Trouble>,
    window: Option<&[Opening]>,
) -> PlacementSpec {
    PlacementSpec {
        certificate: certificate.name.clone(),
        content: certificate.content_at(placement).map(|leaf| leaf.spec()),
        roots: roots.to_vec(),
        recipe: placement.recipe.clone(),
        files: placement.files.clone(),
        layout: placement.layout,
        validate: placement.validate.clone(),
        reload: placement.reload.clone(),
        probe: placement.probe.clone(),
        more_reloads: placement.more_reloads.clone(),
        more_probes: placement.more_probes.clone(),
        window: window.map(<[Opening]>::to_vec),
        requires_mount: placement.requires_mount.clone(),
        usage: placement.usage,
        purge: placement.purge,
        ordered,
        trouble: trouble.cloned(),
        adoption: None,
    }
}
