//! A manifest of several files: what they mean together, which files they are, and what is said of mistakes.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use pinion_proto::clock::SystemClock;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    manifest::{
        Document, Manifest, ManifestErrors,
        file::{ManifestFile, load},
        source::{FileError, Source},
        texts,
    },
    store::Store,
};

/// What documents called `0.json`, `1.json`, … mean together.
fn together(texts: &[&str]) -> Result<Manifest, ManifestErrors> {
    let files: Vec<_> = (0..texts.len()).map(|number| PathBuf::from(format!("{number}.json"))).collect();
    let documents: Vec<_> =
        files.iter().zip(texts).map(|(file, text)| Document { file: Some(file), bytes: text.as_bytes() }).collect();
    Manifest::parse_all(&documents, &BTreeSet::new())
}

fn mistakes(texts: &[&str]) -> Vec<String> {
    together(texts).expect_err("mistakes").to_string().lines().map(ToOwned::to_owned).collect()
}

fn certificate(name: &str) -> Value {
    json!({ "name": name, "common_name": format!("{name}.example"), "placements": [{ "guest": 101, "recipe": "nginx" }] })
}

fn document(names: &[&str]) -> String {
    let certificates: Vec<_> = names.iter().map(|name| certificate(name)).collect();
    json!({ "version": 1, "certificates": certificates }).to_string()
}

#[test]
fn the_defaults_of_one_file_are_those_of_all_and_the_order_is_that_of_the_files() {
    let defaults = r#"{"version": 1, "defaults": {"duration": "9d"}, "certificates": []}"#;
    let issuer = r#"{"version": 1, "defaults": {"issuer": "acme"}, "certificates": []}"#;
    let manifest = together(&[&document(&["b"]), defaults, &document(&["a", "c"]), issuer]).expect("good");
    let names: Vec<_> = manifest.certificates.iter().map(|certificate| certificate.name.as_str()).collect();
    assert_eq!(names, ["b", "a", "c"]);
    for certificate in &manifest.certificates {
        let policy = certificate.content.leaf().expect("a certificate");
        assert_eq!((policy.issuer.as_str(), policy.duration), ("acme", Duration::from_secs(9 * 86_400)));
    }
}

#[test]
fn a_mistake_has_its_own_file_and_what_is_there_twice_names_both() {
    let first = "{\"version\": 1,\n \"defaults\": {\"issuer\": \"acme\"},\n \"certificates\": [\n  \
                 {\"name\": \"web\", \"common_name\": \"a.example\", \"placements\": []}]}";
    let second = "{\"version\": 1, \"defaults\": {\"duration\": \"9d\",\n \"issuer\": \"acme\"}, \"certificates\": [\n\n  \
                  {\"name\": \"web\", \"common_name\": \"ä\", \"placements\": [{}]}]}";
    let broken = "{\"version\": 1,\n \"certificates\": [}";
    let found = mistakes(&[first, broken, second, "{\"version\": 2, \"certificates\": []}", "{}", ""]);
    for (line, expected) in found.iter().zip([
        "1.json:2:19 not JSON: ",
        "2.json:2:12 defaults.issuer: the default for issuer is already on line 2 of 0.json: keep one",
        "2.json:4:12 certificates[0].name: `web` is already the name of the certificate on line 4 of 0.json: rename one",
        "2.json:4:34 certificates[0].common_name: ",
        "2.json:4:54 certificates[0].placements[0]: ",
        "2.json:4:54 certificates[0].placements[0]: ",
        "3.json:1:13 version: version 2 is newer",
        "4.json:1:1 the field \"version\" is missing",
        "4.json:1:1 the field \"certificates\" is missing",
        "5.json:1:1 the manifest is empty",
    ]) {
        assert!(line.starts_with(expected), "{line}\nis not {expected}\nin {found:#?}");
    }
    assert_eq!(found.len(), 10, "{found:#?}");
}

#[test]
fn all_files_together_have_the_size_of_one() {
    let half = format!("{}{}", " ".repeat(9 * 1024 * 1024), document(&[]));
    together(&[&half]).expect("good");
    let found = mistakes(&[&half, &half, &half]);
    assert!(matches!(found.as_slice(), [one] if one.starts_with("1.json:1:1 the manifest has 188")), "{found:?}");
}

