//! What a guest's default allow-list gives a placement: its recipe's own, what it had before, and no more.

use std::os::unix::fs::PermissionsExt;

use pinion_proto::{
    bundle::certificates_to_pem,
    spec::{FileMode, FileSpec, Part, PlacementSpec, Probe, Reload, TlsProbe},
    stage::{Halt, Stage, Trouble},
};

use super::guest::{Guest, at_stage, issue, report, spec, until};
use crate::{apply::Placements, config::Allow};

/// A placement without a recipe.
fn own(path: &str) -> PlacementSpec {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let account = |number: u32| Some(number.to_string().parse().expect("an account"));
    let file = |kind: &str, mode: u32| FileSpec {
        path: Some(format!("{path}.{kind}").parse().expect("a path")),
        mode: Some(FileMode::from_bits(mode).expect("a mode")),
        owner: account(uid),
        group: account(gid),
        ..FileSpec::default()
    };
    let files = [(Part::Fullchain, file("crt", 0o644)), (Part::Key, file("key", 0o600))].into();
    PlacementSpec { recipe: None, files, ..spec("web", "files") }
}

/// The defaults, without what the other tests add.
fn by_default() -> Guest {
    let mut guest = Guest::new();
    guest.config.allow.directories.retain(|directory| directory.as_str() != "/etc/ssl");
    guest
}

async fn refused(placements: &Placements, words: &str) -> Trouble {
    let held_up = report(placements, "web", words, |report| {
        report.trouble.as_ref().is_some_and(|trouble| trouble.cause.contains(words))
    });
    held_up.await.trouble.expect("a trouble")
}

#[tokio::test]
async fn what_an_earlier_agent_allowed_stays_and_is_renewed_with_a_warning() {
    let mut guest = by_default();
    let now = guest.config.allow.clone();
    let mut service = guest.service("nginx").await;
    service.hook(&guest.config.hooks, "");
    // As the agent of before wrote it: without the list of what is kept.
    guest.config.allow = now.of_earlier_agents();
    let web =
        PlacementSpec { reload: Some(Reload::Reload("nginx.service".parse().expect("a unit"))), ..own("/etc/ssl/web") };
    let placements = guest.start().await;
    issue(&guest, &placements, &web, 1).await;
    at_stage(&placements, "web", 1, Stage::Reloaded).await;
    placements.shutdown().await;
    let ledger = guest.at("var/lib/pinion-agent/placements/web.json");
    let mut document: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&ledger).expect("a ledger")).expect("JSON");
    document["placement"].as_object_mut().expect("an object").remove("kept").expect("it is written");
    std::fs::write(&ledger, document.to_string()).expect("written");

    guest.config.allow = now;
    let placements = guest.start().await;
    issue(&guest, &placements, &web, 2).await;
    let renewed = at_stage(&placements, "web", 2, Stage::Reloaded).await;
    let warning = renewed.warning.expect("it is reported");
    for word in ["/etc/ssl/web.crt", "/etc/ssl/web.key", "nginx.service", "extra_directories"] {
        assert!(warning.contains(word), "{word}: {warning}");
    }
    assert_eq!(guest.serial("etc/ssl/web.crt").as_deref(), Some(renewed.held.expect("held").leaf.serial()));
    // No new place and no other service comes by that.
    placements.desire(vec![own("/etc/ssl/other")]);
    assert_eq!(refused(&placements, "/etc/ssl/other.crt").await.halt, Halt::Blocked);
    let docker = Some(Reload::Restart("docker.service".parse().expect("a unit")));
    placements.desire(vec![PlacementSpec { reload: docker, ..web.clone() }]);
    refused(&placements, "docker.service").await;
    // It is kept over a restart, and goes with the placement.
    placements.shutdown().await;
    let placements = guest.start().await;
    issue(&guest, &placements, &web, 3).await;
    at_stage(&placements, "web", 3, Stage::Reloaded).await;
    placements.desire(vec![PlacementSpec { purge: true, ..web.clone() }]);
    until(&placements, "purged", |reports| reports.is_empty()).await;
    assert!(guest.content("etc/ssl/web.key").is_none());
    placements.desire(vec![web]);
    refused(&placements, "/etc/ssl/web.crt").await;
    placements.shutdown().await;
}

