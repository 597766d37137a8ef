//! Services that refuse, hang, come late, or show something else.

use std::{os::unix::fs::PermissionsExt, time::Duration};

use pinion_proto::{
    clock::{Clock, SystemClock, Timestamp},
    report::PlacementReport,
    spec::{Opening, PlacementSpec, Probe, Reload, Validate},
    stage::{Halt, Stage},
};

use super::guest::{DEADLINE, Guest, Service, at_stage, deliver, issue, ordered, report, request, script, spec};
use crate::apply::Placements;

/// A guest whose service serves generation 1.
pub(super) async fn serving() -> (Guest, Service, Placements) {
    let (guest, service, placements) = Guest::at_work().await;
    issue(&guest, &placements, &spec("web", "web"), 1).await;
    at_stage(&placements, "web", 1, Stage::Served).await;
    (guest, service, placements)
}

#[tokio::test]
async fn a_check_that_is_missing_stops_before_anything_is_touched() {
    let (guest, _service, placements) = serving().await;
    let old = guest.content("etc/ssl/web.example.crt");
    let checked =
        PlacementSpec { validate: Some(Validate::Hook("check".parse().expect("a name"))), ..spec("web", "web") };
    issue(&guest, &placements, &checked, 2).await;
    let waiting = report(&placements, "web", "waiting", |report| report.trouble.is_some()).await;
    assert_eq!(waiting.trouble.expect("trouble").halt, Halt::Waiting);
    assert_eq!(guest.content("etc/ssl/web.example.crt"), old);
    script(&guest.config.hooks.join("check"), "exit 0");
    at_stage(&placements, "web", 2, Stage::Served).await;
    placements.shutdown().await;
}

#[tokio::test]
async fn a_reload_that_fails_once_is_tried_again() {
    let (guest, mut service, placements) = serving().await;
    service.hook(&guest.config.hooks, "if [ ! -e failed ]; then touch failed; exit 1; fi");
    issue(&guest, &placements, &spec("web", "web"), 2).await;
    at_stage(&placements, "web", 2, Stage::Served).await;
    // Once in vain, once for the old files, once for good.
    assert_eq!(service.calls(), ["reload"; 4]);
    placements.shutdown().await;
}

#[tokio::test]
async fn several_certificates_for_one_service_are_one_reload() {
    let (mut guest, mut service, placements) = serving().await;
    placements.shutdown().await;
    // The service reads its own files, no matter which placement notifies it.
    let [crt, key] = ["crt", "key"].map(|kind| guest.at(&format!("etc/ssl/web.example.{kind}")));
    let own = format!(
        "cp {} new.crt && cp {} new.key && mv new.key key && mv new.crt crt; exit 0",
        crt.display(),
        key.display()
    );
    service.hook(&guest.config.hooks, &own);
    guest.config.gather = DEADLINE;
    let placements = guest.start().await;
    // The client's pair is not shown by the service, and needs the reload too.
    let client = PlacementSpec { probe: Some(Probe::Nothing), ..spec("client", "web") };
    issue(&guest, &placements, &client, 1).await;
    at_stage(&placements, "client", 1, Stage::Reloaded).await;
    assert_eq!(service.calls(), ["reload", "reload"]);

    placements.desire(vec![ordered(&spec("web", "web"), 2), ordered(&client, 2)]);
    request(&placements, "client", 2).await;
    deliver(&guest, &placements, "web", 2).await;
    deliver(&guest, &placements, "client", 2).await;
    at_stage(&placements, "web", 2, Stage::Served).await;
    at_stage(&placements, "client", 2, Stage::Reloaded).await;
    assert_eq!(service.calls(), ["reload"; 3]);

    // One that does not come holds up the other for a moment only.
    placements.shutdown().await;
    guest.config.gather = Duration::from_millis(50);
    let placements = guest.start().await;
    placements.desire(vec![ordered(&spec("web", "web"), 3), ordered(&client, 3)]);
    request(&placements, "client", 3).await;
    deliver(&guest, &placements, "web", 3).await;
    at_stage(&placements, "web", 3, Stage::Served).await;
    assert_eq!(service.calls(), ["reload"; 4]);
    placements.shutdown().await;
}

