//! What is known changes in the world's own methods: nobody else is handed it to change.
//!
//! A part of the loop takes `&World`, and says by effects what is to be done; the loop and the files that exceptions name
//! perform them.

use super::{Crates, Finding};

pub(super) fn check(crates: &Crates<'_>) -> Vec<Finding> {
    let takes = |module: &usize| crates.scope(*module).code.borrowed_mutably.contains("World");
    let mut files: Vec<&str> = crates.product().filter(takes).map(|module| crates.file(module).path.as_str()).collect();
    files.retain(|file| !OWN.iter().any(|own| file.starts_with(own)));
    files.dedup();
    let why = "takes `&mut World`: take `&World`, and say by effects what is to change";
    files.into_iter().map(|file| Finding::new(file, 1, why)).collect()
}

/// Where the world's own methods are.
const OWN: [&str; 1] = ["controller/src/world/"];

#[cfg(test)]
mod tests {
    use super::{
        super::{MANIFEST, found},
        *,
    };

    #[test]
    fn who_changes_the_world_is_found() {
        let good = [
            MANIFEST,
            ("a/src/lib.rs", "fn f(world: &World) {}\n#[cfg(test)]\nmod tests { fn f(world: &mut World) {} }"),
        ];
        assert!(found(check, &good).is_empty());
        let bad = [MANIFEST, ("a/src/lib.rs", "fn f(world: &mut crate::World) {}")];
        assert_eq!(found(check, &bad).len(), 1);
    }
}
