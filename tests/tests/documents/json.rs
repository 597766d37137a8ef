//! What running programs print with `--json`, against the committed schemas.
//!
//! Invariant: a document has every member that its schema calls required, and no member that the schema does not describe.

use std::{collections::BTreeSet, fs, path::Path};

use jsonschema::Validator;
use pinion_tests::{
    guest::Guest,
    host::{Host, HostOptions},
    process::{self, Finished},
    receiver::{Manner, Receiver},
    site::Site,
    wait::PATIENCE,
};
use serde_json::{Value, json};

/// The committed schemas, and which of them were used.
struct Schemas {
    used: BTreeSet<String>,
}

impl Schemas {
    fn new() -> Self {
        Self { used: BTreeSet::new() }
    }

    /// Checks every document of a command's output.
    fn check(&mut self, name: &str, finished: &Finished) {
        let validator = validator(name);
        let mut count = 0;
        for document in serde_json::Deserializer::from_str(&finished.stdout).into_iter::<Value>() {
            let document = document.unwrap_or_else(|error| panic!("{name}: {error}: {finished}"));
            let wrong: Vec<_> = validator
                .iter_errors(&document)
                .map(|error| format!("{} at {}", error, error.instance_path()))
                .collect();
            assert!(wrong.is_empty(), "{name}: {}\n{document:#}", wrong.join("\n"));
            count += 1;
        }
        assert!(count > 0, "{name}: nothing was printed: {finished}");
        self.used.insert(name.to_owned());
    }

    /// The same of `pinion`, with an exit code.
    fn pinion(&mut self, host: &Host, name: &str, exit: i32, line: &str) -> Finished {
        let words: Vec<_> = line.split(' ').chain(["--json"]).collect();
        let finished = host.pinion(&words).expect("it runs");
        assert_eq!(finished.code(), exit, "{line}: {finished}");
        self.check(name, &finished);
        finished
    }

    /// The same of `pinion-agent`.
    fn agent(&mut self, guest: &Guest, name: &str, exit: i32, line: &str) {
        let words: Vec<_> = line.split(' ').chain(["--json"]).collect();
        let finished = guest.pinion_agent(&words).expect("it runs");
        assert_eq!(finished.code(), exit, "{line}: {finished}");
        self.check(name, &finished);
    }
}

fn directory() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/schemas"))
}

