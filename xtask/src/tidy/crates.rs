//! The crates' modules, and where each name comes from.
//!
//! Answers: in which file is what `super::a::Thing` means? Invariant: a re-export is followed to where the thing is
//! defined. Names that macros define are not found; nothing is guessed about them.

use std::collections::BTreeMap;

use super::{
    facts::{Import, Scope},
    tree::{File, Tree},
};

/// All crates of a checkout.
#[derive(Debug)]
pub(super) struct Crates<'t> {
    pub(super) tree: &'t Tree,
    pub(super) modules: Vec<Module>,
    /// `pinion_proto`, and its root.
    libraries: BTreeMap<String, usize>,
}

/// A module of a crate.
#[derive(Debug)]
pub(super) struct Module {
    /// Which of the tree's files.
    pub(super) file: usize,
    /// Which of the file's scopes.
    scope: usize,
    parent: Option<usize>,
    children: BTreeMap<String, usize>,
    /// Compiled for tests alone.
    pub(super) is_test: bool,
}

/// What a path means.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Found {
    Module(usize),
    /// A type, a function or a constant, by the module that defines it.
    Item(usize, String),
}

impl<'t> Crates<'t> {
    pub(super) fn of(tree: &'t Tree) -> Self {
        let mut crates = Self { tree, modules: Vec::new(), libraries: BTreeMap::new() };
        for manifest in tree.files.iter().filter(|file| file.path.ends_with("/Cargo.toml")) {
            let Some(name) = package(&manifest.text) else { continue };
            let directory = manifest.path.trim_end_matches("Cargo.toml");
            for (index, file) in tree.files.iter().enumerate() {
                let Some(root) = file.path.strip_prefix(directory).and_then(Root::of) else { continue };
                let module = crates.add(index, 0, None, matches!(root, Root::Tests));
                if matches!(root, Root::Library) {
                    crates.libraries.insert(name.replace('-', "_"), module);
                }
            }
        }
        crates
    }

