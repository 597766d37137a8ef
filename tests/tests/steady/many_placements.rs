//! Several placements and guests: each goes its own way, and each is found by the name it goes by.

use std::{collections::BTreeMap, fs};

use pinion_proto::stage::Stage;
use pinion_tests::{
    guest::{Guest, GuestOptions},
    host::{Host, HostOptions},
    openssl,
    site::manifest,
    wait::{self, PATIENCE},
};
use serde_json::{Value, json};

#[test]
fn a_slow_hook_delays_no_other_placement() {
    let host = Host::start(&HostOptions::default()).expect("a host");
    let (here, there) = (Guest::join(&host, 1001).expect("a guest"), Guest::join(&host, 1002).expect("a guest"));
    // It ends when the file goes, at the latest with the guest's directory.
    here.write_hook("slow", "#!/bin/sh\nwhile [ -e \"$PINION_ROOT/hold\" ]; do sleep 0.05; done\n").expect("a hook");
    here.write_hook("quick", "#!/bin/sh\nexit 0\n").expect("a hook");
    here.write("hold", "").expect("a file");
    let places = |slow_first: bool| {
        let mut all = vec![
            placed("slow", json!(1001), Some("slow")),
            placed("quick", json!(1001), Some("quick")),
            placed("plain", json!(1001), None),
            placed("elsewhere", json!(1002), None),
        ];
        if !slow_first {
            all.reverse();
        }
        manifest(all.into())
    };
    host.write_manifest(&places(true)).expect("the manifest is written");
    host.wait_placement("slow@1001", |placement| placement.stage == Stage::Installed).expect("its hook hangs");

    let others = ["quick", "plain", "elsewhere"];
    for round in 0..3 {
        host.renew(&others, "served").unwrap_or_else(|error| panic!("round {round}: {error:#}"));
    }
    host.write_manifest(&places(false)).expect("the manifest is written");
    host.ensure(&others, "served").expect("a change of the manifest is taken");
    let awaited = here.pinion_agent(&["await", "quick", "plain", "--until", "reloaded", "--timeout", "10s"]);
    assert_eq!(awaited.expect("pinion-agent runs").code(), 0, "in the guest nobody is held up either");
    let status = host.status().expect("the controller answers");
    assert_eq!(status.placement("slow@1001").map(|placement| placement.stage), Some(Stage::Installed), "{status:?}");
    let generations: Vec<_> =
        ["slow@1001", "quick@1001", "plain@1001", "elsewhere@1002"].map(|name| generation(&host, name)).into();
    assert_eq!(generations, [1, 4, 4, 4]);

    fs::remove_file(here.path("/hold")).expect("the hook is let go");
    host.ensure(&["slow"], "reloaded").expect("it comes to its end");
    assert_eq!(generation(&host, "slow@1001"), 1);
    drop(there);
}

#[test]
fn a_guest_can_be_named_by_its_name() {
    let options =
        HostOptions { guests: BTreeMap::from([("gateway".to_owned(), 1001)]), ..HostOptions::embedded(&json!([])) };
    let host = Host::start(&options).expect("a host");
    let token = host.token("gateway").expect("a token by name");
    let mut guest = Guest::prepare("1001", &GuestOptions::default()).expect("a guest");
    guest.join_with(&token).and_then(pinion_tests::process::Finished::succeeded).expect("joined");
    guest.start().expect("started");
    guest.wait_linked(&host).expect("linked");
    host.write_manifest(&manifest(json!([placed("web", json!("gateway"), None)]))).expect("the manifest is written");
    host.ensure(&["web"], "served").expect("it is there");
    let held = host.pinion(&["ensure", "web@1001", "--guest", "gateway"]).expect("pinion runs");
    assert_eq!(held.code(), 0, "{held}");
    let status = host.pinion(&["status", "--guest", "gateway"]).expect("pinion runs").succeeded().expect("a status");
    assert!(status.stdout.contains("web@1001") && status.stdout.contains("gateway"), "{status}");
    assert_eq!(host.pinion(&["status", "--guest", "nobody"]).expect("pinion runs").code(), 6);

    // The same guest by its number is the same placement.
    let generation_before = generation(&host, "web@1001");
    host.write_manifest(&manifest(json!([placed("web", json!(1001), None)]))).expect("the manifest is written");
    host.ensure(&["web"], "served").expect("it is there");
    assert_eq!(generation(&host, "web@1001"), generation_before);

    // A name that nobody bears yet waits for somebody to bear it.
    host.write_manifest(&manifest(json!([placed("web", json!("portal"), None)]))).expect("the manifest is written");
    let asked = host.pinion(&["ensure", "web", "--timeout", "1s"]).expect("pinion runs");
    assert!([3, 4].contains(&asked.code()) && asked.stderr.contains("portal"), "{asked}");
}

#[test]
fn the_host_itself_is_a_place_like_any_other() {
    let host = Host::start(&HostOptions::default()).expect("a host");
    let mut own = Guest::prepare("host", &GuestOptions::default()).expect("the host's own agent");
    own.join_with(&host.token("host").expect("a token"))
        .and_then(pinion_tests::process::Finished::succeeded)
        .expect("ok");
    own.start().expect("started");
    own.wait_linked(&host).expect("linked");
    let guest = Guest::join(&host, 1001).expect("a guest");
    let mut certificate = placed("archive", json!(1001), None);
    let mut here = certificate["placements"][0].clone();
    here.as_object_mut().expect("an object").remove("guest");
    here["host"] = true.into();
    certificate["placements"].as_array_mut().expect("a list").push(here);
    host.write_manifest(&manifest(json!([certificate]))).expect("the manifest is written");
    host.ensure(&[], "served").expect("both are there");
    let serial = |place: &Guest| openssl::serial(&place.read("/etc/ssl/archive.crt").expect("a file")).expect("a leaf");
    let status = host.status().expect("the controller answers");
    for (name, place) in [("archive@host", &own), ("archive@1001", &guest)] {
        let told = status.placement(name).and_then(|placement| placement.serial.clone());
        assert_eq!(told, Some(serial(place)), "{name}");
        let pair = openssl::is_pair(&place.path("/etc/ssl/archive.crt"), &place.path("/etc/ssl/archive.key"));
        assert!(pair.expect("both can be read"), "{name}");
    }
    assert_ne!(serial(&own), serial(&guest), "each place has a key of its own");
    let before = serial(&guest);
    let renewed = host.pinion(&["ensure", "--renew", "--guest", "host"]).expect("pinion runs");
    assert_eq!(renewed.code(), 0, "{renewed}");
    assert_eq!((generation(&host, "archive@host"), serial(&guest)), (2, before));

    own.stop().expect("the host's agent stops");
    wait::until("the host's agent to be away", PATIENCE, || match host.status() {
        Ok(status) if !status.is_linked("host") => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .expect("it is told");
    host.renew(&["archive@1001"], "served").expect("the guest goes on");
}

fn placed(name: &str, guest: Value, hook: Option<&str>) -> Value {
    let mut placement = json!({ "guest": guest, "files": {
        "cert": { "path": format!("/etc/ssl/{name}.crt") }, "key": { "path": format!("/etc/ssl/{name}.key") },
    } });
    if let Some(hook) = hook {
        placement["reload"] = json!({ "hook": hook });
    }
    json!({ "name": name, "common_name": format!("{name}.internal.example"), "placements": [placement] })
}

fn generation(host: &Host, name: &str) -> u64 {
    let status = host.status().expect("the controller answers");
    status.placement(name).and_then(|placement| placement.generation).expect("it is installed")
}