/// A manifest as JSON values: defaults, certificates.
fn any_manifest() -> impl Strategy<Value = (Value, Vec<Value>)> {
    let defaults = prop_oneof![
        Just(json!({})),
        Just(json!({ "issuer": "acme" })),
        Just(json!({ "duration": "9d" })),
        Just(json!({ "duration": "9d", "issuer": "acme" })),
    ];
    let certificates = prop::collection::btree_map("[a-z]{1,4}", (1_u32..=4, any::<bool>()), 0..6).prop_map(|all| {
        let one = |(name, (guests, shared)): (String, (u32, bool))| {
            let mut certificate = certificate(&name);
            let placements = (0..guests).map(|guest| json!({ "guest": 100 + guest, "recipe": "nginx" }));
            certificate["placements"] = placements.collect();
            certificate["shared"] = shared.into();
            certificate
        };
        all.into_iter().map(one).collect()
    });
    (defaults, certificates)
}

proptest! {
    #[test]
    fn a_manifest_over_several_files_is_the_same_manifest(
        (defaults, certificates) in any_manifest(),
        cuts in prop::collection::vec(0_usize..6, 0..4),
        with_defaults in prop::collection::vec(0_usize..5, 2),
        pretty in any::<bool>(),
    ) {
        let written = |value: &Value| if pretty { format!("{value:#}\n") } else { value.to_string() };
        let whole = json!({ "version": 1, "defaults": defaults, "certificates": certificates });
        let expected = Manifest::parse(written(&whole).as_bytes()).expect("good");
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(certificates.len())).collect();
        cuts.sort_unstable();
        let ends: Vec<_> = cuts.iter().copied().chain([certificates.len()]).collect();
        let starts = [0].into_iter().chain(cuts);
        let mut parts: Vec<_> =
            starts.zip(ends).map(|(start, end)| json!({ "version": 1, "certificates": certificates[start..end] })).collect();
        for ((field, value), part) in defaults.as_object().expect("an object").iter().zip(with_defaults) {
            let part = part % parts.len();
            parts[part]["defaults"][field] = value.clone();
        }
        let texts: Vec<_> = parts.iter().map(written).collect();
        let texts: Vec<_> = texts.iter().map(String::as_str).collect();
        prop_assert_eq!(&together(&texts).expect("good"), &expected);
        let documents: Vec<_> = texts.iter().map(|text| Document { file: None, bytes: text.as_bytes() }).collect();
        let one = texts::as_one(&documents).expect("one text");
        prop_assert_eq!(&Manifest::parse(one.as_bytes()).expect("good"), &expected, "{}", one);
    }
}

/// A directory of manifests: `manifest.json` and `manifest.d/`.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        let files = Self(tempfile::tempdir().expect("a directory"));
        fs::create_dir(files.path("manifest.d")).expect("made");
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("written");
    }

    fn loaded(&self) -> Result<Vec<String>, FileError> {
        let manifest = load(&self.path("manifest.json"))?.manifest;
        Ok(manifest.certificates.iter().map(|certificate| certificate.name.to_string()).collect())
    }

    fn open(&self) -> ManifestFile {
        let store = Store::open(&self.path("local"), &self.path("shared")).expect("a store");
        ManifestFile::open(&self.path("manifest.json"), Arc::new(store), Arc::new(SystemClock), BTreeSet::new())
            .expect("opened")
    }
}

