//! What a guest does not allow, asked for by a manifest and by a controller that has no manners: each is refused, changes
//! nothing on disk, and is told in the guest's log and among the controller's events.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt, symlink},
    path::PathBuf,
};

use pinion_controller::events::Kind;
use pinion_proto::{
    message::ToAgent,
    stage::{Halt, Trouble},
    wire::{self, pb},
};
use pinion_tests::{
    guest::Guest,
    journal,
    site::{Site, manifest},
    wait::{self, PATIENCE},
};
use serde_json::{Value, json};

use super::{
    fake_controller::FakeController,
    lying_controller::{setup, spec},
};

/// The guest allows these beside what the harness's guests do.
const ALLOWED: &str =
    "[allow]\nhooks = [\"tell\"]\nswarm_services = [\"web_web\"]\ntouch = [\"/etc/traefik/dynamic\"]\n";

/// What is asked for beside good files, and what is said of it.
fn not_allowed() -> Vec<(&'static str, Value, &'static str)> {
    let key = |path: &str| json!({ "files": { "key": { "path": path } } });
    let reload = |how: Value| json!({ "reload": how });
    vec![
        ("shadow", key("/etc/shadow"), "does not allow files at /etc/shadow"),
        ("cron", key("/etc/cron.d/x"), "does not allow files at /etc/cron.d/x"),
        ("beside", key("/etc/ssl-not/x"), "does not allow files at /etc/ssl-not/x"),
        ("relative", key("/etc/ssl/relative/x"), "leads to /etc/cron.d, outside the directories"),
        ("absolute", key("/etc/ssl/absolute/x"), "leads to /etc/cron.d, outside the directories"),
        ("around", key("/etc/ssl/around/x"), "leads to /etc, outside the directories"),
        ("linked", key("/etc/ssl/linked"), "is a symbolic link"),
        ("unit", reload(json!({ "reload": "sshd.service" })), "does not allow reloading sshd.service"),
        ("restart", reload(json!({ "restart": "sshd.service" })), "does not allow reloading sshd.service"),
        ("hook", reload(json!({ "hook": "evil" })), "does not allow the hook `evil`"),
        ("check", json!({ "validate": { "hook": "evil" } }), "does not allow the hook `evil`"),
        ("container", reload(json!({ "container": "db" })), "does not allow reloading the container db"),
        ("signal", reload(json!({ "signal": { "container": "db", "signal": "HUP" } })), "reloading the container db"),
        (
            "swarm",
            reload(json!({ "swarm": { "service": "db_db", "secrets": { "key": "k" } } })),
            "does not allow changing the Swarm service db_db",
        ),
        ("touch", reload(json!({ "touch": "/etc/shadow" })), "does not allow touching /etc/shadow"),
        ("touch-link", reload(json!({ "touch": "/etc/traefik/dynamic/link" })), "leads to /etc/cron.d/x"),
    ]
}

