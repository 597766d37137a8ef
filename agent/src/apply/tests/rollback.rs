//! What does not validate, is refused or breaks its service is taken back.

use std::time::Duration;

use pinion_proto::{
    bundle::certificates_to_pem,
    message::Purge,
    report::Progress,
    spec::{FileSpec, Layout, Part, PlacementSpec, Validate},
    stage::{Halt, Stage},
};

use super::{
    guest::{DEADLINE, Guest, at_stage, issue, report, script, spec, until},
    service_failures::serving,
};

#[tokio::test]
async fn files_that_do_not_validate_are_rolled_back_and_the_service_is_not_notified() {
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
async fn files_under_another_name_leave_the_old_ones_readable_also_after_a_rollback() {
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
    placements.purge(Purge::all("web".parse().expect("a name")));
    until(&placements, "purged", |reports| reports.is_empty()).await;
    assert_eq!(std::fs::read_dir(guest.at("etc/ssl")).expect("readable").count(), 0);
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
async fn a_service_that_takes_neither_is_reported_once_and_looked_at_all_the_same() {
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
