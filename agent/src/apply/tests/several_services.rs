//! One placement for several services: each is notified, and it is served when all of them show it.

use std::{fs, path::PathBuf};

use pinion_proto::{
    spec::{PlacementSpec, Probe, Reload, TlsProbe},
    stage::{Halt, Stage},
};

use super::guest::{Guest, Service, at_stage, issue, ordered, report, spec};
use crate::apply::Placements;

async fn place() -> (Guest, Service, Service) {
    let mut guest = Guest::new();
    guest.allow_units(&["web", "imap"]);
    guest.config.restarts_per_hour = 1000;
    let (web, imap) = (guest.service("web").await, guest.service("imap").await);
    (guest, web, imap)
}

/// The recipe's files, for these services, in this order.
fn shared(services: &[&Service], restart: bool) -> PlacementSpec {
    let unit = |service: &&Service| {
        let name = service.directory.file_name().and_then(|name| name.to_str()).expect("it has a name");
        let unit = format!("{name}.service").parse().expect("a unit");
        if restart { Reload::Restart(unit) } else { Reload::Reload(unit) }
    };
    let mut reloads: Vec<_> = services.iter().map(unit).collect();
    let mut probes: Vec<_> = services.iter().map(|service| Probe::Tls(TlsProbe::at(service.address))).collect();
    let (more_reloads, more_probes) = (reloads.split_off(1), probes.split_off(1));
    PlacementSpec { reload: reloads.pop(), probe: probes.pop(), more_reloads, more_probes, ..spec("web", "web") }
}

fn hook(guest: &Guest, name: &str) -> PathBuf {
    guest.config.hooks.join(format!("{name}.service"))
}

/// The same, where each probe says which unit is behind it.
fn with_units(mut spec: PlacementSpec, units: [&str; 2]) -> PlacementSpec {
    let mut units = units.into_iter().map(|unit| format!("{unit}.service").parse().expect("a unit"));
    for probe in spec.probe.iter_mut().chain(&mut spec.more_probes) {
        if let Probe::Tls(tls) = probe {
            tls.unit = units.next();
        }
    }
    spec
}

async fn served(placements: &Placements, generation: u64) {
    at_stage(placements, "web", generation, Stage::Served).await;
}

#[tokio::test]
async fn each_service_is_notified_once_and_the_one_that_does_not_follow_is_named() {
    let (guest, web, mut imap) = place().await;
    let spec = shared(&[&web, &imap], false);
    let placements = guest.start().await;
    for generation in 1..=2 {
        issue(&guest, &placements, &spec, generation).await;
        served(&placements, generation).await;
    }
    assert_eq!((web.calls().len(), imap.calls().len()), (2, 2), "each of both once");

    // One keeps what it had.
    imap.hook(&guest.config.hooks, "exit 0");
    issue(&guest, &placements, &spec, 3).await;
    let held = report(&placements, "web", "held up", |report| {
        report.trouble.as_ref().is_some_and(|trouble| trouble.attempt.contains(&imap.address.to_string()))
    });
    let held = held.await;
    let trouble = held.trouble.expect("just seen");
    assert!(held.stage == Stage::Reloaded && trouble.halt == Halt::Waiting, "{trouble}");
    assert!(!trouble.to_string().contains(&web.address.to_string()), "{trouble}");
    // It alone is notified again.
    let calls = imap.calls().len();
    report(&placements, "web", "notified again", |_| imap.calls().len() > calls).await;
    imap.hook(&guest.config.hooks, "");
    served(&placements, 3).await;
    let (told, again) = (web.calls().len(), imap.calls().len());
    assert!(told < again && told <= 4, "once, and once more before a restart: {told} and {again}");
    placements.shutdown().await;
}

#[tokio::test]
async fn a_service_that_is_not_there_yet_does_not_have_the_other_one_notified_again() {
    let (guest, web, mut imap) = place().await;
    let spec = shared(&[&web, &imap], true);
    let placements = guest.start().await;
    issue(&guest, &placements, &spec, 1).await;
    served(&placements, 1).await;
    imap.stop();
    let away = guest.at("srv/away");
    fs::rename(hook(&guest, "imap"), &away).expect("it is away");
    issue(&guest, &placements, &spec, 2).await;
    let held = report(&placements, "web", "waiting for it", |report| {
        report.held.as_ref().is_some_and(|held| held.generation == 2)
            && report.trouble.as_ref().is_some_and(|trouble| trouble.attempt.contains("imap.service"))
    });
    let trouble = held.await.trouble.expect("just seen");
    assert_eq!(trouble.halt, Halt::Waiting, "{trouble}");
    // Several tries later.
    web.looked_at(10).await;
    assert_eq!(web.calls().len(), 2, "{:?}", web.calls());
    fs::rename(&away, hook(&guest, "imap")).expect("it is back");
    imap.restart().await;
    served(&placements, 2).await;
    assert_eq!((web.calls().len(), imap.calls().len()), (2, 2));
    placements.shutdown().await;
}

