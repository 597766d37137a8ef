//! Services that refuse, hang, come late, or show something else.

use std::{os::unix::fs::PermissionsExt, time::Duration};

use pinion_proto::{
    bundle::certificates_to_pem,
    clock::{Clock, SystemClock, Timestamp},
    report::Progress,
    spec::{FileSpec, Layout, Opening, Part, PlacementSpec, Probe, Reload, Validate},
    stage::{Halt, Stage},
};

use super::guest::{DEADLINE, Guest, Service, at_stage, deliver, issue, ordered, report, request, script, spec, until};
use crate::apply::Placements;

/// A guest whose service serves generation 1.
async fn serving() -> (Guest, Service, Placements) {
    let mut guest = Guest::new();
    guest.allow_units(&["web"]);
    let service = guest.service("web").await;
    let placements = guest.start().await;
    issue(&guest, &placements, &spec("web", "web"), 1).await;
    at_stage(&placements, "web", 1, Stage::Served).await;
    (guest, service, placements)
}

#[tokio::test]
async fn files_that_do_not_validate_are_rolled_back_and_the_service_is_not_told() {
    let (guest, service, placements) = serving().await;
    let old = guest.content("etc/ssl/web.example.crt");
    script(&guest.config.hooks.join("check"), "echo no good; exit 1");
    let checked =
        PlacementSpec { validate: Some(Validate::Hook("check".parse().expect("a name"))), ..spec("web", "web") };
    issue(&guest, &placements, &checked, 2).await;
    let blocked = report(&placements, "web", "blocked", |report| {
        report.trouble.as_ref().is_some_and(|trouble| trouble.cause.contains("no good"))
    });
    let blocked = blocked.await;
    assert_eq!(blocked.trouble.expect("trouble").halt, Halt::Blocked);
    assert_eq!((blocked.stage, blocked.held.expect("held").generation), (Stage::Served, 1));
    assert_eq!(blocked.incoming.expect("incoming").progress, Progress::Delivered);
    assert_eq!(service.calls(), ["reload"]);
    placements.shutdown().await;
    assert_eq!(guest.content("etc/ssl/web.example.crt"), old);

    // It is tried again after a restart, with the same certificate, and comes through once the check passes.
    let placements = guest.start().await;
    script(&guest.config.hooks.join("check"), "exit 0");
    let report = at_stage(&placements, "web", 2, Stage::Served).await;
    assert_eq!(report.last_generation, 2);
    placements.shutdown().await;
}