#[test]
fn files_are_read_in_the_order_of_their_names_and_leftovers_are_not() {
    let files = Files::new();
    assert!(files.loaded().expect_err("nothing is there").is_absent());
    files.write("manifest.d/20-b.json", &document(&["b"]));
    files.write("manifest.d/10-c.json", &document(&["c"]));
    assert_eq!(files.loaded().expect("without a main file"), ["c", "b"]);
    files.write("manifest.json", &document(&["main"]));
    for leftover in [".x.json", "x.json~", "x.json.tmp", "x.json.swp", "#x.json#", "x.JSON.bak", "x"] {
        files.write(&format!("manifest.d/{leftover}"), "{");
    }
    fs::create_dir(files.path("manifest.d/directory.json")).expect("made");
    assert_eq!(files.loaded().expect("good"), ["main", "c", "b"]);
    assert_eq!(load(&files.path("manifest.d")).expect("a directory by itself").manifest.certificates.len(), 2);

    symlink("/nowhere", files.path("manifest.d/30.json")).expect("linked");
    let error = files.loaded().expect_err("a link that leads nowhere");
    assert!(matches!(&error, FileError::Read { path, .. } if path.ends_with("30.json")), "{error}");
    fs::remove_file(files.path("manifest.d/30.json")).expect("removed");
    for number in 0..1_000 {
        files.write(&format!("manifest.d/{number}.json"), &document(&[]));
    }
    let error = files.loaded().expect_err("too many");
    assert!(matches!(&error, FileError::TooMany { path } if path.ends_with("manifest.d")), "{error}");
}

#[test]
fn the_directory_has_the_name_of_the_file() {
    for (file, directory) in
        [("/a/x.json", "/a/x.d"), ("/a/x", "/a/x.d"), ("/a/x.y", "/a/x.y.d"), ("/a/x.d", "/a/x.d.d")]
    {
        assert_eq!(Source::of(Path::new(file)).directory(), Path::new(directory));
    }
}

#[test]
fn what_changes_in_the_directory_is_in_force_and_a_broken_file_changes_nothing() {
    let files = Files::new();
    files.write("manifest.json", &document(&["main"]));
    let manifest = files.open();
    let in_force = manifest.in_force();
    let names = || -> String {
        let now = in_force.borrow();
        now.manifest.certificates.iter().map(|certificate| certificate.name.as_str()).collect::<Vec<_>>().join(" ")
    };
    let problem = || in_force.borrow().problem.clone();
    assert!(manifest.look());

    files.write("manifest.d/a.json", &document(&["added"]));
    assert!(manifest.look());
    assert_eq!(names(), "main added");
    // In place, of the same length, and in the same second.
    files.write("manifest.d/a.json", &document(&["edits"]));
    assert!(manifest.look());
    assert_eq!((names().as_str(), problem()), ("main edits", None));

    files.write("manifest.d/b.json", "{\n\"version\": }");
    assert!(manifest.look());
    let told = problem().expect("a problem");
    assert!(told.starts_with(&format!("{}:2:12 ", files.path("manifest.d/b.json").display())), "{told}");
    assert_eq!(names(), "main edits");
    files.write("manifest.d/b.json", &document(&["replaced"]));
    assert!(manifest.look());
    assert_eq!((names().as_str(), problem()), ("main edits replaced", None));

    // An editor has moved it away, and writes it anew.
    fs::rename(files.path("manifest.d/b.json"), files.path("manifest.d/b.json~")).expect("renamed");
    assert!(!manifest.look(), "it is gone for too short a time");
    assert_eq!((names().as_str(), problem()), ("main edits replaced", None));
    files.write("manifest.d/b.json", &document(&["anew"]));
    assert!(manifest.look());
    assert_eq!(names(), "main edits anew");

    fs::remove_file(files.path("manifest.d/a.json")).expect("removed");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(manifest.settled());
    assert_eq!((names().as_str(), problem()), ("main anew", None));
}

#[test]
fn the_last_good_manifest_of_several_files_outlives_a_restart() {
    let files = Files::new();
    files.write("manifest.json", r#"{"version": 1, "defaults": {"issuer": "acme"}, "certificates": []}"#);
    files.write("manifest.d/a.json", &document(&["a"]));
    files.write("manifest.d/b.json", &document(&["b"]));
    let before = {
        // Its end waits for the write to return, which has the store until then.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let manifest = files.open();
        let kept = files.path("local/last-good-manifest.json");
        runtime.block_on(async {
            let written = async {
                while !kept.exists() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::select! { () = manifest.watch() => {}, () = written => {} }
        });
        manifest.in_force().borrow().manifest.clone()
    };
    files.write("manifest.d/b.json", "{");
    let manifest = files.open();
    let now = manifest.in_force().borrow().clone();
    assert_eq!(now.manifest, before);
    assert!(now.problem.is_some_and(|problem| problem.contains("manifest.d/b.json:1:2 ")));
}
