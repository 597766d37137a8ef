//! An operator's own recipe: looked at, dropped into a directory, used.

use pinion_tests::{
    guest::{Guest, GuestOptions},
    tls_server::TlsServer,
};
use serde_json::{Value, json};

use crate::fixture::{Place, goes_round, placement};

const GOOD: &str = "\
# The cache. It is ours.
reload = { reload = \"tls-server.service\" }

[files.fullchain]
path = \"/etc/ssl/cache/{common_name}.crt\"

[files.key]
path = \"/etc/ssl/cache/{common_name}.key\"

[files.ca]
path = \"/etc/ssl/cache/ca.crt\"
";

const BAD: &str = "\
reload = { restart = \"sshd.service\" }
escalte = [\"restart\"]

[files.key]
path = \"/etc/cron.d/{common_name}\"
mode = \"0644\"
";

#[test]
fn recipe_check_reports_all_mistakes_and_a_correct_recipe_is_used() {
    // What the recipe itself names is allowed only if the guest's own lists have it.
    let options = GuestOptions { complete: true, ..GuestOptions::default() };
    let guest = Guest::prepare("1001", &options).expect("a guest");
    let file = |end: &str| format!("/etc/ssl/cache/web.internal.example.{end}");
    let server = TlsServer::install(&guest, &file("crt"), &file("key")).expect("built");
    guest.write("etc/pinion/recipes.d/cache.toml", BAD).expect("written");
    let path = guest.path("/etc/pinion/recipes.d/cache.toml").display().to_string();

    let told = guest.pinion_agent(&["recipe", "check", &path]).expect("an answer");
    assert_eq!(told.code(), 2, "{told}");
    for part in [
        ":1:10: the guest does not allow reloading sshd.service; put `extra_units = [\"sshd.service\"]`",
        ":2:1: unknown field `escalte`",
        ":5:8: the guest does not allow files at /etc/cron.d/",
        ":6:8: the mode 0644 lets every user reach the private key; use 0600",
    ] {
        assert!(told.stdout.contains(part), "{part:?} in {told}");
    }
    let told = guest.pinion_agent(&["--json", "recipe", "check", &path]).expect("an answer");
    let document: Value = serde_json::from_str(&told.stdout).expect("JSON");
    assert_eq!(
        (told.code(), document["ok"].as_bool(), document["complaints"].as_array().map(Vec::len)),
        (2, Some(false), Some(4))
    );
    assert_eq!(guest.pinion_agent(&["recipe", "check", "/nowhere.toml"]).expect("an answer").code(), 2);

    guest.write("etc/pinion/recipes.d/cache.toml", GOOD).expect("written");
    let told = guest.pinion_agent(&["recipe", "check", &path]).expect("an answer");
    assert!(told.code() == 0 && told.stdout.contains("no mistakes"), "{told}");
    let listed = guest.pinion_agent(&["recipe", "list"]).expect("an answer");
    let row = |name: &str| listed.stdout.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
    assert!(row("cache").contains("own") && row("cache").contains("The cache"), "{listed}");
    assert!(row("nginx-client").contains("shipped"), "{listed}");

    let by_own = placement("cache", json!({ "probe": { "connect": server.address() } }));
    let place = Place::join(guest, server).expect("a place");
    place.order(&[("web", &by_own)]).expect("a manifest");
    place.host.ensure(&["web"], "installed").expect("installed");
    let server = &place.service;
    goes_round(&place, "web", server.unit(), server.address(), "/etc/ssl/cache/ca.crt").expect("served");
}