#[tokio::test]
async fn old_files_come_back_for_a_service_that_went_and_not_for_one_that_was_not_there() {
    let (guest, web, mut imap) = place().await;
    let spec = shared(&[&web, &imap], false);
    let placements = guest.start().await;
    issue(&guest, &placements, &spec, 1).await;
    served(&placements, 1).await;

    // One was down before: it is waited for, and what is new stays.
    imap.stop();
    issue(&guest, &placements, &spec, 2).await;
    let held = report(&placements, "web", "waiting for it", |report| {
        report.held.as_ref().is_some_and(|held| held.generation == 2) && report.trouble.is_some()
    });
    let trouble = held.await.trouble.expect("just seen");
    assert!(trouble.halt == Halt::Waiting && trouble.attempt.contains(&imap.address.to_string()), "{trouble}");
    imap.restart().await;
    served(&placements, 2).await;

    // One goes with what is new: both have the old files again.
    let calls = web.calls().len();
    imap.hook(&guest.config.hooks, "cmp -s \"$PINION_FILE_FULLCHAIN\" crt || { rm crt; exit 0; }");
    let before = guest.serial(super::guest::CRT);
    issue(&guest, &placements, &spec, 3).await;
    let held = report(&placements, "web", "rolled back", |report| {
        report.trouble.as_ref().is_some_and(|trouble| trouble.cause.contains("the old files are back"))
    });
    let trouble = held.await.trouble.expect("just seen");
    assert!(trouble.halt == Halt::Blocked && trouble.attempt.contains(&imap.address.to_string()), "{trouble}");
    assert_eq!(guest.serial(super::guest::CRT), before);
    assert!(web.calls().len() >= calls + 2, "of the new ones, and of the old ones");
    placements.shutdown().await;
}

/// Waits until a service that keeps its old certificate is reported, and for some tries more.
async fn held_up_at(placements: &Placements, service: &Service) -> String {
    let at = service.address.to_string();
    let held = report(placements, "web", "held up", |report| {
        report.trouble.as_ref().is_some_and(|trouble| trouble.attempt.contains(&at))
    });
    let trouble = held.await.trouble.expect("just seen").to_string();
    service.looked_at(20).await;
    trouble
}

#[tokio::test]
async fn a_service_that_shows_the_new_certificate_is_not_restarted_for_another_one() {
    let (guest, web, mut imap) = place().await;
    // The probes are the other way round: only what they say tells which is which.
    let mut spec = shared(&[&web, &imap], true);
    std::mem::swap(spec.probe.as_mut().expect("a probe"), &mut spec.more_probes[0]);
    let spec = with_units(spec, ["imap", "web"]);
    let placements = guest.start().await;
    issue(&guest, &placements, &spec, 1).await;
    served(&placements, 1).await;
    imap.hook(&guest.config.hooks, "exit 0");
    issue(&guest, &placements, &spec, 2).await;
    let trouble = held_up_at(&placements, &imap).await;
    assert!(!trouble.contains("may be behind it"), "{trouble}");
    assert!(imap.calls().len() > 2, "it is restarted again: {:?}", imap.calls());
    assert_eq!(web.calls().len(), 2, "once for each certificate: {:?}", web.calls());
    imap.hook(&guest.config.hooks, "");
    served(&placements, 2).await;
    assert_eq!(web.calls().len(), 2, "{:?}", web.calls());
    placements.shutdown().await;
}

#[tokio::test]
async fn where_either_of_two_services_may_be_behind_a_place_neither_is_restarted_for_it() {
    let (guest, web, mut imap) = place().await;
    let spec = shared(&[&web, &imap], true);
    let placements = guest.start().await;
    issue(&guest, &placements, &spec, 1).await;
    served(&placements, 1).await;
    imap.hook(&guest.config.hooks, "exit 0");
    issue(&guest, &placements, &spec, 2).await;
    let trouble = held_up_at(&placements, &imap).await;
    assert!(trouble.contains("web.service or imap.service may be behind it"), "{trouble}");
    assert!(trouble.contains("as `unit` in the placement's `probe`"), "{trouble}");
    assert_eq!((web.calls().len(), imap.calls().len()), (2, 2), "once for each certificate");
    imap.hook(&guest.config.hooks, "");
    placements.desire(vec![ordered(&with_units(spec, ["web", "imap"]), 2)]);
    served(&placements, 2).await;
    assert_eq!((web.calls().len(), imap.calls().len()), (2, 3), "it is known which one it is");
    placements.shutdown().await;
}
