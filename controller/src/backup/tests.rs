use super::*;

fn entries() -> Entries {
    let entry = |text: &str| Entry { mode: 0o600, content: Zeroizing::new(text.as_bytes().to_vec()) };
    BTreeMap::from([
        ("shared/identity-ca.json".to_owned(), entry("{\"version\":1}")),
        ("shared/guests/101.json".to_owned(), entry("{}")),
        ("local/freezes.json".to_owned(), entry("{}")),
        ("etc/controller.toml".to_owned(), entry("listen = \"127.0.0.1:1\"\n")),
    ])
}

fn text() -> String {
    let now = Timestamp::from_unix(1_800_000_000);
    String::from_utf8(encode(&entries(), now, "pve1").expect("written").to_vec()).expect("text")
}

#[test]
fn what_was_written_is_read() {
    let (read, made_at) = decode(text().as_bytes()).expect("read");
    assert_eq!((read, made_at), (entries(), Timestamp::from_unix(1_800_000_000)));
}

#[test]
fn a_file_that_was_cut_off_or_changed_anywhere_is_refused() {
    let text = text();
    for length in 0..text.trim_end().len() {
        decode(&text.as_bytes()[..length]).expect_err("cut off");
    }
    let mut bytes = text.clone().into_bytes();
    for at in 0..bytes.len() {
        let before = bytes[at];
        // Another letter or digit, so that it stays JSON in most places.
        bytes[at] = if before == b'a' { b'b' } else { b'a' };
        if let Ok((read, _)) = decode(&bytes) {
            assert_eq!(read, entries(), "byte {at} changes only what is told of the backup");
        }
        bytes[at] = before;
    }
    for (from, to, why) in [
        ("\"version\": 1,", "\"version\": 2,", "upgrade pinion"),
        ("pinion-backup", "tar", "its format is `tar`"),
        ("\"entries\"", "\"entry\"", "not a backup"),
    ] {
        let told = decode(text.replacen(from, to, 1).as_bytes()).map(drop).expect_err("changed");
        assert!(told.contains(why), "{told}");
    }
}

#[test]
fn of_the_settings_only_the_controllers_own_are_believed() {
    let decoded = |more: &[(&str, &str)]| {
        let mut entries = entries();
        for (path, text) in more {
            let content = Zeroizing::new(text.as_bytes().to_vec());
            entries.insert((*path).to_owned(), Entry { mode: 0o600, content });
        }
        decode(&encode(&entries, Timestamp::from_unix(0), "pve1").expect("written")).map(drop)
    };
    let settings = |file: &str| {
        format!(
            "[issuers.ca]\ntype = 'step-ca'\nurl = 'https://10.0.0.3:9000'\nfingerprint = '{}'\nprovisioner = 'a'\n\
                 password_file = '{file}'\n",
            "0".repeat(64)
        )
    };
    let named = settings("/etc/pinion/step-ca.password");
    decoded(&[("etc/controller.toml", &named), ("etc/step-ca.password", "x")]).expect("it is named");
    decoded(&[("etc/identity-root", "x"), ("etc/certificate-manifest.json", "{}")]).expect("the controller's");
    decoded(&[("etc/certificate-manifest.d/web servers.json", "{}")]).expect("the controller's");
    for path in ["x.toml", ".x.json", "x.json~", "more/x.json", "x\u{1b}.json"] {
        let path = format!("etc/certificate-manifest.d/{path}");
        assert!(decoded(&[(&path, "{}")]).is_err(), "{path}");
    }
    let agents = settings("/etc/pinion/agent.toml");
    let elsewhere = settings("/root/password");
    for (settings, path) in [
        (named.as_str(), "etc/agent.toml"),
        (&named, "etc/other.password"),
        (&agents, "etc/agent.toml"),
        (&elsewhere, "etc/password"),
        ("[", "etc/step-ca.password"),
    ] {
        let refused = decoded(&[("etc/controller.toml", settings), (path, "x")]).expect_err(path);
        assert!(refused.starts_with(path), "{refused}");
    }
}

#[test]
fn paths_lead_nowhere_else() {
    for good in [
        "shared/identity-ca.json",
        "shared/guests/101.json",
        "local/freezes.json",
        "local/replaced/101-0123.json",
        "local/authorities/identity-ca.json",
        "channel/identity-ca.json",
        "channel/authorities/identity-ca.json",
        "etc/controller.toml",
        "etc/step-ca.password",
    ] {
        assert!(is_ours(good), "{good}");
    }
    for bad in [
        "",
        "shared",
        "shared/",
        "shared/../etc/passwd.json",
        "../shared/x.json",
        "/shared/x.json",
        "shared//x.json",
        "shared/x",
        "shared/.x.json",
        "shared/a/b/c/d.json",
        "shared/join-tokens/101.json",
        "local/reports/101.json",
        "local/events.jsonl",
        "local/controller.lock",
        "channel/x.json",
        "etc/hooks.d/x",
        "etc/..",
        "etc/a b",
        "root/x.json",
    ] {
        assert!(!is_ours(bad), "{bad}");
    }
    // Named by a digest that is right, it is refused all the same.
    let mut bad = entries();
    bad.insert("etc/../../root/x".into(), Entry { mode: 0o600, content: Zeroizing::default() });
    let text = encode(&bad, Timestamp::from_unix(0), "pve1").expect("written");
    assert!(decode(&text).map(drop).expect_err("a path").contains("does not belong in a backup"));
}
