//! A template with the agent baked in: its clones are guests of their own, and nothing of the template is in them.

use std::{fs, thread};

use pinion_proto::stage::Stage;
use pinion_tests::{
    lab::{
        Lab, Role, Spec,
        installation::{Installation, LONG, pinion, status, wait_for},
        spec::hwaddr,
    },
    process::Finished,
    steps,
};
use serde_json::{Value, json};

const CLONES: [u32; 2] = [201, 202];

fn manifest(guests: &[u32]) -> Value {
    let placements: Vec<_> = guests.iter().map(|guest| json!({ "guest": guest, "recipe": "nginx" })).collect();
    json!({ "version": 1, "defaults": { "issuer": "embedded", "duration": "24h" }, "certificates": [
        { "name": "web", "common_name": "nginx.internal.example", "placements": placements },
    ] })
}

#[test]
fn two_clones_of_a_template_are_two_guests() {
    let mut lab = Lab::up(vec![Spec::gateway()]).expect("the lab comes up");
    let mut installation = Installation::install(&lab, &manifest(&[101]), "").expect("installed");
    installation.start(&lab).expect("started");
    let template = serial(&lab, &installation, 101, Stage::Served);

    // What an operator does: nothing is wanted of it any more, its agent stops, it is sealed and made a template.
    installation.write_manifest(&lab, &manifest(&[])).expect("written");
    let refused = lab.exec(101, &["pinion-agent", "seal"]).expect("it runs");
    assert_eq!(refused.code(), 4, "its agent runs: {refused}");
    lab.exec(101, &["systemctl", "stop", "pinion-agent"]).and_then(|done| done.succeeded()).expect("stopped");
    // The pair that nginx had before Pinion is somebody's, and every copy would have it.
    let refused = lab.exec(101, &["pinion-agent", "seal"]).expect("it runs");
    assert!(refused.code() == 4 && refused.stderr.contains("/var/lib/pinion-agent/replaced"), "{refused}");
    lab.exec(101, &["rm", "-r", "/var/lib/pinion-agent/replaced"]).and_then(|done| done.succeeded()).expect("removed");
    lab.exec(101, &["pinion-agent", "seal"]).and_then(|done| done.succeeded()).expect("sealed");
    lab.stop(101).expect("stopped");
    lab.make_template(101).expect("a template");

    for (vmid, address) in CLONES.into_iter().zip(["10.0.0.201/24", "10.0.0.202/24"]) {
        lab.clone_guest(101, vmid, &format!("web-{vmid}"), address).expect("cloned");
        lab.configure(vmid, "template", None).expect("a guest");
    }
    installation.write_manifest(&lab, &manifest(&CLONES)).expect("written");
    thread::scope(|scope| {
        for vmid in CLONES {
            let lab = &lab;
            scope.spawn(move || {
                lab.start(vmid).expect("started");
                // A guest's build script: nginx has no certificate to start with until Pinion brings one.
                let waited = ["pinion-agent", "await", "web", "--until", "installed", "--timeout", "100s"];
                lab.exec(vmid, &waited).and_then(|done| done.succeeded()).expect("installed");
                lab.exec(vmid, &["systemctl", "restart", "nginx"]).and_then(|done| done.succeeded()).expect("nginx");
            });
        }
    });
    let serials = CLONES.map(|vmid| serial(&lab, &installation, vmid, Stage::Served));
    assert!(serials[0] != serials[1] && !serials.contains(&template), "{serials:?}, and the template's {template}");
    let list = pinion(&lab, "guest list").expect("it runs").stdout;
    for vmid in CLONES {
        assert!(list.lines().any(|line| line.starts_with(&vmid.to_string()) && line.contains("number 1")), "{list}");
        let found = lab.exec(vmid, &["grep", "-rlis", &template, "/etc", "/var/lib", "/root"]).expect("it runs").stdout;
        assert_eq!(found, "", "the template's serial number is in guest {vmid}");
    }
    let told = status(&lab).expect("a status");
    assert!(CLONES.iter().all(|vmid| told.is_linked(&vmid.to_string())));
    println!("{}", pinion(&lab, "events --last 100").expect("it runs").stdout);
}

/// The number that packaging/proxmox/README.md gives a template, and that of its clone.
const TEMPLATE: u32 = 9000;
const CLONE: u32 = 120;

const README: &str = "../packaging/proxmox/README.md";

/// Types a command on the lab's host, in the project's directory.
fn type_line(lab: &Lab, line: &str) {
    let project = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let typed = lab.run(&["sh", "-c", &format!("cd {project} && {line}")]).and_then(Finished::succeeded);
    typed.unwrap_or_else(|error| panic!("{line}: {error:#}"));
}

/// The lab's `pct` has no `set`, `shutdown`, `template` and `clone`: the lab does those itself.
#[test]
fn the_documents_commands_make_a_template_and_a_clone_that_is_served() {
    let mut spec = Spec::container(90, "template", Role::Gateway);
    spec.vmid = TEMPLATE;
    spec.nets[0].hwaddr = hwaddr(TEMPLATE, 0);
    let mut lab = Lab::up(vec![spec]).expect("the lab comes up");
    let mut installation = Installation::install(&lab, &manifest(&[]), "").expect("installed");
    installation.start(&lab).expect("started");

    // The storage for snippets, which Proxmox has.
    fs::create_dir_all(lab.path("/var/lib/vz/snippets")).expect("a directory");
    let wake = steps::commands(README, "`pinion-wake`: the hookscript").expect("commands");
    type_line(&lab, &wake[0]);
    assert!(wake[1].starts_with("pct set 101 --hookscript local:snippets/pinion-wake"), "{wake:?}");
    lab.configure(TEMPLATE, "hookscript", Some("local:snippets/pinion-wake")).expect("set");

    let bake = steps::commands(README, "`bake-agent`: the agent in a template").expect("commands");
    let end = bake.iter().position(|line| line.starts_with("pct shutdown 9000 && pct template 9000")).expect("its end");
    for line in &bake[..end] {
        type_line(&lab, line);
    }
    lab.stop(TEMPLATE).expect("stopped");
    lab.make_template(TEMPLATE).expect("a template");

    let clone = bake.iter().position(|line| line.starts_with("pct clone 9000 120 ")).expect("it is cloned");
    lab.clone_guest(TEMPLATE, CLONE, "web-3", "10.0.0.120/24").expect("cloned");
    lab.configure(CLONE, "template", None).expect("a guest");
    installation.write_manifest(&lab, &manifest(&[CLONE])).expect("written");
    for line in &bake[clone + 1..] {
        type_line(&lab, line);
    }
    serial(&lab, &installation, CLONE, Stage::Served);
    let events = pinion(&lab, "events --last 100").expect("it runs").stdout;
    assert!(!events.contains("is installed and runs"), "the agent was in it:\n{events}");
}

fn serial(lab: &Lab, installation: &Installation, vmid: u32, stage: Stage) -> String {
    wait_for(lab, installation, &format!("web@{vmid} to be {stage}"), LONG, |status| {
        let placement = status.placement(&format!("web@{vmid}"))?;
        (placement.stage == stage).then(|| placement.serial.clone())?
    })
    .expect("reached")
}
