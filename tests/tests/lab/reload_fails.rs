//! nginx's reload fails under systemd, and is mended: what the operator reads, and what is served meanwhile.

use std::{fs, path::Path};

use pinion_proto::stage::Stage;
use pinion_tests::lab::{
    Lab, Spec,
    installation::{Installation, LONG, wait_for},
};
use serde_json::json;

use crate::transcript::Transcript;

#[test]
fn a_failed_reload_is_reported_with_its_cause_while_the_old_certificate_is_served() {
    let lab = Lab::up(vec![Spec::gateway()]).expect("the lab comes up");
    let manifest = json!({ "version": 1, "defaults": { "issuer": "embedded", "duration": "30d" }, "certificates": [
        { "name": "gateway", "common_name": "nginx.internal.example",
          "placements": [{ "guest": 101, "recipe": "nginx" }] } ] });
    let mut installation = Installation::install(&lab, &manifest, "").expect("installed");
    installation.start(&lab).expect("started");
    let served = |what: &str| {
        wait_for(&lab, &installation, what, LONG, |status| {
            let gateway = status.placement("gateway@101")?;
            (gateway.stage == Stage::Served && gateway.trouble.is_none()).then(|| gateway.serial.clone())?
        })
        .expect(what)
    };
    let old = served("the first certificate to be served");
    let mut told = Transcript::new(&lab);
    let date = told.on_host("date -u +%F").trim().to_owned();
    told.block();

    told.in_guest(101, "rm /run/nginx.pid && nginx -t 2>&1");
    let ensure = "pinion ensure gateway --renew --until served --timeout 20s; echo \"exit code $?\"";
    let told_once = told.on_host_aloud(ensure);
    assert!(told_once.contains("exit code 3"), "{told_once}");
    // Once when it came up, however often it is tried, and once at the end.
    assert_eq!(told_once.matches("/run/nginx.pid").count(), 2, "{told_once}");
    let status = told.on_host("pinion status --wide gateway");
    let events = told.on_host("pinion events | tail -n 8");
    let seen = told.on_host(LOOK);
    let failing = told.block();
    assert_eq!(seen.trim(), format!("serial={old}"), "the old one is still served");
    assert!(status.contains("served (waiting)") && status.contains(&old), "{status}");
    for words in [
        "reload nginx.service",
        // nginx's own words, from the guest's journal.
        "/run/nginx.pid",
        "the old files are back in place",
        "for the same reason",
        "127.0.0.1:443 serves the old certificate meanwhile",
        "by hand",
        "next try",
    ] {
        assert!(status.contains(words), "{words:?} in {status}");
    }
    assert!(events.contains("went back to its previous certificate") && events.contains("/run/nginx.pid"), "{events}");

    told.in_guest(101, "systemctl restart nginx");
    let new = served("the renewed certificate to be served by itself");
    assert_ne!(new, old);
    let status = told.on_host("pinion status --wide gateway");
    assert!(status.contains(&new) && !status.contains("waiting"), "{status}");
    let events = told.on_host("pinion events | tail -n 3");
    assert!(events.contains(&format!("gateway@101 is served (serial {new})")), "{events}");
    let seen = told.on_host(LOOK);
    assert_eq!(seen.trim(), format!("serial={new}"));

    let text = format!(
        "## A reload that fails, and is mended\n\n\
         Made in [the lab](lab.md) on {date}, by `cargo test -p pinion-tests --test lab reload_fails`, which asserts on what counts \
         in it\nand leaves it in `target/lab-reload.md`: a real nginx under systemd in an unprivileged container. Somebody has tidied \
         `/run`; nginx\ngoes on serving, `nginx -t` is content, and only `nginx -s reload` misses the file.\n\n{failing}\n\
         The cause is nginx's own, from the guest's journal. The stage says what is served: the old certificate, and until when. \
         Then, in the\nguest, one command that has nothing to do with Pinion, which continues by itself at its next try:\n\n{}",
        told.block()
    );
    println!("{text}");
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/lab-reload.md");
    fs::write(&target, text).unwrap_or_else(|error| panic!("write {}: {error}", target.display()));
}

/// What a client sees.
const LOOK: &str = "openssl s_client -connect 10.0.0.101:443 -servername nginx.internal.example </dev/null 2>/dev/null \
                    | openssl x509 -noout -serial";
