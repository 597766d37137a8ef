//! A service that is notified in vain: how often, and how firmly.

use std::{fs, os::unix::fs::PermissionsExt, time::Duration};

use pinion_proto::{
    spec::{PlacementSpec, Validate},
    stage::Stage,
};

use super::guest::{CRT, DEADLINE, Guest, at_stage, issue, report, script, spec};

#[tokio::test]
async fn while_a_renewal_is_held_up_a_service_is_not_notified_at_every_look() {
    let mut guest = Guest::new();
    guest.allow_units(&["web"]);
    let mut service = guest.service("web").await;
    guest.config.check_every = Duration::from_millis(20);
    let placements = guest.start().await;
    issue(&guest, &placements, &spec("web", "web"), 1).await;
    at_stage(&placements, "web", 1, Stage::Served).await;
    placements.shutdown().await;

    // From now on nothing is tried twice within the test, and a renewal does not pass its check.
    (guest.config.retry.initial, guest.config.retry.max) = (DEADLINE * 10, DEADLINE * 10);
    guest.config.retry.blocked = DEADLINE * 10;
    fs::copy(guest.at(CRT), guest.at("etc/good")).expect("copied");
    script(
        &guest.config.hooks.join("check"),
        &format!("cmp -s \"$PINION_FILE_FULLCHAIN\" {}", guest.at("etc/good").display()),
    );
    let placements = guest.start().await;
    let checked =
        PlacementSpec { validate: Some(Validate::Hook("check".parse().expect("a name"))), ..spec("web", "web") };
    issue(&guest, &placements, &checked, 2).await;
    report(&placements, "web", "held up", |report| report.trouble.is_some()).await;
    // Somebody's third certificate, and a reload that changes nothing.
    service.hook(&guest.config.hooks, "exit 0");
    service.show_earlier(&guest);
    report(&placements, "web", "notified in vain", |report| report.stage == Stage::Reloaded).await;
    // The files are put right at each look all the same.
    for _ in 0..5 {
        let spoilt = fs::Permissions::from_mode(0o666);
        fs::set_permissions(guest.at(CRT), spoilt).expect("the mode is changed");
        let right = || fs::metadata(guest.at(CRT)).is_ok_and(|found| found.permissions().mode() & 0o777 == 0o644);
        let waited = tokio::time::timeout(DEADLINE, async {
            while !right() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        waited.await.expect("the file is put right");
    }
    // Once for the first certificate, once in vain.
    assert_eq!(service.calls(), ["reload", "reload"]);

    // It comes to the installed one by itself, and is seen.
    for (part, shown) in [("etc/ssl/web.example.key", "key"), (CRT, "crt")] {
        fs::copy(guest.at(part), service.directory.join(shown)).expect("copied");
    }
    report(&placements, "web", "seen", |report| report.stage == Stage::Served && report.trouble.is_some()).await;
    assert_eq!(service.calls(), ["reload", "reload"]);
    placements.shutdown().await;
}

#[tokio::test]
async fn a_reload_that_fails_three_times_is_followed_by_a_restart() {
    let mut guest = Guest::new();
    guest.allow_units(&["web"]);
    let mut service = guest.service("web").await;
    // Looks in between see the old certificate served, which is no reason to begin anew.
    guest.config.check_every = Duration::from_millis(20);
    let placements = guest.start().await;
    issue(&guest, &placements, &spec("web", "web"), 1).await;
    at_stage(&placements, "web", 1, Stage::Served).await;
    service.hook(&guest.config.hooks, "if [ \"$1\" = reload ]; then echo no reload here; exit 1; fi");
    issue(&guest, &placements, &spec("web", "web"), 2).await;
    at_stage(&placements, "web", 2, Stage::Served).await;
    // Each try notifies of the new files and, in vain too, of the old ones again.
    assert_eq!(service.calls(), [["reload"; 7].as_slice(), &["restart"]].concat());
    placements.shutdown().await;
}

#[tokio::test]
async fn what_a_restart_has_ended_is_brought_back_by_a_restart() {
    let mut guest = Guest::new();
    guest.allow_units(&["web"]);
    let mut service = guest.service("web").await;
    let placements = guest.start().await;
    issue(&guest, &placements, &spec("web", "web"), 1).await;
    at_stage(&placements, "web", 1, Stage::Served).await;
    fs::copy(guest.at(CRT), service.directory.join("good")).expect("copied");
    // It cannot be reloaded, and with the new pair it ends and does not start.
    let only_old = "[ \"$1\" = restart ] || exit 1\nrm -f crt\ncmp -s \"$PINION_FILE_FULLCHAIN\" good || exit 1";
    service.hook(&guest.config.hooks, only_old);
    issue(&guest, &placements, &spec("web", "web"), 2).await;
    let tried = || service.calls().iter().filter(|&call| call == "restart").count() >= 2;
    let back = report(&placements, "web", "back", |report| {
        report.stage == Stage::Served && report.trouble.is_some() && tried()
    });
    assert_eq!(back.await.held.expect("held").generation, 1);
    service.hook(&guest.config.hooks, "");
    at_stage(&placements, "web", 2, Stage::Served).await;
    placements.shutdown().await;
}