#[test]
fn what_the_guest_does_not_allow_is_reported_in_the_guest_and_on_the_host() {
    let mut site = Site::served().expect("the certificate is served");
    let config = site.guest.read("/etc/pinion/agent.toml").expect("a configuration");
    site.guest.write("/etc/pinion/agent.toml", &config.replace("[allow]\n", ALLOWED)).expect("written");
    site.guest.restart().expect("the agent starts");
    site.guest.wait_linked(&site.host).expect("linked");
    tempt(&site.guest);
    let before = everything(&site.guest);

    let rows = not_allowed();
    let certificates = rows.iter().map(|(name, asked, _)| {
        let files = json!({ "cert": { "path": format!("/etc/ssl/{name}.crt") }, "key": { "path": format!("/etc/ssl/{name}.key") } });
        let mut placement = json!({ "guest": 1001, "files": files, "reload": "nothing" });
        for (field, value) in asked.as_object().expect("an object") {
            match value.as_object().filter(|_| field == "files") {
                Some(files) => files.iter().for_each(|(part, file)| placement["files"][part] = file.clone()),
                None => placement[field] = value.clone(),
            }
        }
        json!({ "name": name, "common_name": format!("{name}.internal.example"), "placements": [placement] })
    });
    let all: Vec<Value> = std::iter::once(site.certificate()).chain(certificates).collect();
    site.host.write_manifest(&manifest(json!(all))).expect("the manifest is written");
    for (name, _, words) in &rows {
        let id = format!("{name}@1001");
        let event = journal::wait_event(&site.host, Kind::Trouble, &[&id, words]);
        event.unwrap_or_else(|error| panic!("{name}: no event: {error:#}"));
        let seen = site.host.wait_placement(&id, |placement| {
            let told = |trouble: &Trouble| trouble.cause.contains(words) && trouble.halt == Halt::Blocked;
            placement.trouble.as_ref().is_some_and(told)
        });
        seen.unwrap_or_else(|error| panic!("{name}: a person is needed: {error:#}"));
        let log = site.guest.read("/var/log/pinion-agent.log").expect("a log");
        let line = |line: &str| line.contains(&format!("certificate={name}")) && line.contains(words);
        assert!(log.lines().any(line), "{name}: the guest's log does not say it: {log}");
    }
    let names: Vec<&str> = rows.iter().map(|(name, ..)| *name).collect();
    let asked =
        site.host.pinion(&[&["ensure"], names.as_slice(), &["--timeout", "20s"]].concat()).expect("pinion runs");
    assert_eq!(asked.code(), 4, "{asked}");
    // Where only the telling is not allowed through a link, the pair itself is in its place.
    let installed = ["touch-link.crt", "touch-link.key"].map(|name| site.guest.path("/etc/ssl").join(name));
    let mut after = everything(&site.guest);
    after.retain(|path, _| !installed.contains(path));
    assert_eq!(after, before, "something was changed");
    site.serial().expect("the service in the same guest is as it was");
}

