//! No file is longer than a person reads at once: a longer one has a second idea in it.

use super::{Crates, Finding};

/// Lines of a file.
pub(in crate::tidy) const MAX_LINES: usize = 400;

pub(super) fn check(crates: &Crates<'_>) -> Vec<Finding> {
    let long = crates.tree.rust().map(|file| (file, file.lines())).filter(|(_, lines)| *lines > MAX_LINES);
    long.map(|(file, lines)| {
        let why = format!("{lines} lines, of at most {MAX_LINES}: move the second idea in it to a file of its own");
        Finding::new(file.path.as_str(), lines, why)
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::{super::found, *};

    #[test]
    fn a_long_file_is_found_and_generated_code_may_be_long() {
        let (long, good) = ("//\n".repeat(401), "//\n".repeat(400));
        let files = [("a/src/lib.rs", long.as_str()), ("a/src/b.rs", &good), ("proto/src/gen/x.rs", &long)];
        let found = found(check, &files);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("a/src/lib.rs: 401 lines"), "{found:?}");
    }
}