#[tokio::test]
async fn a_recipes_own_is_its_placements_alone() {
    let guest = by_default();
    let placements = guest.start().await;
    let told = |reload: Reload, files: PlacementSpec| PlacementSpec { reload: Some(reload), ..files };
    let unit = |name: &str| Reload::Restart(name.parse().expect("a unit"));
    for (asked, words) in [
        (own("/etc/nginx/ssl/web"), "does not allow files at /etc/nginx/ssl/web.crt"),
        (own("/etc/docker/tls/web"), "does not allow files at /etc/docker/tls/web.crt"),
        (own("/etc/ssl/web"), "does not allow files at /etc/ssl/web.crt"),
        (told(unit("nginx.service"), own("/etc/ssl/web/web")), "does not allow reloading nginx.service"),
        (told(unit("docker.service"), spec("web", "nginx")), "does not allow reloading docker.service"),
        (
            PlacementSpec { files: own("/etc/docker/tls/web").files, ..spec("web", "nginx") },
            "files at /etc/docker/tls/web",
        ),
        (
            PlacementSpec { files: own("/root/.docker/web").files, ..spec("web", "docker-client") },
            "files at /root/.docker/web",
        ),
        (spec("web", "pveproxy"), "does not allow files at /etc/pve/local"),
    ] {
        placements.desire(vec![asked]);
        assert_eq!(refused(&placements, words).await.halt, Halt::Blocked, "{words}");
    }
    placements.shutdown().await;

    // A list that agent.toml replaces gets nothing from recipes.
    let mut narrow = by_default();
    narrow.config.allow.only_directories(&["/srv/tls"]);
    let placements = narrow.start().await;
    for recipe in ["nginx", "docker", "files"] {
        placements.desire(vec![spec("web", recipe)]);
        refused(&placements, "does not allow files at").await;
    }
    placements.desire(vec![own("/etc/ssl/web/web")]);
    refused(&placements, "does not allow files at /etc/ssl/web/web.crt").await;
    placements.shutdown().await;
}

#[tokio::test]
async fn a_certificate_that_was_there_is_kept_and_what_is_none_is_not_replaced() {
    let guest = by_default();
    let placements = guest.start().await;
    std::fs::create_dir_all(guest.at("etc/ssl/web")).expect("directory");
    let (crt, key) = (guest.at("etc/ssl/web/web.crt"), guest.at("etc/ssl/web/web.key"));
    let theirs = certificates_to_pem([guest.authority.root.der()]);
    std::fs::write(&crt, &theirs).expect("written");
    std::fs::write(&key, &theirs).expect("written");
    std::fs::set_permissions(&crt, std::fs::Permissions::from_mode(0o640)).expect("mode");
    let web = own("/etc/ssl/web/web");
    issue(&guest, &placements, &web, 1).await;
    let trouble = refused(&placements, "has certificates and no private key").await;
    assert!(trouble.halt == Halt::Blocked && trouble.remedy.contains("move /etc/ssl/web/web.key away"), "{trouble}");
    for path in [&crt, &key] {
        assert_eq!(std::fs::read_to_string(path).expect("there"), theirs, "nothing is touched");
    }
    std::fs::remove_file(&key).expect("moved away");
    at_stage(&placements, "web", 1, Stage::Reloaded).await;
    let kept = guest.at("var/lib/pinion-agent/replaced/1/etc/ssl/web/web.crt");
    assert_eq!(std::fs::read_to_string(&kept).expect("kept"), theirs);
    assert_eq!(kept.metadata().expect("there").permissions().mode() & 0o777, 0o640);
    // What is Pinion's own is put right, and not kept.
    std::fs::write(&crt, "changed").expect("written");
    until(&placements, "put right", |_| std::fs::read(&crt).is_ok_and(|text| text != b"changed")).await;
    assert!(!guest.at("var/lib/pinion-agent/replaced/2").exists());
    placements.shutdown().await;
}

#[tokio::test]
async fn an_address_of_another_machine_is_not_looked_at() {
    let mut guest = by_default();
    let elsewhere = "192.0.2.7:443";
    let look = |connect: &str| {
        let probe = Probe::Tls(TlsProbe::at(connect.parse().expect("an address")));
        PlacementSpec { probe: Some(probe), ..own("/etc/ssl/web/web") }
    };
    let placements = guest.start().await;
    issue(&guest, &placements, &look(elsewhere), 1).await;
    let trouble = refused(&placements, "neither loopback nor an address of this guest").await;
    assert!(
        trouble.halt == Halt::Blocked && trouble.remedy.contains("`extra_probe = [\"192.0.2.7:443\"]`"),
        "{trouble}"
    );
    let seen = report(&placements, "web", "in place", |report| report.stage == Stage::Reloaded).await;
    assert_eq!(seen.held.expect("held").generation, 1, "it is installed all the same");
    placements.shutdown().await;
    // Where it is allowed it is tried.
    guest.config.allow =
        Allow { probe: vec!["192.0.2.0/24".parse().expect("a network")], ..guest.config.allow.clone() };
    let placements = guest.start().await;
    let tried = report(&placements, "web", "tried", |report| {
        report.trouble.as_ref().is_some_and(|trouble| !trouble.cause.contains("does not allow"))
    });
    assert_eq!(tried.await.trouble.expect("a trouble").halt, Halt::Waiting);
    placements.shutdown().await;
}
