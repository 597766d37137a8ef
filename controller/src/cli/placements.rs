//! The table of placements of `pinion status`: the worst first, in the width of the terminal.
//!
//! Invariant: no line is wider than asked for as long as the words before the names leave room; a cell is one printable
//! line, whoever's words are in it.

use std::{
    env,
    io::{IsTerminal as _, stdout},
};

use pinion_proto::{
    clock::{Clock as _, SystemClock, Timestamp},
    printable::whole,
    stage::{Halt, Stage},
    verdict::Verdict,
};

use super::relative;
use crate::admin::protocol::PlacementStatus;

/// Where nobody knows how wide the screen is, and on a narrower one.
const WIDTH: usize = 80;

/// The narrowest columns that are cut: names, then placements.
const NARROWEST: [usize; 2] = [10, 14];

/// How the table is drawn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    /// This moment.
    pub(super) now: Timestamp,
    /// How wide it is; none for every column, whole.
    pub(super) width: Option<usize>,
    /// Whether the worst stand out in colour.
    pub(super) is_coloured: bool,
}

impl Look {
    /// For standard output as it is.
    pub(super) fn of_stdout(is_wide: bool) -> Self {
        let is_terminal = stdout().is_terminal();
        // The convention of https://no-color.org: set, and not empty.
        let is_plain = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let is_dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
        let columns = || usize::from(rustix::termios::tcgetwinsize(stdout()).ok()?.ws_col).into();
        let columns: Option<usize> = if is_terminal { columns() } else { None };
        Self {
            now: SystemClock.now(),
            width: (!is_wide).then_some(columns.unwrap_or(WIDTH).max(WIDTH)),
            is_coloured: is_terminal && !is_plain && !is_dumb,
        }
    }
}

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
    let rows: Vec<Vec<String>> = placements
        .iter()
        .map(|placement| row(placement, look).iter().take(head.len()).map(|cell| whole(cell).into_owned()).collect())
        .collect();
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.len()).collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    if let Some(max) = look.width {
        fit(&mut widths, max);
    }
    let mut out = String::new();
    line(&mut out, head.iter().copied(), &widths, None);
    for (cells, placement) in rows.iter().zip(placements) {
        let colour = Some(colour(placement)).filter(|colour| look.is_coloured && !colour.is_empty());
        line(&mut out, cells.iter().map(String::as_str), &widths, colour);
    }
    out
}

/// Makes the names narrower, and then the placements, until all fits.
fn fit(widths: &mut [usize], max: usize) {
    for (column, narrowest) in [(5, NARROWEST[0]), (1, NARROWEST[1])] {
        let total = widths.iter().sum::<usize>() + 2 * (widths.len() - 1);
        let over = total.saturating_sub(max);
        widths[column] = widths[column].min(widths[column].saturating_sub(over).max(narrowest));
    }
}

fn line<'c>(out: &mut String, cells: impl Iterator<Item = &'c str>, widths: &[usize], colour: Option<&str>) {
    let mut text = String::new();
    for (index, (cell, width)) in cells.zip(widths).enumerate() {
        let cell = cut(cell, *width);
        let padding = " ".repeat(width - cell.chars().count() + 2);
        // What is wrong is coloured, and not what is only beside it.
        match colour.filter(|_| index < 3 && !cell.is_empty()) {
            Some(colour) => text += &format!("{colour}{cell}\x1b[0m{padding}"),
            None => text += &format!("{cell}{padding}"),
        }
    }
    out.push_str(text.trim_end());
    out.push('\n');
}

fn cut(cell: &str, width: usize) -> String {
    if cell.chars().count() <= width {
        return cell.to_owned();
    }
    cell.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// The terminal's codes for how bad it is (ECMA-48).
fn colour(placement: &PlacementStatus) -> &'static str {
    match verdict(placement) {
        _ if placement.retired => "",
        Verdict::Expired => "\x1b[1;31m",
        Verdict::Blocked => "\x1b[31m",
        Verdict::Waiting => "\x1b[33m",
        Verdict::Good => "",
    }
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
        None if is_unprobed => format!("{} (not probed)", placement.stage),
        None if placement.frozen.is_some() => format!("{} (frozen)", placement.stage),
        None => placement.stage.to_string(),
    }
}

fn names(placement: &PlacementStatus, is_wide: bool) -> String {
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
