//! Every crate inherits the workspace's lints, `unsafe_code` among them.

use super::{Crates, Finding};

pub(super) fn check(crates: &Crates<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for file in crates.tree.files.iter().filter(|file| file.path.ends_with("Cargo.toml")) {
        let lines: Vec<&str> = file.text.lines().map(str::trim).collect();
        if lines.contains(&"[package]") && !lines.windows(2).any(|pair| pair == ["[lints]", "workspace = true"]) {
            found.push(Finding::new(
                file.path.as_str(),
                1,
                "does not inherit the workspace's lints: add `[lints]` and `workspace = true`",
            ));
        }
        if lines.contains(&"[workspace]") && !lines.contains(&"unsafe_code = \"forbid\"") {
            found.push(Finding::new(
                file.path.as_str(),
                1,
                "does not forbid unsafe code: add `unsafe_code = \"forbid\"` to its lints",
            ));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{
        super::{MANIFEST, found},
        *,
    };

    #[test]
    fn a_crate_without_the_lints_is_found() {
        let whole = ("Cargo.toml", "[workspace]\n[workspace.lints.rust]\nunsafe_code = \"forbid\"\n");
        assert!(found(check, &[whole, MANIFEST]).is_empty());
        let found = found(check, &[("Cargo.toml", "[workspace]\n"), ("b/Cargo.toml", "[package]\nname = \"b\"\n")]);
        assert_eq!(found.len(), 2);
        assert!(found[1].starts_with("b/Cargo.toml: does not inherit"), "{found:?}");
    }
}
