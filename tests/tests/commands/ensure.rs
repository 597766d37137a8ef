//! `pinion ensure`, the one call of scripts on the host: what it shows, what it means, and how it ends.

use pinion_tests::{
    guest::Guest,
    host::{Host, HostOptions},
    terminal,
    tls_server::TlsServer,
    wait::{self, PATIENCE},
};
use serde_json::{Value, json};

/// A certificate of files in these guests.
fn files(name: &str, guests: &[u32]) -> Value {
    let placements: Vec<_> = guests.iter().map(|guest| json!({ "guest": guest, "recipe": "files" })).collect();
    json!({ "name": name, "common_name": format!("{name}.internal.example"), "placements": placements })
}

fn host(certificates: &Value) -> Host {
    Host::start(&HostOptions::embedded(certificates)).expect("a host")
}

fn serial(host: &Host, placement: &str) -> Option<String> {
    host.status().expect("a status").placement(placement).expect("it is in the status").serial.clone()
}

#[test]
fn on_a_terminal_the_progress_is_live_and_the_exit_code_is_right() {
    let host = host(&json!([files("web", &[1001]), files("mail", &[1001])]));
    let _guest = Guest::join(&host, 1001).expect("a guest");
    let mut command = host.command(&["ensure", "--renew", "--timeout", "20s"]).expect("pinion is built");
    let finished = terminal::run(&mut command, PATIENCE).expect("it ends");
    assert_eq!(finished.code(), 0, "{finished}");
    // A line for each, drawn anew in place (ECMA-48: erase in line, cursor up).
    assert!(finished.stdout.contains("\x1b[2K") || finished.stdout.contains("\x1b[K"), "{:?}", finished.stdout);
    for name in ["web@1001", "mail@1001"] {
        let serial = serial(&host, name).expect("it is there");
        assert!(finished.stdout.contains(name) && finished.stdout.contains(&serial), "{:?}", finished.stdout);
    }
    assert!(finished.stdout.contains("2 of 2 reached"), "{:?}", finished.stdout);

    let mut command = host.command(&["ensure", "wbe"]).expect("pinion is built");
    assert_eq!(terminal::run(&mut command, PATIENCE).expect("it ends").code(), 6);
}

#[test]
fn elsewhere_the_progress_is_plain_lines_on_standard_error() {
    let host = host(&json!([files("web", &[1001])]));
    let _guest = Guest::join(&host, 1001).expect("a guest");
    let finished = host.pinion(&["ensure", "--renew", "--timeout", "20s"]).and_then(|f| f.succeeded()).expect("done");
    let serial = serial(&host, "web@1001").expect("it is there");
    assert!(finished.stdout.is_empty() && !finished.stderr.contains('\x1b'), "{finished}");
    assert!(finished.stderr.lines().any(|line| line == format!("web@1001: reloaded (serial {serial})")), "{finished}");
    assert!(finished.stderr.ends_with("1 of 1 reached\n"), "{finished}");
}

#[test]
fn force_is_another_word_for_renew_and_guest_and_names_choose() {
    let host = host(&json!([files("web", &[1001, 1002]), files("mail", &[1001])]));
    let _guests = [1001, 1002].map(|vmid| Guest::join(&host, vmid).expect("a guest"));
    host.ensure(&[], "reloaded").expect("everything is there");
    let all = || ["web@1001", "web@1002", "mail@1001"].map(|name| serial(&host, name).expect("it is there"));
    let changed = |arguments: &[&str]| {
        let before = all();
        let arguments = [&["ensure", "--timeout", "20s"], arguments].concat();
        host.pinion(&arguments).and_then(|f| f.succeeded()).expect("it is done");
        let after = all();
        [0, 1, 2].map(|index| before[index] != after[index])
    };
    assert_eq!(changed(&[]), [false, false, false]);
    assert_eq!(changed(&["--force", "web"]), [true, true, false]);
    assert_eq!(changed(&["--renew", "web@1001"]), [true, false, false]);
    assert_eq!(changed(&["--renew", "--guest", "1001"]), [true, false, true]);
    assert_eq!(changed(&["--force", "--guest", "1002", "web"]), [false, true, false]);
    assert_eq!(changed(&["--force"]), [true, true, true]);
}

