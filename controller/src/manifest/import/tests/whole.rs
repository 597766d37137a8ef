//! Whole files: the example that is shipped, and what comes out of it each time.

use std::{fs, path::Path};

use super::{super::import, mistakes};
use crate::manifest::Manifest;

fn example() -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/phoenix/certificate-manifest.json"))
        .expect("it is there")
}

#[test]
fn the_example_becomes_a_manifest_the_same_each_time() {
    let import = || import(&example(), "step-ca".parse().expect("a name")).expect("it is imported");
    let (first, second) = (import(), import());
    assert_eq!(first.manifest, second.manifest);
    assert_eq!(first.report.to_string(), second.report.to_string());
    assert_eq!(
        serde_json::to_string(&first.report).expect("JSON"),
        serde_json::to_string(&second.report).expect("JSON")
    );
    let manifest = Manifest::parse(first.manifest.as_bytes()).expect("it is a manifest");
    assert_eq!((manifest.certificates.len(), manifest.placement_count()), (9, 10));
    assert_eq!(first.report.entries.len(), 10);
    assert!(first.report.entries.iter().all(|entry| !entry.became.is_empty() && !entry.why.is_empty()));
}

#[test]
fn an_empty_list_is_an_empty_manifest() {
    let imported = import(b"[]", "step-ca".parse().expect("a name")).expect("it is imported");
    assert_eq!(imported.report.to_string(), "0 entries became 0 certificates in 0 places; 0 things to look at");
}

#[test]
fn what_is_no_old_manifest_is_refused() {
    for (bytes, words) in [
        (&b"{\"version\": 1, \"certificates\": []}"[..], "a manifest of Pinion's already"),
        (b"{\"certificates\": []}", "the old manifest is a list"),
        (b"\"x\"", "expected a list of entries, found text"),
        (b"[", "ends too early"),
        (b"[}", "not JSON"),
        (b"", "empty"),
        (b"\xff\xfe[", "UTF-16"),
        (b"[\"\xff\"]", "not UTF-8"),
    ] {
        let found = mistakes(bytes);
        assert!(found.contains(words), "{words}: {found}");
    }
    let found = mistakes(&vec![b' '; super::super::MAX_BYTES + 1]);
    assert!(found.contains("more than"), "{found}");
    let found = mistakes(format!("[{}{{}}]", "{},".repeat(2_000)).as_bytes());
    assert!(found.contains("2001 entries are more than"), "{found}");
}