#[tokio::test]
async fn files_under_another_name_leave_the_old_ones_readable_and_the_way_back_too() {
    let (guest, _service, placements) = serving().await;
    let linked = PlacementSpec { layout: Some(Layout::Symlink), ..spec("web", "web") };
    issue(&guest, &placements, &linked, 2).await;
    at_stage(&placements, "web", 2, Stage::Served).await;
    let pair = || [guest.content("etc/ssl/web.example.crt"), guest.content("etc/ssl/web.example.key")];
    let old = pair();
    script(&guest.config.hooks.join("check"), "echo no good; exit 1");
    let path = |kind: &str| FileSpec {
        path: Some(format!("/etc/ssl/other.{kind}").parse().expect("a path")),
        owner: Some(rustix::process::geteuid().as_raw().to_string().parse().expect("a user")),
        group: Some(rustix::process::getegid().as_raw().to_string().parse().expect("a group")),
        ..FileSpec::default()
    };
    let renamed = PlacementSpec {
        files: [(Part::Fullchain, path("crt")), (Part::Key, path("key"))].into(),
        validate: Some(Validate::Hook("check".parse().expect("a name"))),
        ..linked
    };
    issue(&guest, &placements, &renamed, 3).await;
    let back = report(&placements, "web", "back", |report| {
        report.trouble.as_ref().is_some_and(|trouble| trouble.cause.contains("the old files are back"))
    });
    assert_eq!(back.await.held.expect("held").generation, 2);
    assert_eq!(pair(), old);
    assert_eq!(guest.content("etc/ssl/other.crt"), None);
    // Under the new name beside the old one, which stays until it is purged.
    script(&guest.config.hooks.join("check"), "exit 0");
    at_stage(&placements, "web", 3, Stage::Served).await;
    assert_eq!(pair(), old);
    assert!(guest.content("etc/ssl/other.crt").is_some() && guest.content("etc/ssl/other.key").is_some());
    placements.desire(Vec::new());
    report(&placements, "web", "retired", |report| report.retired).await;
    placements.purge(&"web".parse().expect("a name"));
    until(&placements, "purged", |reports| reports.is_empty()).await;
    assert_eq!(std::fs::read_dir(guest.at("etc/ssl")).expect("readable").count(), 0);
    placements.shutdown().await;
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
async fn a_reload_that_always_fails_leaves_the_old_certificate_served_and_is_never_given_up() {
    let (guest, mut service, placements) = serving().await;
    let new_only = "if ! cmp -s \"$PINION_FILE_FULLCHAIN\" good; then echo bad pair >&2; exit 1; fi";
    std::fs::copy(guest.at("etc/ssl/web.example.crt"), service.directory.join("good")).expect("copied");
    service.hook(&guest.config.hooks, new_only);
    issue(&guest, &placements, &spec("web", "web"), 2).await;
    let blocked = report(&placements, "web", "blocked", |report| {
        report.stage == Stage::Served && report.trouble.as_ref().is_some_and(|trouble| trouble.halt == Halt::Blocked)
    });
    let blocked = blocked.await;
    let trouble = blocked.trouble.expect("trouble");
    assert!(trouble.cause.contains("bad pair") && trouble.cause.contains("old files"), "{trouble}");
    assert!(trouble.cause.ends_with("serves the old certificate meanwhile"), "{trouble}");
    assert!(trouble.retry_at.is_some());
    assert_eq!(blocked.held.expect("held").generation, 1);
    service.hook(&guest.config.hooks, "");
    at_stage(&placements, "web", 2, Stage::Served).await;
    placements.shutdown().await;
}

#[tokio::test]
async fn a_service_that_takes_neither_is_told_once_and_looked_at_all_the_same() {
    let (guest, mut service, placements) = serving().await;
    service.hook(&guest.config.hooks, "echo no pid >&2; exit 1");
    issue(&guest, &placements, &spec("web", "web"), 2).await;
    let held_up = report(&placements, "web", "held up", |report| {
        report.stage == Stage::Served && report.trouble.as_ref().is_some_and(|trouble| trouble.retry_at.is_some())
    });
    let held_up = held_up.await;
    let trouble = held_up.trouble.expect("trouble");
    assert_eq!(trouble.cause.matches("no pid").count(), 1, "{trouble}");
    assert!(trouble.cause.contains("for the same reason"), "{trouble}");
    assert!(trouble.cause.ends_with("serves the old certificate meanwhile"), "{trouble}");
    assert_eq!(held_up.held.expect("held").generation, 1);
    service.hook(&guest.config.hooks, "");
    at_stage(&placements, "web", 2, Stage::Served).await;
    placements.shutdown().await;
}

#[tokio::test]
async fn several_certificates_for_one_service_are_one_reload() {
    let (mut guest, mut service, placements) = serving().await;
    placements.shutdown().await;
    // It knows its own files, whoever tells it.
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
    assert_eq!(service.calls(), ["reload"], "only the first was told");

    // It opens too late for what is served, which lasts for a day: not waited for.
    placements.desire(vec![PlacementSpec { window: window(now + 48 * hour), ordered: Some(2), ..restarted }]);
    at_stage(&placements, "web", 2, Stage::Served).await;
    assert_eq!(service.calls(), ["reload", "restart"]);
    placements.shutdown().await;
}

#[tokio::test]
async fn a_service_that_breaks_gets_its_old_files_back() {
    let (guest, mut service, placements) = serving().await;
    // It takes the new files without complaint and does not come up with them.
    std::fs::copy(guest.at("etc/ssl/web.example.crt"), service.directory.join("good")).expect("copied");
    service.hook(&guest.config.hooks, "if ! cmp -s \"$PINION_FILE_FULLCHAIN\" good; then rm -f crt; exit 0; fi");
    issue(&guest, &placements, &spec("web", "web"), 2).await;
    let broke = report(&placements, "web", "rolled back", |report| {
        report.stage == Stage::Served
            && report.trouble.as_ref().is_some_and(|trouble| trouble.cause.contains("answered before"))
    });
    assert_eq!(broke.await.held.expect("held").generation, 1);
    service.hook(&guest.config.hooks, "");
    at_stage(&placements, "web", 2, Stage::Served).await;
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
async fn a_service_that_shows_something_else_is_told_again_and_then_more_firmly() {
    let mut guest = Guest::new();
    guest.allow_units(&["web"]);
    let mut service = guest.service("web").await;
    service.show_own();
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
    let (_guest, service, placements) = serving().await;
    service.show_own();
    report(&placements, "web", "fallen back", |report| report.stage < Stage::Served).await;
    at_stage(&placements, "web", 1, Stage::Served).await;
    assert_eq!(service.calls(), ["reload", "reload"]);
    placements.shutdown().await;
}

#[tokio::test]
async fn files_that_somebody_changed_are_put_right_without_disturbing_the_service() {
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
async fn a_slow_service_holds_up_no_other() {
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

#[tokio::test]
async fn a_file_that_pinion_did_not_write_comes_back_when_the_service_refuses_the_new_one() {
    let mut guest = Guest::new();
    guest.allow_units(&["web"]);
    let mut service = guest.service("web").await;
    service.hook(&guest.config.hooks, "exit 1");
    let by_hand = certificates_to_pem([guest.authority.root.der()]).into_bytes();
    std::fs::write(guest.at("etc/ssl/web.example.crt"), &by_hand).expect("written");
    let placements = guest.start().await;
    issue(&guest, &placements, &spec("web", "web"), 1).await;
    let held_up =
        report(&placements, "web", "rolled back", |report| report.trouble.is_some() && report.stage == Stage::Issued);
    assert_eq!(held_up.await.held, None);
    let as_before = || {
        guest.content("etc/ssl/web.example.crt").as_ref() == Some(&by_hand)
            && guest.content("etc/ssl/web.example.key").is_none()
    };
    // The next tries put the new files in place for as long as the service takes to refuse them.
    let waited = tokio::time::timeout(DEADLINE, async {
        while !as_before() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    waited.await.expect("the file comes back");
    placements.shutdown().await;
}
