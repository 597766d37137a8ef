//! A sealed guest is nobody: it carries nothing that a copy must not have, and becomes whoever it is told to be.

use std::{
    fs,
    path::{Path, PathBuf},
};

use pinion_tests::{
    site::{Site, manifest},
    wait::{self, PATIENCE},
};
use serde_json::{Value, json};

#[test]
fn a_sealed_guest_becomes_another_one() {
    let mut site = Site::served().expect("the certificate is served");
    let serial = site.serial().expect("all agree");
    let secrets = secrets(&site);
    for secret in &secrets {
        assert!(!holding(site.guest.root(), secret).is_empty(), "{secret} is there before");
    }

    let refused = site.guest.pinion_agent(&["seal"]).expect("pinion-agent runs");
    assert!(refused.code() == 4 && refused.stderr.contains("systemctl stop pinion-agent"), "{refused}");
    assert_eq!(site.serial().expect("all is as it was"), serial);

    site.guest.stop().expect("the agent stops");
    let sealed = site.guest.pinion_agent(&["seal", "--json"]).expect("pinion-agent runs");
    let sealed = sealed.succeeded().expect("nothing is in the way");
    let told: Value = serde_json::from_str(&sealed.stdout).expect("JSON");
    assert_eq!((&told["guest"], &told["machine_id"]), (&json!("1001"), &json!(true)), "{told}");
    let removed = told["removed"].as_array().expect("a list");
    assert!(removed.contains(&json!(Site::KEY)) && removed.contains(&json!(Site::FULLCHAIN)), "{told}");
    assert!(sealed.stderr.contains("truncate -s 0 /etc/machine-id"), "{sealed}");
    for secret in secrets.iter().chain([&serial]) {
        assert_eq!(holding(site.guest.root(), secret), Vec::<PathBuf>::new(), "{secret}");
    }
    assert!(site.guest.path("/etc/pinion/agent.toml").exists(), "its own word stays");

    site.guest.write("etc/machine-id", "").expect("written");
    let again = site.guest.pinion_agent(&["seal", "--json"]).expect("pinion-agent runs");
    let told: Value = serde_json::from_str(&again.succeeded().expect("sealed").stdout).expect("JSON");
    let nothing = json!({ "exit": 0, "guest": null, "removed": [], "left": [], "machine_id": false });
    assert_eq!(told, nothing);

    // A copy of it starts.
    site.guest.start().expect("the agent starts");
    let status = site.guest.pinion_agent(&["status"]).expect("pinion-agent runs").succeeded().expect("it answers");
    let said = status.stdout;
    assert!(
        said.contains("without an identity") && said.contains("not joined") && said.contains("no placements"),
        "{said}"
    );
    site.guest.write("etc/machine-id", "c0ffee00c0ffee00c0ffee00c0ffee00\n").expect("written");
    let token = site.host.token("1002").expect("a token");
    site.guest.join_with(&token).expect("pinion-agent runs").succeeded().expect("joined");
    wait::until("the link of guest 1002", PATIENCE, || match site.host.status() {
        Ok(status) if status.is_linked("1002") => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .expect("it links as whom it was told to be");
    let mut certificate = site.certificate();
    certificate["placements"][0]["guest"] = 1002.into();
    site.host.write_manifest(&manifest(json!([certificate]))).expect("the manifest is written");
    site.host.ensure(&["web@1002"], "served").expect("served");
    let status = site.host.status().expect("the controller answers");
    let served = status.placement("web@1002").expect("it is placed").serial.clone();
    assert!(served.is_some_and(|served| served != serial), "a copy has a certificate of its own");
}

#[test]
fn sealing_removes_nothing_when_a_key_would_stay() {
    let mut site = Site::served().expect("the certificate is served");
    site.guest.stop().expect("the agent stops");
    let key = site.guest.read(Site::KEY).expect("the key");
    site.guest.write(Site::KEY, &format!("# copied from the old gateway\n{key}")).expect("written");
    let refused = site.guest.pinion_agent(&["seal", "--json"]).expect("pinion-agent runs");
    assert!(refused.code() == 4 && refused.stderr.contains(Site::KEY), "{refused}");
    let told: Value = serde_json::from_str(&refused.stdout).expect("JSON");
    assert!(told["obstacles"][0].as_str().is_some_and(|why| why.contains(Site::KEY)), "{told}");
    for file in [Site::FULLCHAIN, Site::KEY, "/var/lib/pinion-agent/identity.json"] {
        assert!(site.guest.path(file).exists(), "{file} is left");
    }
    // The agent puts its file right, as it always does, and then nothing is in the way.
    site.guest.start().expect("the agent starts");
    site.guest.wait_linked(&site.host).expect("it is still guest 1001");
    wait::until("the key to be put right", PATIENCE, || match site.guest.read(Site::KEY) {
        Ok(now) if now == key => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .expect("put right");
    site.guest.stop().expect("the agent stops");
    site.guest.pinion_agent(&["seal"]).expect("pinion-agent runs").succeeded().expect("sealed");
}

/// Words that only files with something of this guest's own have.
fn secrets(site: &Site) -> Vec<String> {
    let middle = |text: String| text.lines().nth(2).expect("a line of base64").to_owned();
    let certificate = site.guest.read(Site::FULLCHAIN).expect("the certificate");
    let key = site.guest.read(Site::KEY).expect("the key");
    vec!["PRIVATE KEY".to_owned(), middle(certificate), middle(key)]
}

/// The files below a directory that have this in them. What the harness logs of the agent is no part of the guest.
fn holding(root: &Path, secret: &str) -> Vec<PathBuf> {
    let (mut found, mut todo) = (Vec::new(), vec![root.to_owned()]);
    while let Some(directory) = todo.pop() {
        for entry in fs::read_dir(&directory).expect("listed") {
            let (path, kind) = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?))).expect("an entry");
            if kind.is_dir() && path != root.join("var/log") {
                todo.push(path);
            } else if kind.is_file() {
                let content = fs::read(&path).expect("read");
                if content.windows(secret.len()).any(|window| window == secret.as_bytes()) {
                    found.push(path);
                }
            }
        }
    }
    found
}
