//! The table of placements of `pinion status`: the worst first.

use pinion_proto::{
    clock::Timestamp,
    relative,
    stage::{Halt, Stage},
    table::{self, Look, Row},
    verdict::Verdict,
};

use crate::admin::protocol::PlacementStatus;

/// The columns that are cut, names and then placements, and how narrow they become.
const NARROWEST: [(usize, usize); 2] = [(5, 10), (1, 14)];

/// The placements, the worst first, those that nobody asks for any more last.
pub(super) fn worst_first(placements: &[PlacementStatus]) -> Vec<&PlacementStatus> {
    let mut sorted: Vec<_> = placements.iter().collect();
    // Stable: what is alike stays in the manifest's order.
    sorted.sort_by_key(|placement| (placement.retired, std::cmp::Reverse((verdict(placement), placement.validity))));
    sorted
}

fn verdict(placement: &PlacementStatus) -> Verdict {
    let halt = placement.trouble.as_ref().map(|trouble| trouble.halt);
    Verdict::of(placement.validity, halt, halt == Some(Halt::Waiting))
}

/// The table, as text that ends with a line end.
pub(super) fn table(placements: &[&PlacementStatus], look: Look) -> String {
    let mut head = vec!["VALIDITY", "PLACEMENT", "STAGE", "EXPIRES", "RENEWS", "NAMES"];
    if look.width.is_none() {
        head.push("SERIAL");
    }
    let row = |placement: &&PlacementStatus| Row {
        cells: row(placement, look).into(),
        verdict: (!placement.retired).then(|| verdict(placement)),
    };
    let rows: Vec<_> = placements.iter().map(row).collect();
    table::table(&head, &rows, &NARROWEST, look)
}

fn row(placement: &PlacementStatus, look: Look) -> [String; 7] {
    let is_wide = look.width.is_none();
    let moment = |at: Timestamp| if is_wide { at.to_string() } else { relative::from_now(at, look.now) };
    let renews = |at: Timestamp| if !is_wide && at <= look.now { "due".to_owned() } else { moment(at) };
    [
        placement.validity.map(|validity| validity.to_string()).unwrap_or_default(),
        placement.placement.clone(),
        stage(placement),
        placement.not_after.map(moment).unwrap_or_default(),
        placement.renew_at.map(renews).unwrap_or_default(),
        names(placement, is_wide),
        placement.serial.clone().unwrap_or_default(),
    ]
}

fn stage(placement: &PlacementStatus) -> String {
    if placement.retired {
        return "retired".to_owned();
    }
    let is_unprobed = placement.names.is_some() && placement.goal < Stage::Served && placement.stage >= placement.goal;
    match &placement.trouble {
        Some(trouble) => format!("{} ({})", placement.stage, trouble.halt),
        None if placement.watched => format!("{} (watched)", placement.stage),
        None if is_unprobed => format!("{} (not probed)", placement.stage),
        None if placement.frozen.is_some() => format!("{} (frozen)", placement.stage),
        None => placement.stage.to_string(),
    }
}

fn names(placement: &PlacementStatus, is_wide: bool) -> String {
    if placement.names.is_none() && placement.watched {
        return "not seen yet".to_owned();
    }
    if placement.names.is_none() && !placement.retired {
        // Roots alone: the beginning of a fingerprint is enough to tell them.
        let roots: Vec<_> = placement.roots.iter().map(|root| format!("{:.16}…", root.to_string())).collect();
        return format!("roots of {}: {}", placement.issuer, roots.join(", "));
    }
    let names: Vec<_> = placement.names.iter().flat_map(|names| names.iter()).map(|name| name.plain()).collect();
    match names.as_slice() {
        [first, rest @ ..] if !is_wide && !rest.is_empty() => format!("{first} +{}", rest.len()),
        names => names.join(", "),
    }
}

#[cfg(test)]
mod tests;
