//! A type's `impl` blocks are in two files at most, so that who reads the type knows what it does.
//!
//! Traits' `impl`s count too.

use std::collections::{BTreeMap, BTreeSet};

use super::{Crates, Finding};
use crate::tidy::crates::Found;

const MAX_FILES: usize = 2;

pub(super) fn check(crates: &Crates<'_>) -> Vec<Finding> {
    let many = implemented(crates).into_iter().filter(|(_, files)| files.len() > MAX_FILES);
    many.map(|(subject, files)| {
        let why = format!("has `impl` blocks in {} files, of at most {MAX_FILES}: {}", files.len(), listed(&files));
        Finding::new(subject, files.len(), why)
    })
    .collect()
}

/// `file Type`, and the files with its `impl` blocks.
pub(in crate::tidy) fn implemented<'t>(crates: &Crates<'t>) -> BTreeMap<String, BTreeSet<&'t str>> {
    let mut all: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for module in crates.product() {
        for of in &crates.scope(module).impls {
            let Some(Found::Item(defining, name)) = crates.resolve(module, of) else { continue };
            let subject = format!("{} {name}", crates.file(defining).path);
            all.entry(subject).or_default().insert(&crates.file(module).path);
        }
    }
    all
}

fn listed(files: &BTreeSet<&str>) -> String {
    let names: Vec<&str> = files.iter().copied().collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::{
        super::{MANIFEST, found},
        *,
    };

    #[test]
    fn a_type_with_impls_in_three_files_is_found() {
        let two = [
            MANIFEST,
            ("a/src/lib.rs", "mod b;\nmod c;\npub struct Large;\nimpl Large {}\nimpl Drop for Large {}"),
            ("a/src/b.rs", "use super::Large;\nimpl Large {}"),
            ("a/src/c.rs", "struct Large;\nimpl Large {}\n#[cfg(test)]\nimpl super::Large {}"),
        ];
        assert!(found(check, &two).is_empty());
        let mut three = two;
        three[3].1 = "impl<'a> super::Large<'a> {}";
        assert_eq!(
            found(check, &three),
            ["a/src/lib.rs Large: has `impl` blocks in 3 files, of at most 2: a/src/b.rs, a/src/c.rs, a/src/lib.rs"]
        );
    }
}
