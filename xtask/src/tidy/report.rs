//! The figures of a checkout, to be compared with another one's.

use super::{
    circles::circles,
    crates::Crates,
    rules::{banned, implemented},
};

/// A table with a figure a line.
pub(super) fn of(crates: &Crates<'_>) -> String {
    let mut rows: Vec<(&str, String)> = Vec::new();
    let structs = structs(crates);
    let named = |(fields, name): &(usize, String)| format!("{fields} ({name})");
    rows.push(("fields of the largest struct", structs.iter().take(1).map(named).collect()));
    rows.push(("the next ones", structs.iter().skip(1).take(4).map(named).collect::<Vec<_>>().join(", ")));

    let implemented = implemented(crates);
    let mut spread: Vec<(usize, &str)> = implemented.iter().map(|(of, files)| (files.len(), of.as_str())).collect();
    spread.sort_by(|one, other| other.cmp(one));
    rows.push((
        "files with `impl` of one type",
        spread.first().map_or_else(String::new, |(n, of)| format!("{n} ({of})")),
    ));
    rows.push(("types with `impl` in more than two files", spread.iter().filter(|(n, _)| *n > 2).count().to_string()));

    rows.push(("unit tests of the loop's parts", loop_tests(crates)));
    let asks: usize = crates.product().map(|module| crates.scope(module).code.asks_for_roots).sum();
    let matches: usize = crates.product().map(|module| crates.scope(module).code.matches_content).sum();
    rows.push(("branches on \"is it roots\"", format!("{asks} of a bool, {matches} by the type")));

    let circles = circles(crates);
    let max = circles.first().map_or(0, Vec::len);
    let files: usize = circles.iter().map(Vec::len).sum();
    rows.push(("circles of files", format!("{} with {files} files, the largest of {max}", circles.len())));
    let folder = |file: &String| file.rsplit_once('/').map_or(String::new(), |(folder, _)| folder.to_owned());
    let crosses = |files: &&Vec<String>| files.iter().any(|file| folder(file) != folder(&files[0]));
    rows.push(("circles that cross folders", circles.iter().filter(crosses).count().to_string()));

    let lines: Vec<usize> = crates.tree.rust().map(super::tree::File::lines).collect();
    rows.push(("files over 400 lines", lines.iter().filter(|lines| **lines > 400).count().to_string()));
    rows.push(("files under 60 lines", lines.iter().filter(|lines| **lines < 60).count().to_string()));
    rows.push(("files in all", lines.len().to_string()));
    rows.push(("lines in all", lines.iter().sum::<usize>().to_string()));
    let parts = CRATES.map(|part| format!("{part} {}", lines_below(crates, &format!("{part}/"))));
    rows.push(("lines by crate", parts.join(", ")));
    let words: usize = banned(crates).values().sum();
    rows.push(("names with words that have a replacement", words.to_string()));

    let mut table = "| figure | value |\n|---|---|\n".to_owned();
    table.extend(rows.into_iter().map(|(what, value)| format!("| {what} | {value} |\n")));
    table
}

/// Structs with named fields, the largest first; generated ones and the tests' are not among them.
fn structs(crates: &Crates<'_>) -> Vec<(usize, String)> {
    let mut structs: Vec<(usize, String)> = crates
        .product()
        .filter(|module| SHIPPED.iter().any(|shipped| crates.file(*module).path.starts_with(shipped)))
        .flat_map(|module| {
            let file = &crates.file(module).path;
            crates.scope(module).structs.iter().map(move |(name, fields)| (*fields, format!("{file} {name}")))
        })
        .collect();
    structs.sort_by(|one, other| other.cmp(one));
    structs
}

/// How many there are, and where.
fn loop_tests(crates: &Crates<'_>) -> String {
    let mut parts: Vec<(&str, usize)> = Vec::new();
    for part in LOOP {
        let inside = |path: &str| {
            path.strip_prefix("controller/src/")
                .and_then(|rest| rest.strip_prefix(part))
                .is_some_and(|rest| rest.starts_with('/') || rest == ".rs")
        };
        let files = crates.tree.rust().filter(|file| inside(&file.path));
        let tests = files.filter_map(|file| file.facts.as_ref()).map(|facts| facts.tests).sum();
        if tests > 0 {
            parts.push((part, tests));
        }
    }
    let all: usize = parts.iter().map(|(_, tests)| tests).sum();
    let each: Vec<String> = parts.iter().map(|(part, tests)| format!("{part} {tests}")).collect();
    format!("{all} ({})", each.join(", "))
}

fn lines_below(crates: &Crates<'_>, directory: &str) -> usize {
    crates.tree.rust().filter(|file| file.path.starts_with(directory)).map(super::tree::File::lines).sum()
}

const CRATES: [&str; 6] = ["proto", "controller", "agent", "manual", "tests", "xtask"];

const SHIPPED: [&str; 3] = ["proto/", "controller/", "agent/"];

/// Where the loop and its parts are, and were.
const LOOP: [&str; 9] =
    ["reconcile", "world", "reports", "signing", "revocation", "roots", "guests", "freeze", "rollback"];

#[cfg(test)]
mod tests {
    use super::{super::tree::Tree, *};

    #[test]
    fn a_small_checkout_has_its_figures() {
        let tree = Tree::with(&[
            ("controller/Cargo.toml", "[package]\nname = \"controller\"\n"),
            ("controller/src/lib.rs", "mod reconcile;"),
            (
                "controller/src/reconcile/mod.rs",
                "mod part;\npub struct Large { a: u8, b: u8 }\nimpl Large {}\nfn f() { part::P }\n#[cfg(test)]\nmod tests {\n    \
                 #[test]\n    fn one() {}\n}",
            ),
            ("controller/src/reconcile/part.rs", "pub struct P;\nimpl super::Large { fn f() { if spec.trust {} } }"),
        ]);
        let report = of(&Crates::of(&tree));
        for line in [
            "| fields of the largest struct | 2 (controller/src/reconcile/mod.rs Large) |",
            "| files with `impl` of one type | 2 (controller/src/reconcile/mod.rs Large) |",
            "| unit tests of the loop's parts | 1 (reconcile 1) |",
            "| branches on \"is it roots\" | 1 of a bool, 0 by the type |",
            "| circles of files | 1 with 2 files, the largest of 2 |",
            "| files under 60 lines | 3 |",
            "| lines in all | 12 |",
        ] {
            assert!(report.contains(line), "{line}\n{report}");
        }
    }
}
