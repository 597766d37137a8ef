//! A template with the agent baked in: its clones are guests of their own, and nothing of the template is in them.

use std::thread;

use pinion_proto::stage::Stage;
use pinion_tests::lab::{
    Lab, Spec,
    installation::{Installation, LONG, pinion, status, wait_for},
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

fn serial(lab: &Lab, installation: &Installation, vmid: u32, stage: Stage) -> String {
    wait_for(lab, installation, &format!("web@{vmid} to be {stage}"), LONG, |status| {
        let placement = status.placement(&format!("web@{vmid}"))?;
        (placement.stage == stage).then(|| placement.serial.clone())?
    })
    .expect("reached")
}
