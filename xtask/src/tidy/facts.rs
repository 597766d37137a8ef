//! What a Rust file has, as far as the rules ask.
//!
//! Answers: which modules, items, imports and `impl`s are there, and which words does the code use? Invariant: plain data,
//! without syn's types, so that it goes from thread to thread and the rules need no parser.

use quote::ToTokens as _;
use syn::{Attribute, Fields, Item, Meta, Type, UseTree, Visibility};

use super::tokens::{Code, says_test};

/// A file's modules: itself, then what is written as `mod name { … }` in it.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// Not empty.
    pub(super) scopes: Vec<Scope>,
    /// Functions that a test program runs, wherever in the file.
    pub(super) tests: usize,
}

/// A module, as far as it is in one file.
#[derive(Debug, Default)]
pub(super) struct Scope {
    /// The scope that it is written in; the file itself has none.
    pub(super) inside: Option<usize>,
    pub(super) name: String,
    /// Compiled for tests alone.
    pub(super) is_test: bool,
    /// `mod name;`
    pub(super) children: Vec<Child>,
    /// What is defined here.
    pub(super) names: Vec<String>,
    pub(super) imports: Vec<Import>,
    /// Structs, and how many fields they have.
    pub(super) structs: Vec<(String, usize)>,
    /// What each `impl` is of, as it is written there.
    pub(super) impls: Vec<Vec<String>>,
    /// All of its code but the imports.
    pub(super) code: Code,
}

/// `mod name;`
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Child {
    pub(super) name: String,
    /// `#[path = "…"]`
    pub(super) path: Option<String>,
    pub(super) is_test: bool,
}

/// One name that a `use` brings in, or all of a module's.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Import {
    pub(super) path: Vec<String>,
    /// What it is called here; `*` for all.
    pub(super) name: String,
    /// Others may take it from here.
    pub(super) is_public: bool,
}

impl Facts {
    /// Reads a file.
    pub(super) fn of(text: &str) -> syn::Result<Self> {
        let file = syn::parse_file(text)?;
        let is_test = file.attrs.iter().any(is_for_tests);
        let tests = text.lines().filter(|line| TEST.iter().any(|test| line.trim_start().starts_with(test))).count();
        let mut facts = Self { scopes: vec![Scope { is_test, ..Scope::default() }], tests };
        facts.add(0, &file.items);
        Ok(facts)
    }

    fn add(&mut self, scope: usize, items: &[Item]) {
        for item in items {
            if let Item::Mod(module) = item {
                let name = module.ident.to_string();
                let is_test = self.scopes[scope].is_test || module.attrs.iter().any(is_for_tests);
                match &module.content {
                    None => self.scopes[scope].children.push(Child { name, path: path(&module.attrs), is_test }),
                    Some((_, items)) => {
                        self.scopes.push(Scope { inside: Some(scope), name, is_test, ..Scope::default() });
                        self.add(self.scopes.len() - 1, items);
                    }
                }
            } else if !attributes(item).iter().any(is_for_tests) {
                self.scopes[scope].add(item);
            }
        }
    }
}

impl Scope {
    /// Of a file that is not Rust.
    pub(super) const NOTHING: Self = Self {
        inside: None,
        name: String::new(),
        is_test: false,
        children: Vec::new(),
        names: Vec::new(),
        imports: Vec::new(),
        structs: Vec::new(),
        impls: Vec::new(),
        code: Code::NOTHING,
    };

    fn add(&mut self, item: &Item) {
        match item {
            Item::Use(found) => {
                let is_public = !matches!(found.vis, Visibility::Inherited);
                return self.import(&found.tree, &[], is_public);
            }
            Item::Impl(found) => self.impls.extend(type_path(&found.self_ty)),
            Item::Struct(found) => {
                if let Fields::Named(fields) = &found.fields {
                    self.structs.push((found.ident.to_string(), fields.named.len()));
                }
                self.names.push(found.ident.to_string());
            }
            Item::Const(found) => self.names.push(found.ident.to_string()),
            Item::Enum(found) => self.names.push(found.ident.to_string()),
            Item::Fn(found) => self.names.push(found.sig.ident.to_string()),
            Item::Static(found) => self.names.push(found.ident.to_string()),
            Item::Trait(found) => self.names.push(found.ident.to_string()),
            Item::Type(found) => self.names.push(found.ident.to_string()),
            Item::Union(found) => self.names.push(found.ident.to_string()),
            _ => {}
        }
        self.code.add(item.to_token_stream());
    }