    pub(super) fn file(&self, module: usize) -> &'t File {
        &self.tree.files[self.modules[module].file]
    }

    /// What a module's file says about it.
    pub(super) fn scope(&self, module: usize) -> &'t Scope {
        static NOTHING: Scope = Scope::NOTHING;
        let Module { scope, .. } = self.modules[module];
        self.file(module).facts.as_ref().and_then(|facts| facts.scopes.get(scope)).unwrap_or(&NOTHING)
    }

    /// Modules of what is shipped and of the tests' harness, generated ones not among them.
    pub(super) fn product(&self) -> impl Iterator<Item = usize> {
        (0..self.modules.len()).filter(|module| !self.modules[*module].is_test && !self.file(*module).is_generated())
    }

    /// What a path that is written in a module means, if it is something of the project's.
    pub(super) fn resolve(&self, from: usize, path: &[String]) -> Option<Found> {
        self.resolve_within(from, path, 0)
    }

    fn resolve_within(&self, from: usize, path: &[String], depth: usize) -> Option<Found> {
        let (first, mut rest) = path.split_first()?;
        let mut found = match first.as_str() {
            "crate" => Found::Module(self.root(from)),
            "self" => Found::Module(from),
            "super" => Found::Module(self.modules[from].parent?),
            name => {
                self.member(from, name, depth).or_else(|| self.libraries.get(name).map(|root| Found::Module(*root)))?
            }
        };
        while let (Found::Module(module), Some((name, after))) = (&found, rest.split_first()) {
            found = match name.as_str() {
                "super" => Found::Module(self.modules[*module].parent?),
                name => self.member(*module, name, depth)?,
            };
            rest = after;
        }
        Some(found)
    }

    /// What a name means in a module.
    fn member(&self, module: usize, name: &str, depth: usize) -> Option<Found> {
        // A `use` may lead to itself: `use serde;`.
        if depth > DEEPEST {
            return None;
        }
        if let Some(child) = self.modules[module].children.get(name) {
            return Some(Found::Module(*child));
        }
        let scope = self.scope(module);
        if scope.names.iter().any(|defined| defined == name) {
            return Some(Found::Item(module, name.to_owned()));
        }
        let follow = |import: &Import| self.resolve_within(module, &import.path, depth + 1);
        if let Some(import) = scope.imports.iter().find(|import| import.name == name) {
            return follow(import);
        }
        scope.imports.iter().filter(|import| import.name == "*").find_map(|import| match follow(import)? {
            Found::Module(all) if all != module => self.member(all, name, depth + 1),
            _ => None,
        })
    }

    fn root(&self, mut module: usize) -> usize {
        while let Some(parent) = self.modules[module].parent {
            module = parent;
        }
        module
    }

    /// Adds a module and all below it; its number.
    fn add(&mut self, file: usize, scope: usize, parent: Option<usize>, is_test: bool) -> usize {
        let tree = self.tree;
        let this = self.modules.len();
        self.modules.push(Module { file, scope, parent, children: BTreeMap::new(), is_test });
        let Some(facts) = &tree.files[file].facts else { return this };
        let is_test = is_test || facts.scopes[scope].is_test;
        self.modules[this].is_test = is_test;
        for (index, inner) in facts.scopes.iter().enumerate().filter(|(_, inner)| inner.inside == Some(scope)) {
            let child = self.add(file, index, Some(this), is_test);
            self.modules[this].children.insert(inner.name.clone(), child);
        }
        for child in &facts.scopes[scope].children {
            let below = below(tree, file, scope, parent.is_none());
            let candidates = match &child.path {
                Some(path) => vec![within(directory(&tree.files[file].path), path)],
                None => vec![format!("{below}{}.rs", child.name), format!("{below}{}/mod.rs", child.name)],
            };
            let is_there = |path: &String| tree.files.iter().position(|file| file.path == *path);
            if let Some(file) = candidates.iter().find_map(is_there) {
                let module = self.add(file, 0, Some(this), is_test || child.is_test);
                self.modules[this].children.insert(child.name.clone(), module);
            }
        }
        this
    }
}

/// What cargo builds a crate from (The Cargo Book, Package Layout).
enum Root {
    Library,
    Program,
    Tests,
}

impl Root {
    fn of(path: &str) -> Option<Self> {
        let alone = |rest: &str| !rest.contains('/') || rest.split_once('/').is_some_and(|(_, file)| file == "main.rs");
        match path {
            "src/lib.rs" => Some(Self::Library),
            "src/main.rs" => Some(Self::Program),
            path if !path.ends_with(".rs") => None,
            path => match (path.strip_prefix("src/bin/"), path.strip_prefix("tests/")) {
                (Some(rest), _) => alone(rest).then_some(Self::Program),
                (_, Some(rest)) => alone(rest).then_some(Self::Tests),
                _ => None,
            },
        }
    }
}

/// `pinion-proto` of `name = "pinion-proto"`, the first line of its kind.
fn package(manifest: &str) -> Option<&str> {
    let (_, after) = manifest.split_once("[package]")?;
    after.lines().find_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'))
}

/// Where the modules of a scope have their files, with a `/` at its end.
fn below(tree: &Tree, file: usize, scope: usize, is_root: bool) -> String {
    let path = &tree.files[file].path;
    let name = path.rsplit('/').next().unwrap_or(path);
    let mut below = if is_root || name == "mod.rs" {
        directory(path).to_owned()
    } else {
        format!("{}/", path.trim_end_matches(".rs"))
    };
    let mut names = Vec::new();
    let mut inner = scope;
    while let Some(scope) = tree.files[file].facts.as_ref().and_then(|facts| facts.scopes.get(inner))
        && let Some(outer) = scope.inside
    {
        names.push(scope.name.as_str());
        inner = outer;
    }
    names.iter().rev().for_each(|name| below.extend([*name, "/"]));
    below
}

