//! The questions that people ask of the source, and the file that answers each: the table in ARCHITECTURE.md.
//!
//! A file that moves takes its row along.

use super::{Crates, Finding};

pub(super) fn check(crates: &Crates<'_>) -> Vec<Finding> {
    let Some(map) = crates.tree.file(MAP) else { return Vec::new() };
    let rows: Vec<(&str, &str)> = rows(&map.text).collect();
    if rows.len() < LEAST {
        let why = format!("has {} questions under `{HEADING}`, of {LEAST}", rows.len());
        return vec![Finding::new(MAP, 1, why)];
    }
    let missing = rows.into_iter().filter(|(_, file)| crates.tree.file(file).is_none());
    missing
        .map(|(question, file)| {
            let why = format!("names `{file}` for the question \"{question}\", which is no file");
            Finding::new(format!("{MAP} {question}"), 1, why)
        })
        .collect()
}

/// Questions, and the file that the second column names.
fn rows(map: &str) -> impl Iterator<Item = (&str, &str)> {
    let section = map.lines().skip_while(|line| *line != HEADING).skip(1).take_while(|line| !line.starts_with("## "));
    section.filter_map(|line| {
        let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
        let (question, answer) = (cells.next()?, cells.next()?);
        Some((question, answer.split('`').nth(1)?))
    })
}

const MAP: &str = "ARCHITECTURE.md";

const HEADING: &str = "## Which file answers";

const LEAST: usize = 12;

#[cfg(test)]
mod tests {
    use super::{super::found, *};

    #[test]
    fn a_question_whose_file_is_gone_is_found() {
        let table = |rows: usize, file: &str| {
            let rows = format!("| who? | `{file}` |\n").repeat(rows);
            format!("# A\n\n{HEADING}\n\n| question | file |\n|---|---|\n{rows}\n## Next\n\n| x | `y` |\n")
        };
        let check = |text: &str| found(check, &[(MAP, text), ("a/src/b.rs", "")]);
        assert!(check(&table(12, "a/src/b.rs")).is_empty());
        let gone = check(&table(12, "a/src/c.rs"));
        assert_eq!(gone[0], "ARCHITECTURE.md who?: names `a/src/c.rs` for the question \"who?\", which is no file");
        assert!(check(&table(11, "a/src/b.rs"))[0].contains("has 11 questions"));
    }
}
