//! No circle of files: of two files, one can be understood without the other.
//!
//! A circle is known by the folders that its files are in.

use std::collections::BTreeMap;

use super::{Crates, Finding};
use crate::tidy::circles::{circles, needs};

pub(super) fn check(crates: &Crates<'_>) -> Vec<Finding> {
    let mut by_folders: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for files in circles(crates) {
        let mut folders: Vec<&str> = files.iter().map(|file| folder(file)).collect();
        folders.sort_unstable();
        folders.dedup();
        by_folders.entry(folders.join(" + ")).or_default().extend(files);
    }
    let needs = needs(crates);
    let finding = |(folders, files): (String, Vec<String>)| {
        let is_inside = |file: &str| files.iter().any(|inside| inside == file);
        let across =
            needs.iter().filter(|(user, used)| folder(user) != folder(used) && is_inside(user) && is_inside(used));
        let across: String = across.map(|(user, used)| format!("; {user} needs {used}")).collect();
        let why = format!("{} files need each other in a circle: {}{across}", files.len(), files.join(", "));
        Finding::new(folders, files.len(), why)
    };
    by_folders.into_iter().map(finding).collect()
}

fn folder(file: &str) -> &str {
    file.rsplit_once('/').map_or("", |(folder, _)| folder)
}

#[cfg(test)]
mod tests {
    use super::{
        super::{MANIFEST, found},
        *,
    };

    #[test]
    fn files_that_need_each_other_are_found() {
        let files = |c: &'static str| {
            [
                MANIFEST,
                ("a/src/lib.rs", "mod b;\nmod c;\nmod d;\npub use b::B;"),
                ("a/src/b.rs", "use super::c::C;\npub struct B;"),
                ("a/src/c/mod.rs", c),
                ("a/src/d.rs", "pub fn d() {}"),
            ]
        };
        // What is re-exported is known by where it is defined, so the root is in no circle.
        let good = "pub struct C;\n#[cfg(test)]\nmod tests { use crate::B; }\nfn f() { crate::d::d() }";
        assert!(found(check, &files(good)).is_empty());
        let found = found(check, &files("pub struct C;\nfn f() { g!(crate::B::new()) }"));
        assert_eq!(
            found,
            ["a/src + a/src/c: 2 files need each other in a circle: a/src/b.rs, a/src/c/mod.rs; a/src/b.rs needs \
              a/src/c/mod.rs; a/src/c/mod.rs needs a/src/b.rs"]
        );
    }
}