#[test]
fn until_each_stage_returns_when_it_is_reached_and_not_before() {
    let host = host(&json!([]));
    let guest = Guest::join(&host, 1001).expect("a guest");
    let server = TlsServer::install(&guest, "/etc/ssl/web.crt", "/etc/ssl/web.key").expect("tls-server is built");
    let mut placement = server.placement(&guest, "restart");
    placement["validate"] = json!({ "hook": "look-at-it" });
    let certificates = json!([{ "name": "web", "common_name": "web.internal.example", "placements": [placement] }]);
    host.write_manifest(&json!({ "version": 1, "certificates": certificates })).expect("written");
    let until = |stage: &str, timeout: &str| {
        let finished = host.pinion(&["ensure", "web", "--until", stage, "--timeout", timeout]).expect("it runs");
        (finished.code(), finished)
    };
    // Why is known when the guest has tried.
    let not_reached = |stage: &str, why: &str| {
        wait::until(&format!("{why} to be named"), PATIENCE, || {
            let (code, said) = until(stage, "1s");
            assert_eq!(code, 3, "{said}");
            if said.stderr.contains(why) { Ok(()) } else { Err(said.to_string()) }
        })
        .expect("it is named");
    };
    // Without its check nothing may be touched; the certificate itself is there.
    let (code, said) = until("issued", "20s");
    assert_eq!(code, 0, "{said}");
    guest.pinion_agent(&["await", "web", "--until", "issued"]).and_then(|f| f.succeeded()).expect("the guest has it");
    assert_eq!(serial(&host, "web@1001"), None, "nothing is installed");
    not_reached("installed", "look-at-it");
    guest.write_hook("look-at-it", "#!/bin/sh\nexit 0\n").expect("written");
    let (code, said) = until("installed", "20s");
    assert_eq!(code, 0, "{said}");
    // Nobody runs it, so nobody can be told.
    not_reached("reloaded", "tls-server.service");
    server.unit().start().expect("it starts");
    let (code, said) = until("reloaded", "20s");
    assert_eq!(code, 0, "{said}");
    let (code, said) = until("served", "20s");
    assert_eq!(code, 0, "{said}");
    let (code, said) = until("finished", "20s");
    assert!(code == 2 && said.stderr.contains("served"), "{said}");
}

#[test]
fn it_ends_with_3_when_the_guest_is_away_and_says_so() {
    let host = host(&json!([files("web", &[1001])]));
    let finished = host.pinion(&["ensure", "--timeout", "1s"]).expect("it runs");
    assert_eq!(finished.code(), 3, "{finished}");
    assert!(finished.stderr.contains("web@1001: pending: waiting") && finished.stderr.contains("1001"), "{finished}");
    assert!(finished.stderr.contains("keeps trying"), "{finished}");
}

#[test]
fn it_ends_with_4_when_one_needs_a_person_and_the_others_are_reached() {
    let mut outside = files("outside", &[1001]);
    outside["placements"][0]["files"] =
        json!({ "fullchain": { "path": "/srv/tls/a.crt" }, "key": { "path": "/srv/tls/a.key" } });
    let host = host(&json!([outside, files("web", &[1001])]));
    let _guest = Guest::join(&host, 1001).expect("a guest");
    let finished = host.pinion(&["ensure", "--timeout", "25s"]).expect("it runs");
    assert_eq!(finished.code(), 4, "{finished}");
    assert!(finished.stderr.contains("outside@1001") && finished.stderr.contains("/srv/tls"), "{finished}");
    assert!(finished.stderr.contains("1 of 2 reached"), "{finished}");
    host.pinion(&["ensure", "web"]).and_then(|f| f.succeeded()).expect("that one is fine");

    let finished = host.pinion(&["ensure", "--timeout", "25s", "--json"]).expect("it runs");
    let document: Value = serde_json::from_str(&finished.stdout).expect("stdout is one JSON document");
    assert_eq!((finished.code(), &document["exit"]), (4, &json!(4)));
    let lines = document["placements"].as_array().expect("a list");
    let of = |name: &str| lines.iter().find(|line| line["placement"] == name).expect("it is in the list");
    assert_eq!((&of("web@1001")["reached"], &of("outside@1001")["reached"]), (&json!(true), &json!(false)));
    assert_eq!(of("outside@1001")["trouble"]["halt"], "blocked");
    assert_eq!(of("web@1001")["serial"].as_str(), serial(&host, "web@1001").as_deref());
}

#[test]
fn it_ends_with_5_without_a_controller_and_with_6_for_an_unknown_name() {
    let mut host = host(&json!([files("web", &[1001])]));
    for arguments in [&["ensure", "wbe"][..], &["ensure", "web@1002"], &["ensure", "web", "--guest", "gateway"]] {
        let finished = host.pinion(arguments).expect("it runs");
        let unknown = arguments.last().copied().unwrap_or_default();
        assert!(finished.code() == 6 && finished.stderr.contains(unknown), "{finished}");
    }
    host.stop().expect("the controller stops");
    let finished = host.pinion(&["ensure", "web"]).expect("it runs");
    assert!(finished.code() == 5 && finished.stderr.contains("controller.sock"), "{finished}");
}