    fn import(&mut self, tree: &UseTree, before: &[String], is_public: bool) {
        let and = |name: String| before.iter().cloned().chain([name]).collect::<Vec<_>>();
        match tree {
            UseTree::Path(path) => self.import(&path.tree, &and(path.ident.to_string()), is_public),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.import(tree, before, is_public)),
            UseTree::Glob(_) => {
                self.imports.push(Import { path: before.to_owned(), name: "*".to_owned(), is_public });
            }
            UseTree::Name(name) if name.ident == "self" => {
                let Some(name) = before.last().cloned() else { return };
                self.imports.push(Import { path: before.to_owned(), name, is_public });
            }
            UseTree::Name(name) => {
                let name = name.ident.to_string();
                self.imports.push(Import { path: and(name.clone()), name, is_public });
            }
            UseTree::Rename(rename) => {
                let path = if rename.ident == "self" { before.to_owned() } else { and(rename.ident.to_string()) };
                self.imports.push(Import { path, name: rename.rename.to_string(), is_public });
            }
        }
    }
}

/// `a::B` of `a::B<'_, T>`; nothing for tuples, references and what else has no name.
fn type_path(of: &Type) -> Option<Vec<String>> {
    match of {
        Type::Path(path) => Some(path.path.segments.iter().map(|segment| segment.ident.to_string()).collect()),
        Type::Reference(reference) => type_path(&reference.elem),
        _ => None,
    }
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// `#[cfg(test)]`, and `#[cfg(any(test, …))]`.
fn is_for_tests(attribute: &Attribute) -> bool {
    let Meta::List(list) = &attribute.meta else { return false };
    list.path.is_ident("cfg") && says_test(list.tokens.clone())
}

/// `#[path = "…"]`
fn path(attributes: &[Attribute]) -> Option<String> {
    attributes.iter().find_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
            syn::Expr::Lit(literal) => match &literal.lit {
                syn::Lit::Str(text) => Some(text.value()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    })
}

/// How a test begins.
const TEST: [&str; 2] = ["#[test]", "#[tokio::test"];

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(text: &str) -> Facts {
        Facts::of(text).expect("Rust")
    }

    #[test]
    fn modules_imports_and_items_are_found() {
        let facts = facts(
            "mod a;\n#[path = \"../gen/b.rs\"]\nmod b;\n#[cfg(test)]\nmod tests;\npub use a::{self, Thing as Other};\n\
             use super::*;\nstruct Pair { one: u8, two: u8 }\nimpl<T> From<T> for a::Thing<T> {}\nmod inner { fn f() {} }",
        );
        let scope = &facts.scopes[0];
        let children: Vec<_> = scope.children.iter().map(|c| (c.name.as_str(), c.path.as_deref(), c.is_test)).collect();
        assert_eq!(children, [("a", None, false), ("b", Some("../gen/b.rs"), false), ("tests", None, true)]);
        let imports: Vec<_> = scope.imports.iter().map(|i| (i.path.join("::"), i.name.as_str(), i.is_public)).collect();
        assert_eq!(
            imports,
            [("a".to_owned(), "a", true), ("a::Thing".to_owned(), "Other", true), ("super".to_owned(), "*", false)]
        );
        assert_eq!(scope.structs, [("Pair".to_owned(), 2)]);
        assert_eq!(scope.impls, [["a", "Thing"]]);
        assert_eq!((facts.scopes[1].name.as_str(), facts.scopes[1].inside), ("inner", Some(0)));
        assert_eq!(facts.scopes[1].names, ["f"]);
    }

    #[test]
    fn what_is_for_tests_is_no_product_code() {
        let facts = facts(
            "#[cfg(test)]\nfn helper() {}\n#[cfg(not(test))]\nfn real() {}\n#[cfg(test)]\nmod tests {\n    #[test]\n    \
             fn one() {}\n    #[tokio::test(start_paused = true)]\n    async fn two() {}\n}",
        );
        assert_eq!(facts.scopes[0].names, ["real"]);
        assert!(facts.scopes[1].is_test);
        assert_eq!(facts.tests, 2);
    }
}
