//! One placement, for `pinion status` and `pinion show`.

use pinion_proto::{
    clock::Timestamp,
    content::Content,
    id::{CertificateName, PlacementId},
    printable::line,
    report::{Held, PlacementReport, WatchedCertificate},
    spec::Opening,
    stage::{Stage, Validity},
};

use super::{
    health::{self, Health},
    view::View,
};
use crate::{
    admin::protocol::{PlacementStatus, WindowOpening},
    planner::Planned,
    reconcile::{freezing, troubles},
};

/// The longest path in a status (characters): one of a guest's is at most 1,024 bytes.
const MAX_PATH: usize = 1024;

/// A placement of the manifest.
pub(super) fn planned(view: View<'_>, planned: &Planned<'_>) -> PlacementStatus {
    let id = planned.id();
    let report = id.as_ref().and_then(|id| view.world.report(id));
    let mut status = described(view, planned.label(), id.as_ref(), planned.certificate.name.clone(), report);
    if let Content::Leaf(leaf) = planned.content() {
        status.names = status.names.or_else(|| Some(leaf.names.clone()));
    }
    status.not_after = health::expires(planned, report);
    status.renew_at = planned.renew_at;
    status.watched = planned.certificate.content.is_watched();
    status.recipe = planned.placement.recipe.as_ref().map(ToString::to_string);
    status.window = planned.window.as_ref().map(|openings| window(openings.first(), view.now));
    let openings = planned.window.iter().flatten();
    status.openings = openings.map(|&Opening { opens, closes }| WindowOpening { opens, closes }).collect();
    if planned.certificate.is_shared() {
        status.key = status.key.map(|key| format!("{key}, shared with its other placements"));
    }
    if let Some(issuer) = planned.certificate.issuer.as_ref().filter(|_| status.issuer.is_empty()) {
        status.issuer = issuer.to_string();
    }
    status.frozen = freezing::freeze_of(view.world, planned).cloned();
    let Health { trouble, validity, is_due } = Health::of(&view, planned, report);
    (status.trouble, status.validity, status.due) = (trouble, validity, is_due);
    retire_destroyed(view, id.as_ref(), &mut status);
    status
}

/// What a destroyed guest held is shown as retired, whatever the manifest says.
fn retire_destroyed(view: View<'_>, id: Option<&PlacementId>, status: &mut PlacementStatus) {
    if let Some(id) = view.destroyed(id) {
        status.retired = true;
        status.renew_at = None;
        status.due = false;
        status.trouble = Some(troubles::destroyed(&status.placement, id.guest));
    }
}

/// A placement that the manifest does not name.
pub(super) fn retired(view: View<'_>, id: &PlacementId) -> Option<PlacementStatus> {
    let report = view.world.report(id)?;
    let mut status = described(view, id.to_string(), Some(id), id.certificate.clone(), Some(report));
    status.retired = true;
    retire_destroyed(view, Some(id), &mut status);
    Some(status)
}

fn described(
    view: View<'_>,
    label: String,
    id: Option<&PlacementId>,
    certificate: CertificateName,
    report: Option<&PlacementReport>,
) -> PlacementStatus {
    let held = report.and_then(|report| report.held.as_ref());
    let watched = report.and_then(|report| report.watched.as_deref());
    let guest = id.map(|id| id.guest);
    PlacementStatus {
        placement: label,
        certificate,
        guest,
        guest_name: guest.and_then(|guest| view.name(guest)),
        stage: report.map_or(Stage::Pending, |report| report.stage),
        goal: report.map_or(Stage::Served, |report| report.goal),
        validity: held.map(|held| Validity::at(view.now, held.expires(), false)),
        watched: false,
        late_from: watched.map(WatchedCertificate::expiring_from),
        due: false,
        generation: held.map(|held| held.generation),
        incoming: report.and_then(|report| report.incoming.as_ref()).map(|incoming| incoming.generation),
        serial: watched
            .map(|watched| watched.serial.clone())
            .or_else(|| held.map(|held| held.leaf.serial().to_owned())),
        names: watched
            .and_then(WatchedCertificate::subject_names)
            .or_else(|| held.map(|held| held.leaf.names().clone())),
        not_before: watched.map(|watched| watched.not_before).or_else(|| held.map(|held| held.leaf.not_before())),
        not_after: held.map(Held::expires),
        renew_at: None,
        issuer: watched
            .map(|watched| watched.issuer.clone())
            .or_else(|| held.map(|held| held.issuer.to_string()))
            .unwrap_or_default(),
        roots: report.iter().flat_map(|report| report.roots.iter().copied()).collect(),
        retired: false,
        left_behind: report
            .iter()
            .flat_map(|report| &report.left_behind)
            .map(|path| line(path.as_str(), MAX_PATH))
            .collect(),
        frozen: None,
        trouble: report.and_then(|report| report.trouble.clone()),
        warning: report.and_then(|report| report.warning.clone()),
        notified: report.map(|report| report.notified).unwrap_or_default(),
        recipe: None,
        key: held.and_then(|held| held.leaf.key_algorithm()).map(|key| key.to_string()),
        root: held.and_then(|held| held.root),
        window: None,
        openings: Vec::new(),
        details: report.and_then(|report| report.details.clone()),
        adopted: held.is_some_and(|held| held.adopted),
        wanted: None,
        renewal: None,
    }
}

/// When a service may be disturbed that has a window, or is frozen.
fn window(opening: Option<&Opening>, now: Timestamp) -> String {
    match opening {
        Some(opening) if opening.opens <= now => format!("open until {}", opening.closes),
        Some(opening) => format!("closed until {}", opening.opens),
        None => "closed until the freeze is lifted".to_owned(),
    }
}
