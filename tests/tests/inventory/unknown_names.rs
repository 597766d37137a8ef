//! What a manifest names and nobody knows is said before it is in force, with what was probably meant.

use std::fs;

use serde_json::{Value, json};

use crate::proxmox_files::{Pve, host};

#[test]
fn guests_and_recipes_that_nobody_knows_are_said_with_what_was_probably_meant() {
    let mut host = host(&[("web", 101)]);
    let _pve = Pve::for_host(&host);
    host.start_again().expect("the controller starts");
    let placement = |guest: Value, recipe: &str| json!({ "guest": guest, "recipe": recipe });
    let placements =
        json!([placement("gatway".into(), "nginx"), placement(1006.into(), "nginx"), placement(101.into(), "ngnix")]);
    let manifest = json!({ "version": 1, "certificates": [
        { "name": "web", "common_name": "web.internal.example", "placements": placements }] });
    let tried = host.root().join("tried.json");
    fs::write(&tried, manifest.to_string()).expect("written");
    let file = tried.display().to_string();
    let checked = host.pinion(&["manifest", "check", &file]).expect("it runs");
    let planned = host.pinion(&["plan", &file]).expect("it runs");
    for words in [
        "named gatway, which web names; did you mean `gateway`?",
        "lists no guest 1006, which web names; did you mean 1001 (docker)?",
        "no recipe `ngnix` is shipped, and no guest is known to have it, but web names it; did you mean `nginx`?",
    ] {
        assert!(checked.stderr.contains(words), "{checked}");
        assert!(planned.stdout.contains(words), "{planned}");
    }
    assert_eq!((checked.code(), planned.code()), (0, 0), "they are warnings");

    // Without a controller less is known, and nothing fails for it.
    host.stop().expect("the controller stops");
    let checked = host.pinion(&["manifest", "check", &file]).expect("it runs");
    assert!(checked.code() == 0 && !checked.to_string().contains("warning"), "{checked}");
}
