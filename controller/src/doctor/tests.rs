//! What is found in a directory that stands for a host, and from what the controller says.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, sync::Arc, time::Duration};

use pinion_proto::{
    clock::{Clock, SystemClock},
    exit::Exit,
    failure::Failure,
    stage::{Halt, Trouble, Validity},
};
use serde_json::json;

use super::{Answers, Level, Report, examine, report::Area};
use crate::{
    admin::protocol::{IdentityStatus, PlacementStatus, Status},
    config::Config,
};

/// A host in a directory, as this test's user would install it.
fn host() -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a directory");
    let make = |path: &str, mode: u32| {
        let path = root.path().join(path);
        fs::create_dir_all(&path).expect("made");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("set");
    };
    make("etc/pinion", 0o755);
    make("var/lib/pinion", 0o700);
    make("run/pinion", 0o755);
    let toml = "listen = \"127.0.0.1:7443\"\n";
    fs::write(root.path().join("etc/pinion/controller.toml"), toml).expect("written");
    root
}

fn silent() -> Answers {
    let status = Err(Failure::new(Exit::Unreachable, "the controller can't be reached"));
    Answers { status, issuers: None, identities: None, guests: None }
}

fn answers(placements: Vec<PlacementStatus>, guests: serde_json::Value) -> Answers {
    let status = json!({ "version": env!("CARGO_PKG_VERSION"), "notes": [], "placements": [], "guests": guests });
    let mut status: Status = serde_json::from_value(status).expect("a status");
    status.placements = placements;
    Answers { status: Ok(Box::new(status)), issuers: Some(Vec::new()), identities: Some(Vec::new()), guests: None }
}

async fn found(root: &Path, answers: &Answers) -> Report {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    examine(root, &Config::load(root), answers, &clock).await
}

/// The findings of an area that are as bad, with their remedies.
fn told(report: &Report, area: Area, level: Level) -> String {
    let these = report.findings.iter().filter(|finding| finding.area == area && finding.level == level);
    these.map(|one| format!("{} [{}]\n", one.message, one.remedy.clone().unwrap_or_default())).collect()
}

#[tokio::test]
async fn a_controller_that_does_not_answer_is_the_only_problem_of_a_good_host() {
    let root = host();
    let report = found(root.path(), &silent()).await;
    let problems: Vec<_> = report.findings.iter().filter(|finding| finding.level == Level::Problem).collect();
    assert!(!report.ok && problems.len() == 1, "{problems:#?}");
    assert!(problems[0].message.starts_with("the controller can't be reached"), "{problems:#?}");
    assert!(told(&report, Area::Network, Level::Skipped).contains("are not dialled"));
    assert!(told(&report, Area::Files, Level::Good).contains("the owners and modes that they should have"));
}

#[tokio::test]
async fn a_wrong_configuration_is_told_with_its_place_and_the_rest_is_looked_at() {
    let root = host();
    fs::write(root.path().join("etc/pinion/controller.toml"), "lisen = 1\n").expect("written");
    let report = found(root.path(), &silent()).await;
    let problems = told(&report, Area::Configuration, Level::Problem);
    assert!(problems.contains("controller.toml:1:1") && problems.contains("did you mean `listen`"), "{problems}");
    // However full this machine is.
    assert!(report.findings.iter().any(|finding| finding.area == Area::Disk), "{report:#?}");
}

#[tokio::test]
async fn what_lets_others_in_is_told_with_the_command_that_closes_it() {
    let root = host();
    let open = |path: &str, mode| {
        fs::set_permissions(root.path().join(path), fs::Permissions::from_mode(mode)).expect("set");
    };
    for (path, good, bad) in [
        ("etc/pinion", 0o755, 0o775),
        ("etc/pinion/controller.toml", 0o644, 0o666),
        ("var/lib/pinion", 0o700, 0o750),
        ("run/pinion", 0o755, 0o777),
    ] {
        open(path, bad);
        let problems = told(&found(root.path(), &silent()).await, Area::Files, Level::Problem);
        let shown = root.path().join(path).display().to_string();
        assert!(problems.contains(&format!("{shown} has mode {bad:04o}")), "{path}: {problems}");
        assert!(problems.contains(&format!("run `chmod {good:04o} {shown}`")), "{path}: {problems}");
        open(path, good);
    }
    // A file where a socket should be.
    fs::write(root.path().join("run/pinion/controller.sock"), "").expect("written");
    let problems = told(&found(root.path(), &silent()).await, Area::Files, Level::Problem);
    assert!(problems.contains("controller.sock is no socket"), "{problems}");
}

