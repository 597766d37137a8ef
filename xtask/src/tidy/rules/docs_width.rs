//! Docs are wrapped at 100 columns.
//!
//! Rows of tables and what is between fences are as wide as they are, and so is one word that is longer than a line.

use super::{Crates, Finding};

const MAX_COLUMNS: usize = 100;

pub(super) fn check(crates: &Crates<'_>) -> Vec<Finding> {
    let docs = crates.tree.files.iter().filter(|file| file.path.ends_with(".md"));
    docs.filter_map(|file| {
        let wide = wide(&file.text);
        let first = *wide.first()?;
        let why = format!("{} lines are wider than {MAX_COLUMNS} columns, the first is line {first}", wide.len());
        Some(Finding::new(file.path.as_str(), wide.len(), why))
    })
    .collect()
}

/// The numbers of lines that could be wrapped and are not.
fn wide(text: &str) -> Vec<usize> {
    let mut is_fenced = false;
    let mut wide = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let text = line.trim_start();
        if text.starts_with("```") || text.starts_with("~~~") {
            is_fenced = !is_fenced;
        }
        let can_be_wrapped = text.contains(' ') && !text.starts_with('|') && !line.starts_with("    ");
        if !is_fenced && can_be_wrapped && line.chars().count() > MAX_COLUMNS {
            wide.push(index + 1);
        }
    }
    wide
}

#[cfg(test)]
mod tests {
    use super::{super::found, *};

    #[test]
    fn a_wide_line_is_found_and_what_cannot_be_wrapped_is_not() {
        let words = "word ".repeat(21);
        let good = format!("{}\n| {words}|\n```\n{words}\n```\n    {words}\n{}\n", &words[..100], "x".repeat(120));
        assert!(found(check, &[("docs/a.md", &good)]).is_empty());
        let bad = format!("# A\n{words}\n");
        assert_eq!(
            found(check, &[("docs/a.md", &bad)]),
            ["docs/a.md: 1 lines are wider than 100 columns, the first is line 2"]
        );
    }
}