/// The schema, which here allows no member that it does not describe.
fn validator(name: &str) -> Validator {
    let path = directory().join(format!("{name}.json"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut schema: Value = serde_json::from_str(&text).expect("JSON");
    close(&mut schema);
    jsonschema::validator_for(&schema).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Closes every object that has members of its own.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            members.values_mut().for_each(close);
            if members.get("properties").is_some_and(Value::is_object) && members.get("type") == Some(&json!("object"))
            {
                members.insert("additionalProperties".into(), json!(false));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

#[test]
fn what_the_programs_print_is_what_the_schemas_say() {
    let mut schemas = Schemas::new();
    let receiver = Receiver::start(Manner::Answer(200)).expect("a receiver");
    let host = Host::prepare(&HostOptions { web: Some(String::new()), ..HostOptions::embedded(&json!([])) });
    let host = host.expect("a host");
    let target = format!("\n[notify.targets.chat]\ntype = \"webhook\"\nurl = \"{}\"\n", receiver.url("x"));
    host.configure(&target).expect("configured");
    let mut site = Site::served_on(host).expect("a served site");
    schemas.pinion(&site.host, "pinion-notify-test", 0, "notify test");
    receiver.behave(Manner::Answer(404));
    schemas.pinion(&site.host, "pinion-notify-test", 4, "notify test chat");
    on_the_host(&mut schemas, &site.host);
    in_the_guest(&mut schemas, &site);
    at_the_end(&mut schemas, &mut site);
    setting_up(&mut schemas);

    let all: BTreeSet<_> = fs::read_dir(directory())
        .expect("the schemas")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().trim_end_matches(".json").to_owned())
        .collect();
    let left: Vec<_> = all.difference(&schemas.used).map(String::as_str).collect();
    assert_eq!(left, ELSEWHERE, "these schemas are not held against anything here");
}

/// Needs guests on a hypervisor; the type that is printed is the one that its schema is made of.
const ELSEWHERE: [&str; 1] = ["pinion-guest-enroll"];

fn on_the_host(schemas: &mut Schemas, host: &Host) {
    for (name, line) in [
        ("pinion-status", "status"),
        ("pinion-status", "status web@1001"),
        ("pinion-status-check", "status --check"),
        ("pinion-show", "show web@1001"),
        ("pinion-show", "show 1001"),
        ("pinion-explain", "explain web"),
        ("pinion-explain", "explain 1001"),
        ("pinion-explain-timing", "explain web --timing"),
        ("pinion-discover", "discover"),
        ("pinion-plan", "plan"),
        ("pinion-ensure", "ensure web --until served"),
        ("pinion-events", "events"),
        ("pinion-guest-list", "guest list"),
        ("pinion-issuer-check", "issuer check"),
        ("pinion-issuer-root", "issuer root"),
        ("pinion-manifest-check", "manifest check"),
        ("pinion-config-check", "config check"),
        ("pinion-token-create", "token create --guest 1002"),
        ("pinion-web-open", "web open"),
        ("pinion-web-token-create", "web token create prometheus"),
        ("pinion-web-token-list", "web token list"),
        ("pinion-web-token-revoke", "web token revoke prometheus"),
        ("pinion-freeze", "freeze web --until 8h"),
        ("pinion-status", "status"),
        ("pinion-freeze", "freeze --lift"),
    ] {
        schemas.pinion(host, name, 0, line);
    }
    let doctor = host.pinion(&["doctor", "--json"]).expect("it runs");
    schemas.check("pinion-doctor", &doctor);
    let bundle = host.root().join("bundle.tar.gz").display().to_string();
    schemas.pinion(host, "pinion-support-bundle", 0, &format!("support-bundle {bundle}"));
    let backup = host.root().join("backup").display().to_string();
    schemas.pinion(host, "pinion-backup", 0, &format!("backup {backup}"));
    // With errors: in the answer, and alone.
    schemas.pinion(host, "error", 6, "show nobody");
    schemas.pinion(host, "error", 2, "statsu");
    schemas.pinion(host, "error", 2, "guest wake 1001");
    let bad = host.root().join("bad.json");
    fs::write(&bad, "{\"version\":1,\"certificates\":[{}]}").expect("written");
    schemas.pinion(host, "pinion-manifest-check", 2, &format!("manifest check {}", bad.display()));
    // There is no hypervisor.
    schemas.pinion(host, "error", 2, "guest enroll 1001");
    let old = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/phoenix/certificate-manifest.json"));
    let new = host.root().join("imported.json");
    let line = format!("manifest import phoenix {} --output {}", old.display(), new.display());
    schemas.pinion(host, "pinion-manifest-import", 0, &line);
}

fn in_the_guest(schemas: &mut Schemas, site: &Site) {
    let guest = &site.guest;
    for (name, exit, line) in [
        ("pinion-agent-status", 0, "status"),
        ("pinion-agent-await", 0, "await web --until served --timeout 1m"),
        ("pinion-agent-await", 6, "await nobody@1002"),
        ("pinion-agent-config-check", 0, "config check"),
        ("pinion-agent-recipe-list", 0, "recipe list"),
        ("pinion-agent-recipe-show", 0, "recipe show nginx"),
        ("error", 6, "recipe show nothing"),
        // Its daemon runs.
        ("pinion-agent-seal", 4, "seal"),
    ] {
        schemas.agent(guest, name, exit, line);
    }
    guest.write("etc/pinion/recipes.d/own.toml", "nothing = 1\n").expect("written");
    let path = guest.path("etc/pinion/recipes.d/own.toml").display().to_string();
    schemas.agent(guest, "pinion-agent-recipe-check", 2, &format!("recipe check {path}"));
    guest.write("etc/pinion/agent.toml", "nothing = 1\n").expect("written");
    schemas.agent(guest, "pinion-agent-config-check", 2, "config check");
    fs::remove_file(guest.path("etc/pinion/agent.toml")).expect("removed");
}

/// What ends something: placements, the guest, the installation.
fn at_the_end(schemas: &mut Schemas, site: &mut Site) {
    let host = &site.host;
    host.write_manifest(&json!({ "version": 1, "certificates": [] })).expect("written");
    host.wait_placement(Site::PLACEMENT, |placement| placement.retired).expect("retired");
    schemas.pinion(host, "pinion-status", 0, "status");
    schemas.pinion(host, "pinion-purge", 0, "purge web");
    let token = host.token("1001").expect("a token");
    site.guest.stop().expect("it stops");
    let mut join = site.guest.command(&["join", "--json"]).expect("the program");
    let joined = process::run(&mut join, format!("{token}\n").as_bytes(), PATIENCE).expect("it runs");
    schemas.check("pinion-agent-join", &joined);
    schemas.agent(&site.guest, "pinion-agent-seal", 0, "seal");
    schemas.pinion(&site.host, "pinion-guest-evict", 0, "guest evict 1001");
    let token = site.host.token("1001").expect("a token");
    site.guest.join_with(&token).and_then(Finished::succeeded).expect("it joins");
    schemas.pinion(&site.host, "pinion-guest", 0, "guest forget 1001");
    let host = &mut site.host;
    let finished = host.pinion(&["uninstall", "--yes", "--json"]).expect("it runs");
    schemas.check("pinion-uninstall", &finished);
    let backup = host.root().join("backup").display().to_string();
    host.stop().expect("it stops");
    schemas.pinion(host, "error", 5, "status");
    schemas.pinion(host, "pinion-restore", 0, &format!("restore {backup} --yes"));
}

fn setting_up(schemas: &mut Schemas) {
    let host = Host::prepare(&HostOptions::embedded(&json!([]))).expect("a host");
    fs::write(host.root().join("etc/pinion/controller.toml"), "nothing = 1\n").expect("written");
    schemas.pinion(&host, "pinion-config-check", 2, "config check");
    let finished = host.pinion(&["setup", "--yes", "--json"]).expect("it runs");
    schemas.check("pinion-setup", &finished);
}
