//! Generated code is used in proto's `wire` alone: everybody else has checked types.
//!
//! The tests' harness and suites may use it too: what they send is wrong on purpose.

use super::{Crates, Finding};
use crate::tidy::crates::Found;

pub(super) fn check(crates: &Crates<'_>) -> Vec<Finding> {
    let mut files = Vec::new();
    for module in crates.product() {
        let file = crates.file(module);
        if file.path.starts_with("proto/src/wire/") || file.path.starts_with("tests/") {
            continue;
        }
        let scope = crates.scope(module);
        let paths = scope.imports.iter().map(|import| &import.path).chain(&scope.code.paths);
        let mut resolved = paths.filter_map(|path| crates.resolve(module, path));
        let is_generated = |found: Found| match found {
            Found::Module(module) | Found::Item(module, _) => crates.file(module).is_generated(),
        };
        if resolved.any(is_generated) {
            files.push(file.path.as_str());
        }
    }
    files.dedup();
    let why = "uses generated code: let proto's `wire` make checked types of it";
    files.into_iter().map(|file| Finding::new(file, 1, why)).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::found, *};

    #[test]
    fn who_uses_generated_code_is_found() {
        let files = |user: &'static str| {
            [
                ("proto/Cargo.toml", "[package]\nname = \"pinion-proto\"\n"),
                ("proto/src/lib.rs", "pub mod wire;\npub struct Checked;"),
                ("proto/src/wire/mod.rs", "#[path = \"../gen/x.rs\"]\npub mod pb;\nuse pb::Raw;"),
                ("proto/src/gen/x.rs", "pub struct Raw;"),
                ("a/Cargo.toml", "[package]\nname = \"a\"\n"),
                ("a/src/lib.rs", user),
            ]
        };
        assert!(found(check, &files("use pinion_proto::Checked;")).is_empty());
        for user in ["use pinion_proto::wire::pb;", "use pinion_proto::wire;\nfn f(raw: wire::pb::Raw) {}"] {
            let found = found(check, &files(user));
            assert!(found.len() == 1 && found[0].starts_with("a/src/lib.rs: uses generated code"), "{found:?}");
        }
    }
}
