//! ARCHITECTURE.md's code map has every folder, and every folder in it exists.
//!
//! The map's section of a crate begins with a heading that has the crate's directory, and names folders and files as they
//! lie below its `src`: `link/`, `link/admission`, or `tests/faults.rs` for what lies beside it. A folder `tests` belongs to
//! the one above.

use super::{Crates, Finding};
use crate::tidy::tree::Tree;

pub(super) fn check(crates: &Crates<'_>) -> Vec<Finding> {
    let tree = crates.tree;
    let Some(map) = tree.file(MAP) else { return Vec::new() };
    let sections = sections(&map.text);
    let mut found = Vec::new();
    for folder in tree.folders.iter().filter(|folder| is_mapped(folder) && !has_only_tests(tree, folder)) {
        let Some((directory, below)) = folder.split_once('/') else {
            if !sections.iter().any(|section| section.directory == *folder) {
                found.push(Finding::new(folder.as_str(), 1, "is not in the code map of ARCHITECTURE.md"));
            }
            continue;
        };
        let below = below.strip_prefix("src/").unwrap_or(below);
        let section = sections.iter().find(|section| section.directory == directory);
        if !section.is_some_and(|section| section.has(below)) {
            let why = format!("is not in the code map of ARCHITECTURE.md, section `{directory}/`");
            found.push(Finding::new(folder.as_str(), 1, why));
        }
    }
    for section in &sections {
        let missing =
            section.names.iter().filter(|name| name.must_exist && !exists(tree, section.directory, name.text));
        for Name { text, .. } in missing {
            let why = format!("names `{text}` in section `{}/`, which is no folder or file", section.directory);
            found.push(Finding::new(format!("{MAP} {}/ {text}", section.directory), 1, why));
        }
    }
    found
}

/// Folders of the top, and those below `src` that are not tests of the one above.
fn is_mapped(folder: &str) -> bool {
    match folder.split_once('/') {
        None => !OUTSIDE.contains(&folder),
        Some((_, below)) => {
            below.starts_with("src/") && !below.split('/').any(|part| part == "tests") && below != "src/gen"
        }
    }
}

/// `count/` beside `count.rs`, with nothing but `count/tests.rs` in it.
fn has_only_tests(tree: &Tree, folder: &str) -> bool {
    let mut below = tree.files.iter().filter_map(|file| file.path.strip_prefix(folder)?.strip_prefix('/'));
    below.all(|file| file.split('/').any(|part| part == "tests" || part == "tests.rs"))
}

/// A crate's part of the map.
#[derive(Debug)]
struct Section<'m> {
    /// `controller`
    directory: &'m str,
    names: Vec<Name<'m>>,
}

/// What is between backticks.
#[derive(Debug)]
struct Name<'m> {
    /// `link/admission`, without a `/` at its end.
    text: &'m str,
    /// It can be nothing but a path.
    must_exist: bool,
}

impl Section<'_> {
    /// Whether the folder is named, itself or as part of the way to something in it.
    fn has(&self, folder: &str) -> bool {
        let is_way = |name: &Name<'_>| {
            name.text.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.names.iter().any(is_way)
    }
}

fn sections(map: &str) -> Vec<Section<'_>> {
    let mut sections: Vec<Section<'_>> = Vec::new();
    let mut is_map = false;
    for line in map.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            is_map = heading == HEADING;
        } else if !is_map {
        } else if let Some(heading) = line.strip_prefix("### ") {
            let directory = heading.split('`').nth(1).unwrap_or(heading).trim_end_matches('/');
            sections.push(Section { directory, names: Vec::new() });
        } else if let Some(section) = sections.last_mut() {
            let first_cell = line.strip_prefix("| ").and_then(|row| row.find('|').map(|end| end + 2));
            for (at, text) in quoted(line) {
                let is_entry = first_cell.is_some_and(|end| at < end);
                let is_path = text.contains('/')
                    && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_/.-".contains(c));
                let must_exist = is_path && !text.starts_with('/') && !text.starts_with("target/") || is_entry;
                let text = text.trim_end_matches('/');
                section.names.push(Name { text: text.strip_prefix("src/").unwrap_or(text), must_exist });
            }
        }
    }
    sections
}

/// What is between backticks in a line, and where.
fn quoted(line: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    line.split('`').enumerate().filter_map(move |(index, part)| {
        let begin = at;
        at += part.len() + 1;
        (index % 2 == 1).then_some((begin, part))
    })
}

fn exists(tree: &Tree, directory: &str, name: &str) -> bool {
    let is_there =
        |path: &str| tree.has_folder(path) || tree.file(path).is_some() || tree.file(&format!("{path}.rs")).is_some();
    // `recipes/*.toml`
    let name = name.split("/*").next().unwrap_or(name);
    // An invariant of one crate may lean on another one's.
    let crates = tree.folders.iter().filter(|folder| !folder.contains('/')).map(String::as_str);
    let of_a_crate = |own: &str| {
        let below = |between: &&str| is_there(&format!("{own}/{between}{name}"));
        ["src/", ""].iter().any(below)
    };
    is_there(name) || of_a_crate(directory) || name.contains('/') && crates.into_iter().any(of_a_crate)
}

const MAP: &str = "ARCHITECTURE.md";

const HEADING: &str = "Code map";

/// Not code.
const OUTSIDE: [&str; 1] = ["docs"];

#[cfg(test)]
mod tests {
    use super::{super::found, *};

    const FILES: [(&str, &str); 6] = [
        ("a/Cargo.toml", "[package]\nname = \"a\"\n"),
        ("a/src/lib.rs", ""),
        ("a/src/link/mod.rs", ""),
        ("a/src/link/dial/mod.rs", ""),
        ("a/src/link/tests/mod.rs", ""),
        ("a/src/link/count/tests.rs", ""),
    ];

    fn with(map: &str) -> Vec<String> {
        let text = format!("# A\n\n## Code map\n\n{map}\n## Across\n\n`gone/`\n");
        let mut files = FILES.to_vec();
        files.push((MAP, &text));
        found(check, &files)
    }

    #[test]
    fn a_folder_that_is_not_in_the_map_is_found() {
        assert!(with("### `a/` — does\n\n| m | a |\n|---|---|\n| `link/` | how? `link/dial` dials |\n").is_empty());
        assert!(with("### `a/` — does\n\n`lib` begins; `link/dial` dials `foreign` `/etc/x`\n").is_empty());
        assert_eq!(
            with("### `a/` — does\n\n`link/`\n"),
            ["a/src/link/dial: is not in the code map of ARCHITECTURE.md, section `a/`"]
        );
        assert_eq!(with("").len(), 3);
    }

    #[test]
    fn what_is_in_the_map_and_not_on_disk_is_found() {
        let row = with("### `a/` — does\n\n| `link/dial` `gone` | what |\n\n`link/gone.rs`\n");
        assert_eq!(
            row,
            [
                "ARCHITECTURE.md a/ gone: names `gone` in section `a/`, which is no folder or file",
                "ARCHITECTURE.md a/ link/gone.rs: names `link/gone.rs` in section `a/`, which is no folder or file"
            ]
        );
    }
}