#[tokio::test]
async fn a_state_of_another_user_than_the_controllers_is_told() {
    let root = host();
    // A user that this test's directories cannot belong to.
    let number = rustix::process::geteuid().as_raw() + 1;
    fs::write(root.path().join("etc/passwd"), format!("pinion:x:{number}:{number}::/:\n")).expect("written");
    let problems = told(&found(root.path(), &silent()).await, Area::Files, Level::Problem);
    assert!(
        problems.contains("var/lib/pinion belongs to") && problems.contains("run `chown -h pinion: "),
        "{problems}"
    );
    fs::write(root.path().join("etc/passwd"), "root:x:0:0::/:\n").expect("written");
    let problems = told(&found(root.path(), &silent()).await, Area::Files, Level::Problem);
    assert!(problems.contains("There is no user pinion") && problems.contains("systemd-sysusers"), "{problems}");
}

#[tokio::test]
async fn placements_and_guests_are_judged_by_what_the_controller_says() {
    let root = host();
    let guest = |number: u32, more: serde_json::Value| {
        let mut guest = json!({ "guest": number.to_string(), "name": null, "linked": false, "since": "2026-11-30T08:00:00Z",
            "agent_version": null, "kind": null, "node": null, "running": null, "lock": null });
        guest.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        guest
    };
    let guests = json!([
        guest(101, json!({ "linked": true, "agent_version": "0.0.9" })),
        guest(108, json!({ "linked": true, "agent_version": "99.0.0" })),
        guest(102, json!({ "running": false })),
        guest(103, json!({ "running": true })),
        guest(104, json!({ "since": null, "kind": "lxc" })),
        guest(105, json!({ "since": null })),
        guest(106, json!({ "running": true, "since": SystemClock.now() - Duration::from_secs(60) })),
        guest(107, json!({ "running": true, "since": SystemClock.now() - Duration::from_secs(91) })),
    ]);
    let report = found(root.path(), &answers(Vec::new(), guests)).await;
    let problems = told(&report, Area::Guests, Level::Problem);
    for part in [
        "Guest 103 is away",
        "Guest 107 is away",
        "Guest 104 was never linked. [run `pinion guest enroll 104`",
        "Guest 105 was never linked. [run `pinion token create --guest 105`",
    ] {
        assert!(problems.contains(part), "{part}: {problems}");
    }
    assert!(!problems.contains("106") && told(&report, Area::Guests, Level::Note).contains("Guest 106 is away"));
    assert!(!problems.contains("102") && told(&report, Area::Guests, Level::Note).contains("Stopped, or on another"));
    assert!(told(&report, Area::Guests, Level::Good).contains("Linked: 101, 108."));
    let versions = told(&report, Area::Programs, Level::Note);
    assert!(versions.contains("Agents of version 0.0.9 run in 101. [on Proxmox, Pinion upgrades them"), "{versions}");
    assert!(versions.contains("Agents of version 99.0.0 run in 108. [they are newer"), "{versions}");

    let placement = json!({ "placement": "web@101", "certificate": "web", "guest": "101", "guest_name": null,
        "stage": "served", "goal": "served", "generation": 1, "incoming": null, "serial": "0A", "names": null,
        "not_before": null, "not_after": null, "renew_at": null, "issuer": "ca", "retired": false, "left_behind": [],
        "trouble": null });
    let placement: PlacementStatus = serde_json::from_value(placement).expect("a status");
    let (attempt, cause, remedy) = ("reload".into(), "exit 1".into(), String::new());
    let trouble = Trouble { halt: Halt::Blocked, attempt, cause, remedy, retry_at: None };
    for (placement, level) in [
        (placement.clone(), Level::Good),
        (PlacementStatus { trouble: Some(trouble), ..placement.clone() }, Level::Problem),
        (PlacementStatus { validity: Some(Validity::Expired), ..placement }, Level::Problem),
    ] {
        let report = found(root.path(), &answers(vec![placement], json!([]))).await;
        let said = told(&report, Area::Controller, level);
        assert!(said.contains("of 1 placement good"), "{level:?}: {report:#?}");
        assert!(level == Level::Good || said.contains("[run `pinion explain web@101`]"), "{said}");
    }
}

#[tokio::test]
async fn a_locked_guest_and_an_old_controller_need_a_person() {
    let root = host();
    let locked = json!({ "guest": "101", "name": null, "kind": null, "node": null, "running": null, "lock": null,
        "generation": 1, "joined_at": null, "issued_at": null, "hostname": "a", "locked": "it was cloned" });
    let locked: IdentityStatus = serde_json::from_value(locked).expect("an identity");
    let mut answers = Answers { identities: Some(vec![locked]), ..answers(Vec::new(), json!([])) };
    if let Ok(status) = &mut answers.status {
        status.version = "0.0.1".into();
    }
    let report = found(root.path(), &answers).await;
    assert!(told(&report, Area::Guests, Level::Problem).contains("Guest 101 is locked: it was cloned."));
    assert!(told(&report, Area::Programs, Level::Problem).contains("systemctl restart pinion-channel pinion"));
}