#[test]
fn what_no_manifest_can_say_is_reported_by_the_controller_and_does_not_reach_the_guest() {
    let site = Site::served().expect("the certificate is served");
    tempt(&site.guest);
    let before = everything(&site.guest);
    let good = |kind: &str| json!({ "path": format!("/etc/ssl/bad.{kind}") });
    for (field, asked, words) in [
        ("key", json!("/etc/docker/tls/../../cron.d/x"), "../../cron.d/x"),
        ("key", json!("/etc/ssl//x"), "/etc/ssl//x"),
        ("reload", json!({ "hook": "tell now" }), "tell now"),
        ("reload", json!({ "hook": "../../bin/sh" }), "../../bin/sh"),
        ("reload", json!({ "hook": "-rf" }), "-rf"),
        ("reload", json!({ "restart": "sshd.service --now" }), "sshd.service --now"),
        ("reload", json!({ "reload": "--force.service" }), "--force.service"),
        ("reload", json!({ "container": "web -v /:/host" }), "web -v /:/host"),
        ("reload", json!({ "container": "--all" }), "--all"),
        ("reload", json!({ "touch": "/etc/traefik/dynamic/../../shadow" }), "../../shadow"),
        ("reload", json!({ "swarm": { "service": "--force", "secrets": { "key": "k" } } }), "--force"),
    ] {
        let mut placement = json!({ "guest": 1001, "files": { "cert": good("crt"), "key": good("key") } });
        match field {
            "key" => placement["files"]["key"]["path"] = asked,
            field => placement[field] = asked,
        }
        let bad = json!({ "name": "bad", "common_name": "bad.internal.example", "placements": [placement] });
        site.host.write_manifest(&manifest(json!([site.certificate(), bad]))).expect("the manifest is written");
        let checked = site.host.pinion(&["manifest", "check"]).expect("pinion runs");
        assert!(checked.code() == 2 && checked.to_string().contains(words), "{words}: {checked}");
        let told = journal::wait_event(&site.host, Kind::Failed, &["The manifest on disk cannot be used", words]);
        told.unwrap_or_else(|error| panic!("{words}: {error:#}"));
        assert!(site.host.status().expect("it answers").placement("bad@1001").is_none(), "{words}");
    }
    assert_eq!(everything(&site.guest), before, "something was changed");
    site.serial().expect("the service is as it was");
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_names_and_paths_are_reported_in_the_guest() {
    use pb::reload::How;
    let (_fake, _ca, guest, link): (FakeController, _, Guest, _) = setup().await;
    tempt(&guest);
    let before = everything(&guest);
    let signal = |container: &str| pb::ContainerSignal { container: container.into(), signal: "HUP".into() };
    let bad_reloads = [
        (How::Hook("tell now".into()), "tell now"),
        (How::Hook("../../bin/sh".into()), "../../bin/sh"),
        (How::Hook("-rf".into()), "-rf"),
        (How::RestartUnit("sshd.service --now".into()), "sshd.service --now"),
        (How::ReloadUnit("--force.service".into()), "--force.service"),
        (How::Container("web -v /:/host".into()), "web -v /:/host"),
        (How::Signal(signal("--all")), "--all"),
        (How::Touch("/etc/traefik/dynamic/../../shadow".into()), "../../shadow"),
    ];
    let raw = || {
        let all = vec![spec("web", "/etc/ssl", None), spec("evil", "/etc/ssl", Some(1))];
        let mut raw = wire::write_to_agent(ToAgent::Desired(all));
        let Some(pb::to_agent::Message::Desired(desired)) = raw.message.take() else { panic!("a desired") };
        desired
    };
    let say = async |desired: pb::Desired, words: &str| {
        link.say_raw(pb::ToAgent { message: Some(pb::to_agent::Message::Desired(desired)) }).await;
        let told = wait::until_async(words, PATIENCE, async || {
            let log = guest.read("/var/log/pinion-agent.log").map_err(|error| format!("{error:#}"))?;
            let line = |line: &&str| line.contains("Cannot read a message of the controller") && line.contains(words);
            log.lines().find(line).map(drop).ok_or(log)
        });
        told.await.unwrap_or_else(|error| panic!("{words}: {error:#}"));
    };
    for (how, words) in bad_reloads {
        let mut desired = raw();
        desired.placements[1].reload = Some(pb::Reload { how: Some(how) });
        say(desired, words).await;
    }
    for path in ["/etc/docker/tls/../../cron.d/x", "etc/cron.d/x", "/etc/ssl//y", "/etc/ssl/./z"] {
        let mut desired = raw();
        desired.placements[1].files[0].path = Some(path.into());
        say(desired, path).await;
    }
    assert_eq!(everything(&guest), before, "something was changed");
}

/// Links that lead out, and what lies where they lead; a hook that may not be run, and would be noticed.
fn tempt(guest: &Guest) {
    for (path, content) in
        [("etc/shadow", "root:*::\n"), ("etc/cron.d/x", "# nothing\n"), ("etc/traefik/dynamic/a", "")]
    {
        guest.write(path, content).expect("a file");
    }
    for (link, to) in [
        ("/etc/ssl/relative", "../cron.d"),
        ("/etc/ssl/absolute", "/etc/cron.d"),
        ("/etc/ssl/around", "../ssl/relative/.."),
        ("/etc/ssl/linked", "../cron.d/x"),
        ("/etc/traefik/dynamic/link", "../../cron.d/x"),
    ] {
        symlink(to, guest.path(link)).expect("a link");
    }
    guest.write_hook("evil", "#!/bin/sh\necho told >>\"$PINION_ROOT/told\"\n").expect("a hook");
}

/// All that is in the guest but the agent's own state and log: each with its time of change and content.
fn everything(guest: &Guest) -> BTreeMap<PathBuf, (i64, i64, u32, Vec<u8>)> {
    let mut all = BTreeMap::new();
    let mut todo = vec![guest.root().to_owned()];
    let own = ["/var/lib/pinion-agent", "/var/log", "/run", "/srv"].map(|path| guest.path(path));
    while let Some(directory) = todo.pop() {
        for entry in fs::read_dir(&directory).expect("listed") {
            let path = entry.expect("an entry").path();
            let found = path.symlink_metadata().expect("there");
            if own.contains(&path) {
                continue;
            }
            let content = if found.is_file() { fs::read(&path).expect("read") } else { Vec::new() };
            if found.is_dir() {
                todo.push(path.clone());
            }
            // A directory's own time changes with whatever temporary file was made in it and removed again.
            let changed = if found.is_dir() { (0, 0) } else { (found.mtime(), found.mtime_nsec()) };
            all.insert(path, (changed.0, changed.1, found.mode(), content));
        }
    }
    all
}
