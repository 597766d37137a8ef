//! Tables of placements for people: in the width of the terminal, what is wrong in colour.
//!
//! Invariant: no line is wider than asked for as long as the columns that are not cut leave room; a cell is one printable
//! line, even if it contains text from outside.

use std::{
    borrow::Cow,
    env,
    io::{IsTerminal as _, stdout},
};

use crate::{
    clock::{Clock as _, SystemClock, Timestamp},
    printable::whole,
    verdict::Verdict,
};

/// Where nobody knows how wide the screen is, and on a narrower one.
const WIDTH: usize = 80;

/// What is wrong is coloured in so many first columns, and not what is only beside it.
const COLOURED: usize = 3;

/// How a table is drawn.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// This moment.
    pub now: Timestamp,
    /// How wide it is; none for every column, whole.
    pub width: Option<usize>,
    /// Whether the worst stand out in colour.
    pub is_coloured: bool,
}

impl Look {
    /// For standard output as it is.
    #[must_use]
    pub fn of_stdout(is_wide: bool) -> Self {
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

/// A placement's line.
#[derive(Debug, Clone)]
pub struct Row {
    /// What is in its columns.
    pub cells: Vec<String>,
    /// How it is; none of one that nobody asks for any more.
    pub verdict: Option<Verdict>,
}

/// The table, as text that ends with a line end. The columns in `narrow` are cut to this width at the least, one after
/// the other, until all fits.
#[must_use]
pub fn table(head: &[&str], rows: &[Row], narrow: &[(usize, usize)], look: Look) -> String {
    let cells: Vec<Vec<Cow<'_, str>>> =
        rows.iter().map(|row| row.cells.iter().take(head.len()).map(|cell| whole(cell)).collect()).collect();
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.len()).collect();
    for row in &cells {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    if let Some(max) = look.width {
        fit(&mut widths, max, narrow);
    }
    let mut out = String::new();
    line(&mut out, head.iter().copied(), &widths, None);
    for (cells, row) in cells.iter().zip(rows) {
        let colour = row.verdict.map(colour).filter(|colour| look.is_coloured && !colour.is_empty());
        line(&mut out, cells.iter().map(AsRef::as_ref), &widths, colour);
    }
    out
}

/// Makes columns narrower until all fits.
fn fit(widths: &mut [usize], max: usize, narrow: &[(usize, usize)]) {
    for &(column, narrowest) in narrow {
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
        match colour.filter(|_| index < COLOURED && !cell.is_empty()) {
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
fn colour(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Expired => "\x1b[1;31m",
        Verdict::Blocked => "\x1b[31m",
        Verdict::Waiting => "\x1b[33m",
        Verdict::Good => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_cut_in_their_order_until_the_table_fits() {
        let row = |verdict| Row { cells: vec!["ok".into(), "a-long-name".into(), "served\n".into()], verdict };
        let look = |width| Look { now: Timestamp::from_unix(0), width, is_coloured: true };
        let rows = [row(None), row(Some(Verdict::Blocked)), row(Some(Verdict::Good))];
        assert_eq!(
            table(&["V", "NAME", "STAGE"], &rows, &[(1, 6), (2, 4)], look(None)),
            "V   NAME         STAGE\nok  a-long-name  served\\n\n\
             \x1b[31mok\x1b[0m  \x1b[31ma-long-name\x1b[0m  \x1b[31mserved\\n\x1b[0m\nok  a-long-name  served\\n\n"
        );
        let narrow = table(&["V", "NAME", "STAGE"], &rows[..1], &[(1, 6), (2, 4)], look(Some(17)));
        assert_eq!(narrow, "V   NAME    STAGE\nok  a-lon…  serv…\n");
    }
}