#[tokio::test]
async fn a_restart_waits_for_its_window_with_the_new_files_in_place() {
    let (guest, service, placements) = serving().await;
    let (first, now) = (guest.serial("etc/ssl/web.example.crt"), SystemClock.now());
    let hour = Duration::from_secs(3600);
    let window = |opens: Timestamp| Some(vec![Opening { opens, closes: opens + hour }]);
    let restarted = PlacementSpec {
        reload: Some(Reload::Restart("web.service".parse().expect("a unit"))),
        window: window(now + hour),
        ..spec("web", "web")
    };
    issue(&guest, &placements, &restarted, 2).await;
    let waiting = report(&placements, "web", "waiting for its window", |report| {
        report.trouble.as_ref().is_some_and(|trouble| trouble.cause.contains("its window, which opens at"))
    });
    let waiting = waiting.await;
    let trouble = waiting.trouble.expect("trouble");
    assert_eq!((trouble.halt, trouble.retry_at), (Halt::Waiting, Some(now + hour)), "{trouble}");
    assert_eq!((waiting.stage, waiting.held.expect("held").generation), (Stage::Installed, 2));
    assert_ne!(guest.serial("etc/ssl/web.example.crt"), first);
    assert_eq!(service.calls(), ["reload"], "only the first was notified");

    // It opens too late for what is served, which lasts for a day: not waited for.
    placements.desire(vec![PlacementSpec { window: window(now + 48 * hour), ordered: Some(2), ..restarted }]);
    at_stage(&placements, "web", 2, Stage::Served).await;
    assert_eq!(service.calls(), ["reload", "restart"]);
    placements.shutdown().await;
}

#[tokio::test]
async fn a_service_that_comes_late_is_waited_for() {
    let mut guest = Guest::new();
    guest.allow_units(&["web"]);
    let mut service = guest.service("web").await;
    service.stop();
    // Not even its unit is there.
    std::fs::remove_file(guest.config.hooks.join("web.service")).expect("removed");
    let placements = guest.start().await;
    issue(&guest, &placements, &spec("web", "web"), 1).await;
    let waiting = report(&placements, "web", "waiting", |report| report.trouble.is_some()).await;
    assert_eq!((waiting.stage, waiting.trouble.expect("trouble").halt), (Stage::Installed, Halt::Waiting));
    assert!(guest.content("etc/ssl/web.example.key").is_some(), "files stay for the service to start with");
    service.hook(&guest.config.hooks, "");
    let reloaded = report(&placements, "web", "reloaded", |report| report.stage == Stage::Reloaded).await;
    assert_eq!(reloaded.held.expect("held").generation, 1);
    service.restart().await;
    at_stage(&placements, "web", 1, Stage::Served).await;
    placements.shutdown().await;
}

#[tokio::test]
async fn a_service_that_shows_something_else_is_notified_again_and_then_more_firmly() {
    let mut guest = Guest::new();
    guest.allow_units(&["web"]);
    let mut service = guest.service("web").await;
    service.show_earlier(&guest);
    service.hook(&guest.config.hooks, "[ \"$1\" = restart ] || exit 0");
    let placements = guest.start().await;
    issue(&guest, &placements, &spec("web", "web"), 1).await;
    report(&placements, "web", "waiting", |report| {
        report.stage == Stage::Reloaded
            && report.trouble.as_ref().is_some_and(|trouble| trouble.cause.contains("serial"))
    })
    .await;
    at_stage(&placements, "web", 1, Stage::Served).await;
    let calls = service.calls();
    assert_eq!(calls, ["reload", "reload", "reload", "restart"]);
    placements.shutdown().await;
}

#[tokio::test]
async fn a_service_that_goes_back_to_an_old_certificate_is_noticed() {
    let (guest, service, placements) = serving().await;
    service.show_earlier(&guest);
    report(&placements, "web", "fallen back", |report| report.stage < Stage::Served).await;
    at_stage(&placements, "web", 1, Stage::Served).await;
    assert_eq!(service.calls(), ["reload", "reload"]);
    placements.shutdown().await;
}

#[tokio::test]
async fn a_strangers_certificate_is_reported_and_no_reason_to_notify_the_service_again() {
    let (guest, mut service, placements) = serving().await;
    service.show_own();
    let stranger = |report: &PlacementReport| {
        let found = report.trouble.as_ref().filter(|trouble| trouble.cause.contains("never was in this place"));
        found.is_some_and(|trouble| trouble.cause.contains("asked for web.example"))
    };
    report(&placements, "web", "told of the stranger", stranger).await;
    service.looked_at(10).await;
    assert_eq!(service.calls(), ["reload"]);
    // It is notified of a renewal once, which does not help either.
    service.hook(&guest.config.hooks, "exit 0");
    issue(&guest, &placements, &spec("web", "web"), 2).await;
    let renewed = |report: &PlacementReport| report.last_generation == 2 && report.incoming.is_none();
    report(&placements, "web", "renewed", |report| {
        renewed(report) && report.stage == Stage::Reloaded && stranger(report)
    })
    .await;
    service.looked_at(20).await;
    assert_eq!(service.calls(), ["reload", "reload"]);
    placements.shutdown().await;
}

