//! A placement as it goes to its guest.

use pinion_proto::{spec::PlacementSpec, stage::Trouble};

use crate::manifest::{Certificate, Placement};

/// What a guest is asked to hold: the placement, the generation that is ordered, if one is, and what holds
/// it up on the controller's side.
#[must_use]
pub fn spec(
    certificate: &Certificate,
    placement: &Placement,
    ordered: Option<u64>,
    trouble: Option<&Trouble>,
) -> PlacementSpec {
    PlacementSpec {
        certificate: certificate.name.clone(),
        common_name: certificate.common_name.clone(),
        names: placement.names.clone(),
        key: certificate.key,
        shared: certificate.shared,
        recipe: placement.recipe.clone(),
        files: placement.files.clone(),
        layout: placement.layout,
        validate: placement.validate.clone(),
        reload: placement.reload.clone(),
        probe: placement.probe.clone(),
        purge: placement.purge,
        ordered,
        trouble: trouble.cloned(),
    }
}
