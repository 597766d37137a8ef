//! `pinion notify test`: the outcome of each target, exit codes, JSON, and mail over encrypted connections.

use std::fs;

use pinion_tests::{
    postfix::Postfix,
    receiver::{Manner, Receiver},
};
use rcgen::{CertificateParams, KeyPair};
use serde_json::Value;

use super::site::Site;

#[test]
fn the_worst_target_decides_the_exit_code() {
    let (good, bad) = (Receiver::start(Manner::Answer(200)), Receiver::start(Manner::Answer(404)));
    let (good, bad) = (good.expect("a receiver"), bad.expect("a receiver"));
    let webhook = |name: &str, url: &str| format!("[notify.targets.{name}]\ntype = \"webhook\"\nurl = \"{url}\"\n");
    let targets =
        webhook("good", &good.url("x")) + &webhook("bad", &bad.url("x")) + &webhook("off", "http://127.0.0.1:1/");
    let site = Site::start(&targets);
    let test = |arguments: &[&str]| {
        let arguments: Vec<_> = ["notify", "test"].iter().chain(arguments).copied().collect();
        site.host.pinion(&arguments).expect("it runs")
    };
    for (target, code, words) in [
        ("good", 0, "good: good: sent by webhook to http://127.0.0.1:"),
        ("bad", 4, "bad: blocked: send alarms to the target bad (http://127.0.0.1:"),
        ("off", 3, "off: waiting: send alarms to the target off (http://127.0.0.1:1): "),
    ] {
        let finished = test(&[target]);
        assert!(finished.code() == code && finished.stdout.starts_with(words), "{finished}");
    }
    let all = test(&["--json"]);
    let document: Value = serde_json::from_str(&all.stdout).expect("JSON");
    assert_eq!((all.code(), document["targets"].as_array().map(Vec::len)), (4, Some(3)), "{all}");
    assert_eq!(document["error"]["exit_code"], 4, "{all}");
    let unknown = test(&["nobody"]);
    assert!(unknown.code() == 6 && unknown.stderr.contains("bad, good, off"), "{unknown}");
    let told = good.received().pop().expect("two tests").body;
    assert_eq!((good.received().len(), &told["state"]), (2, &"test".into()), "{told}");

    let nothing = Site::start("");
    let finished = nothing.host.pinion(&["notify", "test"]).expect("it runs");
    assert!(finished.code() == 2 && finished.stderr.contains("no targets"), "{finished}");
}

#[test]
fn mail_goes_to_a_real_server_in_the_clear_or_by_starttls() {
    let directory = tempfile::tempdir().expect("a directory");
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("names");
    let certificate = params.self_signed(&key).expect("signed");
    let (pem, key_file) = (directory.path().join("mail.pem"), directory.path().join("mail.key"));
    fs::write(&pem, certificate.pem()).expect("written");
    fs::write(&key_file, key.serialize_pem()).expect("written");
    let plain = Postfix::start(None).expect("Postfix is installed");
    let encrypted = Postfix::start(Some((&pem, &key_file))).expect("Postfix is installed");
    let mail = |name: &str, server: &Postfix, to: &str, more: &str| {
        format!(
            "[notify.targets.{name}]\ntype = \"mail\"\nserver = \"{}\"\nto = [\"{to}\"]\nfrom = \"pinion@x.example\"\n{more}\n",
            server.address()
        )
    };
    let trusted = format!("security = \"starttls\"\nca_file = \"{}\"", pem.display());
    let targets = [
        mail("plain", &plain, "root@x.example", ""),
        mail("starttls", &encrypted, "root@x.example", &trusted),
        mail("untrusted", &encrypted, "root@x.example", "security = \"starttls\""),
        mail("unencrypted", &encrypted, "root@x.example", ""),
        mail("no-starttls", &plain, "root@x.example", &trusted),
    ];
    let site = Site::start(&targets.concat());
    for (target, code, words) in [
        ("plain", 0, "good"),
        ("starttls", 0, "good"),
        ("untrusted", 4, "certificate"),
        ("unencrypted", 4, "STARTTLS"),
        ("no-starttls", 4, "does not offer STARTTLS"),
    ] {
        let finished = site.host.pinion(&["notify", "test", target]).expect("it runs");
        assert!(finished.code() == code && finished.stdout.contains(words), "{target}: {finished}");
    }
    for server in [&plain, &encrypted] {
        let mail = server.wait(0).expect("delivered");
        assert!(mail.contains("Subject: Pinion on ") && mail.contains("Auto-Submitted: auto-generated"), "{mail}");
        assert_eq!(server.mails().expect("read").len(), 1);
    }
}
