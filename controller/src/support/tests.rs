//! Secrets that are planted, and are not found.

use std::{fs, io::Read as _, os::unix::fs::PermissionsExt as _};

use flate2::read::GzDecoder;
use pinion_proto::clock::Timestamp;

use super::{Bundle, redacted, scrub::Scrub};

const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

fn clean(secrets: &[&str], text: &str) -> String {
    let mut scrub = Scrub::default();
    secrets.iter().for_each(|secret| scrub.secret(secret));
    scrub.clean(text).0
}

#[test]
fn only_settings_that_are_known_to_be_no_secrets_are_shown() {
    let toml = r#"
        # the old password was hunter1
        listen = "0.0.0.0:7443"
        advertise = ["10.0.0.13:7443"]
        [issuers.ca]
        type = "step-ca"
        url = "https://admin:hunter2@10.0.0.3:9000/x?token=hunter3"
        password_file = "/etc/pinion/ca-password"
        password = "hunter4"
        concurrency = 4
        [notify.targets.chat]
        type = "webhook"
        url = "https://hooks.example/services/hunter5"
        headers = { Authorization = "hunter6" }
        [[notify.mail.to]]
        address = "hunter7@example.org"
        [anything]
        "new one" = ["hunter8"]
    "#;
    let redacted = redacted(toml);
    assert!(!redacted.text.contains("hunter"), "{}", redacted.text);
    for shown in [
        "listen = \"0.0.0.0:7443\"",
        "advertise = [\"10.0.0.13:7443\"]",
        "issuers.ca.url = \"https://10.0.0.3:9000/x\"",
        "issuers.ca.password_file = \"/etc/pinion/ca-password\"",
        "issuers.ca.password = \"(redacted)\"",
        "issuers.ca.concurrency = 4",
        "notify.targets.chat.type = \"webhook\"",
        "notify.targets.chat.url = \"(redacted)\"",
        "anything.\"new one\" = [\"(redacted)\"]",
    ] {
        assert!(redacted.text.contains(shown), "{shown}: {}", redacted.text);
    }
    redacted.text.parse::<toml::Table>().expect("it is TOML");
    // What was redacted is searched for everywhere else.
    let secrets: Vec<_> = redacted.secrets.iter().map(|secret| secret.as_str()).collect();
    assert_eq!(clean(&secrets, "cannot log in with `hunter4`"), "cannot log in with `(redacted)`");
    let broken = super::redacted("password = \"hunter9\"\nlisten = [");
    assert!(!broken.text.contains("hunter") && broken.secrets.iter().any(|secret| secret.as_str() == "hunter9"));
}

#[test]
fn secrets_are_known_by_their_form() {
    let token = "a".repeat(40);
    let key = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQ\n-----END EC PRIVATE KEY-----";
    for (text, expected) in [
        (format!("joined with pinion-join-1.{token}"), "joined with pinion-join-1.(redacted)".to_owned()),
        (format!("Authorization: Bearer {token}, again"), "Authorization: Bearer (redacted), again".into()),
        (format!("ott eyJ{token}.{token}.x"), "ott eyJ(redacted)".into()),
        ("GET https://u:p@host/a and http://host/@b".into(), "GET https://(redacted)@host/a and http://host/@b".into()),
        (format!("a\n{key}\nb"), "a\n(redacted)\nb".into()),
        (format!("{}", serde_json::Value::from(key)), "\"(redacted)\"".into()),
        ("-----BEGIN PRIVATE KEY-----\ncut off".into(), "(redacted)".into()),
        // What is no secret stays.
        ("-----BEGIN CERTIFICATE-----\nx\n".into(), "-----BEGIN CERTIFICATE-----\nx\n".into()),
        ("Basic authentication, https://10.0.0.3:9000".into(), "Basic authentication, https://10.0.0.3:9000".into()),
    ] {
        assert_eq!(clean(&[], &text), expected);
    }
}

#[test]
fn what_is_known_is_taken_out_in_every_form() {
    let password = "two\nlines \"quoted\"";
    let text = format!("{} and two\nlines \"quoted\" and lines \"quoted\"", serde_json::Value::from(password));
    let cleaned = clean(&[password], &text);
    assert!(!cleaned.contains("lines"), "{cleaned}");
    assert_eq!(clean(&["root"], "root"), "root", "what is that short is a word");
}

#[test]
fn a_bundle_is_new_private_and_clean() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("bundle.tar.gz");
    fs::write(directory.path().join("secret"), "battery\n").expect("written");
    let bundle = || {
        let toml =
            format!("password = \"correct horse\"\nx_file = \"{}\"\n", directory.path().join("secret").display());
        let mut bundle = Bundle::new(directory.path(), &redacted(&toml));
        bundle.add("status.json", "{\"why\": \"correct horse\", \"and\": \"battery\"}");
        bundle.add_or_why("plan.json", &Err("nobody answers".into()));
        bundle
    };
    let written = bundle().write(&file, NOW).expect("written");
    assert_eq!((written.entries.len(), written.removed), (2, 2));
    assert_eq!(fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o600);
    let mut texts = Vec::new();
    let mut archive = tar::Archive::new(GzDecoder::new(fs::File::open(&file).expect("opened")));
    for entry in archive.entries().expect("entries") {
        let mut entry = entry.expect("an entry");
        let mut text = String::new();
        entry.read_to_string(&mut text).expect("text");
        texts.push((entry.path().expect("a path").display().to_string(), text));
    }
    assert_eq!(
        texts[0],
        ("pinion-support/status.json".into(), "{\"why\": \"(redacted)\", \"and\": \"(redacted)\"}".into())
    );
    assert_eq!(texts[1], ("pinion-support/plan.json.missing".into(), "nobody answers\n".into()));
    let before = fs::read(&file).expect("read");
    assert_eq!(bundle().write(&file, NOW).expect_err("it is there").kind(), std::io::ErrorKind::AlreadyExists);
    assert_eq!(fs::read(&file).expect("read"), before);
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(directory.path().join("elsewhere"), &link).expect("a link");
    bundle().write(&link, NOW).expect_err("a link is there");
    assert!(!directory.path().join("elsewhere").exists());
}
