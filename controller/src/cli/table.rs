//! Columns for people: as wide as their widest cell, two spaces between.

use std::fmt::Write as _;

use pinion_proto::printable::whole;

/// Rows under a head, as text that ends with a line end; a cell is one printable line, even if it contains text from outside.
pub(super) fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let mut widths = head.map(str::len);
    let rows: Vec<_> = rows.iter().map(|row| row.each_ref().map(|cell| whole(cell))).collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = String::new();
    let mut line = |cells: &[&str]| {
        let mut text = String::new();
        for (cell, width) in cells.iter().zip(widths) {
            // Writing to a String cannot fail.
            write!(text, "{cell:<width$}  ").ok();
        }
        out.push_str(text.trim_end());
        out.push('\n');
    };
    line(&head);
    for row in &rows {
        line(&row.each_ref().map(|cell| &**cell));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::table;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let text = table(["A", "BB"], &[["long".into(), "x".into()], ["s".into(), String::new()]]);
        assert_eq!(text, "A     BB\nlong  x\ns\n");
    }
}