#[tokio::test]
async fn changed_files_are_restored_without_disturbing_the_service() {
    let (guest, service, placements) = serving().await;
    let (crt, key) = (guest.at("etc/ssl/web.example.crt"), guest.at("etc/ssl/web.example.key"));
    let good = std::fs::read(&crt).expect("there");
    std::fs::write(&crt, "spoilt").expect("written");
    std::fs::remove_file(&key).expect("removed");
    let right = || {
        std::fs::read(&crt).is_ok_and(|content| content == good)
            && std::fs::metadata(&key).is_ok_and(|found| found.permissions().mode() & 0o777 == 0o600)
    };
    let waited = tokio::time::timeout(DEADLINE, async {
        while !right() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.expect("the files are put right");
    at_stage(&placements, "web", 1, Stage::Served).await;
    assert_eq!(service.calls(), ["reload"]);
    placements.shutdown().await;
}

#[tokio::test]
async fn a_slow_service_delays_no_other_placement() {
    let mut guest = Guest::new();
    guest.allow_units(&["slow", "web"]);
    let mut slow = guest.service("slow").await;
    slow.hook(&guest.config.hooks, "while [ ! -e go ]; do sleep 0.05; done");
    let _web = guest.service("web").await;
    let placements = guest.start().await;
    placements.desire(vec![ordered(&spec("slow", "slow"), 1), ordered(&spec("web", "web"), 1)]);
    deliver(&guest, &placements, "slow", 1).await;
    report(&placements, "slow", "installed", |report| report.stage == Stage::Installed).await;
    deliver(&guest, &placements, "web", 1).await;
    at_stage(&placements, "web", 1, Stage::Served).await;
    let held_up = placements.reports().borrow().get(&super::guest::name("slow")).map(|report| report.stage);
    assert_eq!(held_up, Some(Stage::Installed));
    std::fs::write(slow.directory.join("go"), "").expect("written");
    at_stage(&placements, "slow", 1, Stage::Served).await;
    placements.shutdown().await;
}

#[tokio::test]
async fn the_agent_may_stop_at_every_stage_and_nothing_is_issued_again() {
    let mut guest = Guest::new();
    guest.allow_units(&["web"]);
    let mut service = guest.service("web").await;
    service.stop();
    service.hook(&guest.config.hooks, "while [ ! -e go ]; do sleep 0.05; done");
    let web = spec("web", "web");
    // Requested.
    let placements = guest.start().await;
    placements.desire(vec![ordered(&web, 1)]);
    request(&placements, "web", 1).await;
    placements.shutdown().await;
    // Installed: the hook is still at it.
    let placements = guest.start().await;
    let leaf = deliver(&guest, &placements, "web", 1).await;
    report(&placements, "web", "installed", |report| report.stage == Stage::Installed).await;
    placements.shutdown().await;
    // Reloaded: the service is still down.
    std::fs::write(service.directory.join("go"), "").expect("written");
    let placements = guest.start().await;
    report(&placements, "web", "reloaded", |report| report.stage == Stage::Reloaded).await;
    placements.shutdown().await;
    // Served.
    service.restart().await;
    let placements = guest.start().await;
    let served = at_stage(&placements, "web", 1, Stage::Served).await;
    assert_eq!(served.held.expect("held").leaf, leaf);
    assert_eq!((served.last_generation, served.incoming), (1, None));
    placements.shutdown().await;
}

#[tokio::test]
async fn two_placements_whose_service_needs_the_files_of_both_get_there() {
    let mut guest = Guest::new();
    guest.allow_units(&["web", "other"]);
    let (_web, _other) = (guest.service("web").await, guest.service("other").await);
    script(
        &guest.config.hooks.join("check"),
        &format!("cd {} && cat web.example.key other.example.key", guest.at("etc/ssl").display()),
    );
    let checked = |name: &str| PlacementSpec {
        validate: Some(Validate::Hook("check".parse().expect("a name"))),
        ..ordered(&spec(name, name), 1)
    };
    let placements = guest.start().await;
    placements.desire(vec![checked("web"), checked("other")]);
    deliver(&guest, &placements, "web", 1).await;
    let waiting = report(&placements, "web", "waiting", |report| report.trouble.is_some()).await;
    assert_eq!(waiting.stage, Stage::Installed);
    deliver(&guest, &placements, "other", 1).await;
    at_stage(&placements, "other", 1, Stage::Served).await;
    at_stage(&placements, "web", 1, Stage::Served).await;
    placements.shutdown().await;
}