/// `a/b/` of `a/b/c.rs`.
fn directory(path: &str) -> &str {
    &path[..path.rfind('/').map_or(0, |at| at + 1)]
}

/// `a/gen/x.rs` of `a/wire/` and `../gen/x.rs`.
fn within(directory: &str, path: &str) -> String {
    let mut parts: Vec<&str> = directory.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        if part == ".." {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    parts.join("/")
}

/// A re-export of a re-export of …; none is near that.
const DEEPEST: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: (&str, &str) = ("a/Cargo.toml", "[package]\nname = \"pinion-a\"\n");

    fn found(tree: &Tree, from: &str, path: &str) -> Option<String> {
        let crates = Crates::of(tree);
        let module = (0..crates.modules.len()).find(|module| crates.file(*module).path == from).expect("the module");
        let path: Vec<String> = path.split("::").map(str::to_owned).collect();
        crates.resolve(module, &path).map(|found| match found {
            Found::Module(module) => format!("module {}", crates.file(module).path),
            Found::Item(module, name) => format!("{name} in {}", crates.file(module).path),
        })
    }

    #[test]
    fn a_name_is_followed_to_where_it_is_defined() {
        let tree = Tree::with(&[
            MANIFEST,
            ("a/src/lib.rs", "pub mod b;\nmod c;\npub use b::inner::Deep;"),
            ("a/src/b/mod.rs", "pub mod inner;\npub use inner::*;\n#[path = \"../../gen/x.rs\"]\npub mod pb;"),
            ("a/src/b/inner.rs", "pub struct Deep;\nmod own { pub struct Own; }"),
            ("a/src/c.rs", "use crate::Deep as D;\nuse serde;"),
            ("a/gen/x.rs", "pub struct X;"),
            ("d/Cargo.toml", "[package]\nname = \"d\"\n"),
            ("d/src/main.rs", "use pinion_a::b;"),
        ]);
        let deep = Some("Deep in a/src/b/inner.rs".to_owned());
        assert_eq!(found(&tree, "a/src/c.rs", "D"), deep);
        assert_eq!(found(&tree, "a/src/c.rs", "super::b::Deep::new"), deep);
        assert_eq!(found(&tree, "d/src/main.rs", "b::Deep"), deep);
        assert_eq!(found(&tree, "d/src/main.rs", "pinion_a::b::pb::X"), Some("X in a/gen/x.rs".to_owned()));
        assert_eq!(found(&tree, "a/src/b/inner.rs", "own::Own"), Some("Own in a/src/b/inner.rs".to_owned()));
        assert_eq!(found(&tree, "a/src/b/inner.rs", "super::super::b"), Some("module a/src/b/mod.rs".to_owned()));
        assert_eq!(found(&tree, "a/src/c.rs", "serde::Serialize"), None);
        assert_eq!(found(&tree, "a/src/c.rs", "std::fs"), None);
    }

    #[test]
    fn tests_are_no_product() {
        let tree = Tree::with(&[
            MANIFEST,
            ("a/src/lib.rs", "#[cfg(test)]\nmod tests;\nmod b { #[cfg(test)] mod tests { fn f() {} } }"),
            ("a/src/tests.rs", "mod more;"),
            ("a/src/tests/more.rs", ""),
            ("a/src/bin/tool/main.rs", "mod part;"),
            ("a/src/bin/tool/part.rs", ""),
            ("a/tests/suite/main.rs", "mod case;"),
            ("a/tests/suite/case.rs", ""),
        ]);
        let crates = Crates::of(&tree);
        let product: Vec<&str> = crates.product().map(|module| crates.file(module).path.as_str()).collect();
        // The module `b` is in the first.
        assert_eq!(product, ["a/src/bin/tool/main.rs", "a/src/bin/tool/part.rs", "a/src/lib.rs", "a/src/lib.rs"]);
        assert_eq!(crates.modules.len(), 9);
    }
}
