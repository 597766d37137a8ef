//! Each test that docs/threat-model.md names is there.
//!
//! A test is named `suite::file::name`, or with its folders from a crate's `src` on.

use std::{
    fs,
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).to_owned()
}

/// Whether there is a function of this name in the file that the segments before it name.
fn exists(name: &str) -> bool {
    let Some((file, function)) = name.rsplit_once("::") else { return false };
    let path = file.replace("::", "/");
    let inner = path.split_once('/').map(|(crate_, rest)| format!("{crate_}/src/{rest}.rs")).unwrap_or_default();
    let candidates = [format!("tests/tests/{path}.rs"), inner];
    let text = candidates.iter().find_map(|candidate| fs::read_to_string(root().join(candidate)).ok());
    text.is_some_and(|text| text.contains(&format!("fn {function}(")))
}

/// Every `a::b::c` between backticks.
fn named(text: &str) -> Vec<&str> {
    let code = text.split('`').skip(1).step_by(2);
    let is_name = |word: &&str| {
        word.matches("::").count() >= 2 && word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | ':'))
    };
    code.filter(is_name).collect()
}

#[test]
fn every_test_that_the_threat_model_names_is_there() {
    let text = fs::read_to_string(root().join("docs/threat-model.md")).expect("the document");
    let named = named(&text);
    let missing: Vec<_> = named.iter().filter(|name| !exists(name)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(named.len() > 40, "only {} tests are named", named.len());
}

#[test]
fn a_test_that_is_not_there_is_noticed() {
    assert!(exists("documents::named_tests::a_test_that_is_not_there_is_noticed"));
    assert!(exists("controller::channel::identity::tests::no_caller_makes_or_chooses_a_root"));
    assert!(!exists("documents::named_tests::nothing") && !exists("documents::nothing::nothing"));
}
