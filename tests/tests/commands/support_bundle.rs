//! `pinion support-bundle`: what is in it, and that no secret is.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use pinion_tests::{
    guest::Guest,
    host::{Host, HostOptions, StepCaIssuer},
    process::{self, Finished},
    wait::PATIENCE,
};
use serde_json::{Value, json};

/// All files below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { files.extend(self::files(&path)) } else { files.push(path) }
    }
    files
}

/// Takes a bundle and unpacks it, by the program that people use.
fn unpacked(host: &Host, name: &str) -> PathBuf {
    let bundle = host.root().join(format!("{name}.tar.gz"));
    let shown = bundle.display().to_string();
    host.pinion(&["support-bundle", &shown]).and_then(Finished::succeeded).expect("it is written");
    assert_eq!(fs::metadata(&bundle).expect("it is there").permissions().mode() & 0o777, 0o600);
    let again = host.pinion(&["support-bundle", &shown]).expect("it runs");
    assert!(again.code() == 2 && again.stderr.contains("exists already"), "{again}");
    let directory = host.root().join(name);
    fs::create_dir(&directory).expect("made");
    let mut tar = Command::new("tar");
    tar.arg("-xzf").arg(&bundle).arg("-C").arg(&directory);
    process::run(&mut tar, b"", PATIENCE).and_then(Finished::succeeded).expect("it is an archive");
    directory.join("pinion-support")
}

/// No file has any of these texts.
fn has_none(directory: &Path, secrets: &[String]) {
    for file in files(directory) {
        let text = String::from_utf8_lossy(&fs::read(&file).expect("read")).into_owned();
        for secret in secrets {
            assert!(!secret.is_empty() && !text.contains(secret.as_str()), "{secret} is in {}", file.display());
        }
    }
}

/// The private keys in the state: the first line of each that is PEM, and each that is a text of its own.
fn keys(host: &Host) -> Vec<String> {
    let mut keys = Vec::new();
    for file in files(&host.root().join("var/lib/pinion")) {
        let text = String::from_utf8_lossy(&fs::read(&file).expect("read")).into_owned();
        let lines = text.replace("\\n", "\n");
        let blocks = lines.split("PRIVATE KEY-----\n").skip(1).step_by(2);
        keys.extend(blocks.filter_map(|block| block.lines().next()).map(ToOwned::to_owned));
        if let Ok(document) = serde_json::from_str(&text) {
            texts_of_keys(&document, &mut keys);
        }
    }
    keys
}

fn texts_of_keys(document: &Value, keys: &mut Vec<String>) {
    match document {
        Value::Object(members) => {
            for (name, value) in members {
                match value {
                    Value::String(text) if name.contains("key") && text.len() > 40 && !text.contains("-----") => {
                        keys.push(text.clone());
                    }
                    value => texts_of_keys(value, keys),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| texts_of_keys(value, keys)),
        _ => {}
    }
}

#[test]
fn a_bundle_has_what_a_support_person_asks_for_and_no_secret() {
    const PASSWORD: &str = "correct-horse-battery-staple";
    let passwords = tempfile::tempdir().expect("a directory");
    let password_file = passwords.path().join("password");
    fs::write(&password_file, PASSWORD).expect("written");
    fs::set_permissions(&password_file, fs::Permissions::from_mode(0o600)).expect("set");
    let issuer = StepCaIssuer {
        url: "https://127.0.0.1:1".into(),
        fingerprint: "ab".repeat(32),
        provisioner: "pinion".into(),
        password_file,
        revoke_replaced: false,
        roots_every: None,
    };
    let options = HostOptions::step_ca(issuer, &json!([]));
    let mut host = Host::start(&HostOptions { retry_max: Duration::from_secs(60), ..options }).expect("a host");
    // Targets of alarms: a secret in an address, and one in a file.
    let token_file = passwords.path().join("token");
    fs::write(&token_file, "gotify-token-in-a-file").expect("written");
    fs::set_permissions(&token_file, fs::Permissions::from_mode(0o600)).expect("set");
    let targets = format!(
        "\n[notify.targets.chat]\ntype = \"webhook\"\nservice = \"slack\"\nurl = \"https://127.0.0.1:1/xoxb-in-the-address\"\n\
         [notify.targets.push]\ntype = \"webhook\"\nservice = \"gotify\"\nurl = \"https://127.0.0.1:1\"\ntoken_file = \"{}\"\n",
        token_file.display()
    );
    host.configure(&targets).expect("written");
    host.restart().expect("it restarts");
    let _guest = Guest::join(&host, 1001).expect("a guest");
    let certificates = json!([{ "name": "web", "common_name": "web.internal.example", "shared": true,
        "issuer": "embedded", "placements": [{ "guest": 1001, "recipe": "files" }] }]);
    host.write_manifest(&json!({ "version": 1, "certificates": certificates })).expect("written");
    host.ensure(&["web"], "reloaded").expect("it is there");
    let token = host.token("1002").expect("a token");
    let mut secrets = keys(&host);
    assert!(secrets.len() >= 2, "the identity's root and the shared key: {secrets:?}");
    // Somebody's mistake: a password in a place that is shown.
    let manifest = fs::read_to_string(host.root().join("etc/pinion/certificate-manifest.json")).expect("read");
    let noted = format!("{}\n\n/* {PASSWORD} {token} */", manifest.trim_end());
    fs::write(host.root().join("etc/pinion/certificate-manifest.json"), noted).expect("written");
    secrets.extend(["gotify-token-in-a-file", "xoxb-in-the-address"].map(ToOwned::to_owned));
    secrets.extend([PASSWORD.to_owned(), token.trim_start_matches("pinion-join-1.").to_owned()]);

    let found = unpacked(&host, "first");
    has_none(&found, &secrets);
    let text = |name: &str| fs::read_to_string(found.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    for (name, part) in [
        ("doctor.txt", "the manifest on disk is not in force"),
        ("doctor.json", "\"area\""),
        ("status.txt", "web@1001"),
        ("status.json", "web@1001"),
        ("plan.json", "web@1001"),
        ("guests.json", "1001"),
        ("issuers.json", "step-ca"),
        ("events.jsonl", "A join token for guest 1002 was created"),
        ("controller.toml", "notify.targets.chat.url = \"(redacted)\""),
        ("controller.toml", "issuers.step-ca.provisioner = \"pinion\""),
        ("certificate-manifest.json", "(redacted)"),
        ("versions.txt", "pinion "),
    ] {
        let text = text(name);
        assert!(text.to_lowercase().contains(&part.to_lowercase()), "{part:?} in {name}: {text}");
    }

    // Settings of which this version knows nothing, and a controller that does not run.
    host.stop().expect("it stops");
    let planted = ["s3cret-smtp", "xoxb-webhook-token", "a-comment-with-a-secret"];
    let more = format!("\n# {}\n[notify.mail]\npassword = \"{}\"\nurl = \"{}\"\n", planted[2], planted[0], planted[1]);
    host.configure(&more).expect("written");
    let found = unpacked(&host, "second");
    secrets.extend(planted.map(ToOwned::to_owned));
    has_none(&found, &secrets);
    let settings = fs::read_to_string(found.join("controller.toml")).expect("read");
    assert!(settings.contains("notify.mail.password = \"(redacted)\""), "{settings}");
    assert!(found.join("doctor.txt").exists() && !found.join("status.json").exists());
}
