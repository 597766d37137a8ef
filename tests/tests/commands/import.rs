//! `pinion manifest import phoenix`: what it prints and writes, and how it ends. It needs no controller and no configuration.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use pinion_tests::{
    process::{Finished, run},
    program,
    wait::PATIENCE,
};
use serde_json::{Value, json};

/// A directory with an old manifest.
struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn with(old: &[u8]) -> Self {
        let place = Self { directory: tempfile::tempdir().expect("a directory") };
        fs::write(place.path("old.json"), old).expect("written");
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn pinion(&self, arguments: &[&str]) -> Finished {
        let mut command = Command::new(program::own("pinion").expect("pinion is built"));
        command.args(["--root", "/nonexistent"]).args(arguments).current_dir(self.directory.path());
        run(&mut command, b"", PATIENCE).expect("pinion ends")
    }

    fn import(&self, more: &[&str]) -> Finished {
        self.pinion(&[&["manifest", "import", "phoenix", "old.json"], more].concat())
    }

    /// Every file below, with its bytes.
    fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut all = Vec::new();
        let mut directories = vec![self.directory.path().to_owned()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(&directory).expect("a directory") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    directories.push(path);
                } else {
                    all.push((path.clone(), fs::read(&path).expect("a file")));
                }
            }
        }
        all.sort();
        all
    }
}

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the project's root")
}

fn example() -> Vec<u8> {
    fs::read(project().join("packaging/phoenix/certificate-manifest.json")).expect("it is there")
}

#[test]
fn ten_entries_of_every_shape_become_a_manifest_the_same_each_time() {
    let place = Place::with(&example());
    let written = ["--output", "new.json", "--report", "report.txt"];
    let first = place.import(&written).succeeded().expect("it is imported");
    assert!(first.stdout.is_empty() && first.stderr.is_empty(), "{first}");
    let checked = place.pinion(&["manifest", "check", "new.json"]).succeeded().expect("it is good");
    assert_eq!(checked.stdout, "new.json: good: 9 certificates in 10 places\n");

    let report = fs::read_to_string(place.path("report.txt")).expect("a report");
    for entry in 1..=10 {
        assert!(report.contains(&format!("entry {entry}, line ")), "{report}");
    }
    assert!(report.contains("10 entries became 9 certificates in 10 places"), "{report}");
    let page = fs::read_to_string(project().join("docs/migration-example.md")).expect("it is there");
    let manifest = fs::read_to_string(place.path("new.json")).expect("a manifest");
    for (language, text) in [("text", &report), ("json", &manifest)] {
        let block = format!("```{language}\n{}\n```\n", text.trim_end());
        assert!(page.contains(&block), "docs/migration-example.md shows something else than this:\n{block}");
    }
    let mode = |name: &str| place.path(name).metadata().expect(name).permissions().mode() & 0o7777;
    assert_eq!((mode("report.txt"), mode("new-hooks"), mode("new-hooks/1002")), (0o600, 0o700, 0o700));
    assert_eq!(mode("new-hooks/1002/portainer-agent-reload"), 0o600, "a hook is reviewed before it can run");

    // Nothing is replaced unless one says so, and then by the same bytes.
    let before = place.files();
    let again = place.import(&written);
    assert!(
        again.code() == 2 && again.stderr.contains("already there: ") && again.stderr.contains("new.json"),
        "{again}"
    );
    assert_eq!(place.files(), before);
    place.import(&[&written[..], &["--force"]].concat()).succeeded().expect("it is imported again");
    assert_eq!(place.files(), before);
    fs::remove_file(place.path("new.json")).expect("removed");
    let half = place.import(&["--output", "new.json"]);
    assert!(half.code() == 2 && half.stderr.contains("already there: new-hooks/1002/portainer-agent-reload"), "{half}");
    assert!(!place.path("new.json").exists(), "the manifest is not there without its hooks");
}

#[test]
fn the_manifest_is_on_standard_output_and_the_report_beside_it() {
    let place = Place::with(&example());
    let finished = place.import(&["--issuer", "embedded"]).succeeded().expect("it is imported");
    let manifest: Value = serde_json::from_str(&finished.stdout).expect("JSON");
    assert_eq!(manifest["defaults"], json!({ "issuer": "embedded", "duration": "30d" }));
    assert!(finished.stderr.contains("became docker@1001, recipe docker"), "{finished}");
    assert!(finished.stderr.contains("the hooks are not written: give --output FILE or --hooks DIR"), "{finished}");
    assert_eq!(place.files().len(), 1, "nothing but the old manifest is there");

    let finished = place.import(&["--json"]).succeeded().expect("it is imported");
    let report: Value = serde_json::from_str(finished.stderr.lines().next().expect("a line")).expect("JSON");
    assert_eq!(report["entries"][4]["became"][0]["placement"], "docker@1001");
    assert_eq!(finished.stdout, place.import(&[]).stdout);
    let finished = place.import(&["--json", "--output", "new.json", "--hooks", "hooks"]).succeeded().expect("imported");
    let on_stdout: Value = serde_json::from_str(&finished.stdout).expect("JSON");
    assert_eq!(on_stdout, report);
    assert!(place.path("hooks/host/archive-reload").exists() && !place.path("new-hooks").exists());
}

#[test]
fn what_is_wrong_is_said_with_its_place_and_nothing_is_written() {
    let place = Place::with(b"[\n  { \"guest_id\": 7 },\n  { \"common_name\": \"a b\" } ]\n");
    let finished = place.import(&["--output", "new.json"]);
    assert_eq!(finished.code(), 2, "{finished}");
    let lines: Vec<_> = finished.stderr.lines().skip(1).collect();
    assert!(lines[0].starts_with("old.json:2:3 [0]: the field \"common_name\" is missing"), "{finished}");
    assert!(lines[1].starts_with("old.json:2:17 [0].guest_id: `7` is not a VMID"), "{finished}");
    assert!(lines[2].starts_with("old.json:3:20 [1].common_name: `a b` is not a DNS name"), "{finished}");
    assert_eq!((lines.len(), place.files().len()), (3, 1), "{finished}");
    for (old, words) in [
        (&b"[{"[..], "ends too early"),
        (b"{\"version\": 1, \"certificates\": []}", "a manifest of Pinion's already"),
        (&vec![b'['; 2 * 1024 * 1024], "more than the"),
        (&[b"[".repeat(40), b"]".repeat(40)].concat(), "nested"),
    ] {
        let finished = Place::with(old).import(&[]);
        assert!(finished.code() == 2 && finished.stderr.contains(words) && finished.stdout.is_empty(), "{finished}");
    }
    for missing in [&["manifest", "import", "phoenix", "nowhere.json"][..], &["manifest", "import", "phoenix", "."]] {
        let finished = place.pinion(missing);
        assert!(finished.code() == 2 && finished.stderr.contains("cannot read the old manifest"), "{finished}");
    }
    let finished = place.import(&["--issuer", "no name"]);
    assert_eq!(finished.code(), 2, "{finished}");
}

#[test]
fn nothing_of_an_old_command_is_executed_and_nothing_of_it_reaches_the_terminal() {
    let commands = [
        "touch ran",
        "$(touch ran)",
        "`touch ran`",
        "touch ran; \u{1b}]0;x\u{7}",
        "pct exec 101 -- touch ran",
        "x\u{202e}y > ran",
    ];
    let entries: Vec<_> =
        commands.iter().map(|command| json!({ "common_name": "a.example", "post_renewal_command": command })).collect();
    let place = Place::with(json!(entries).to_string().as_bytes());
    let finished = place.import(&["--output", "new.json"]).succeeded().expect("it is imported");
    assert!(!place.path("ran").exists());
    for (path, text) in place.files().into_iter().filter(|(path, _)| !path.ends_with("old.json")) {
        let text = String::from_utf8(text).expect("UTF-8");
        assert!(text.chars().all(|c| c == '\n' || !c.is_control() && c != '\u{202e}'), "{}: {text:?}", path.display());
    }
    assert!(finished.stderr.chars().all(|c| c == '\n' || !c.is_control() && c != '\u{202e}'), "{finished}");
}

/// docs/migration.md shows an old manifest, and then what this very import makes of it.
#[test]
fn the_documentation_shows_what_comes_out() {
    let text = fs::read_to_string(project().join("docs/migration.md")).expect("it is there");
    let block = |start: &str, index: usize| {
        let found = text.split(&format!("```{start}\n")).nth(index + 1).and_then(|rest| rest.split("```").next());
        found.expect("a block").to_owned()
    };
    let place = Place::with(block("json", 0).as_bytes());
    let finished =
        place.import(&["--output", "new.json", "--report", "report.txt"]).succeeded().expect("it is imported");
    let made = |name: &str| fs::read_to_string(place.path(name)).expect(name);
    assert_eq!(block("json", 1), made("new.json"), "{finished}");
    assert_eq!(block("text", 0), made("report.txt"));
    assert_eq!(block("sh", 0), made("new-hooks/801/vllm-reload"));
}
