//! What is asked for comes about, once, and goes when it is purged.

use std::os::unix::fs::PermissionsExt;

use zeroize::Zeroizing;

use super::guest::{
    Guest, at_stage, deliver, issue, leaf, name, ordered, report, report as report_of, request, spec, until, with_leaf,
};
use pinion_proto::{
    bundle::CertificateRequest,
    causes::chain,
    key::{KeyAlgorithm, KeyPolicy, Rotation},
    message::Purge,
    private_key::PrivateKey,
    report::Progress,
    spec::{FileSpec, Part, PlacementSpec},
    stage::{Halt, Stage},
};

#[tokio::test]
async fn a_first_certificate_and_its_renewal_come_to_be_served() {
    let (guest, service, placements) = Guest::at_work().await;
    let web = spec("web", "web");
    let first = issue(&guest, &placements, &web, 1).await;
    let report = at_stage(&placements, "web", 1, Stage::Served).await;
    assert_eq!(report.held.expect("held").leaf, first);
    assert_eq!((report.last_generation, report.incoming, report.retired), (1, None, false));
    assert_eq!(guest.serial("etc/ssl/web.example.crt").as_deref(), Some(first.serial()));
    let mode = |path: &str| std::fs::metadata(guest.at(path)).expect("there").permissions().mode() & 0o777;
    assert_eq!((mode("etc/ssl/web.example.crt"), mode("etc/ssl/web.example.key")), (0o644, 0o600));

    let second = issue(&guest, &placements, &web, 2).await;
    let report = at_stage(&placements, "web", 2, Stage::Served).await;
    assert_ne!(first.key(), second.key(), "a new certificate has a new key");
    assert_eq!(report.held.expect("held").leaf, second);
    assert_eq!(service.calls(), ["reload", "reload"]);
    let leftovers: Vec<_> = std::fs::read_dir(guest.at("etc/ssl")).expect("listed").collect();
    assert_eq!(leftovers.len(), 2, "{leftovers:?}");
    placements.shutdown().await;
}

#[tokio::test]
async fn every_kind_of_key_is_served() {
    for algorithm in KeyAlgorithm::ALL {
        let (guest, _service, placements) = Guest::at_work().await;
        let web = with_leaf(spec("web", "web"), |leaf| leaf.key = KeyPolicy { algorithm, rotation: Rotation::Always });
        issue(&guest, &placements, &web, 1).await;
        let report = at_stage(&placements, "web", 1, Stage::Served).await;
        assert_eq!(report.held.expect("held").leaf.key_algorithm(), Some(algorithm));
        placements.shutdown().await;
    }
}

#[tokio::test]
async fn an_order_is_answered_with_the_same_request_until_what_is_ordered_changes() {
    let (guest, _service, placements) = Guest::at_work().await;
    let web = spec("web", "web");
    placements.desire(vec![ordered(&web, 3)]);
    let first = request(&placements, "web", 3).await;
    placements.shutdown().await;

    let placements = guest.start().await;
    assert_eq!(request(&placements, "web", 3).await, first, "the request outlives a restart");
    placements.desire(vec![ordered(&web, 3)]);
    placements.desire(vec![ordered(&PlacementSpec { trouble: None, ..web.clone() }, 2)]);
    placements.desire(vec![ordered(&web, 3)]);
    assert_eq!(request(&placements, "web", 3).await, first);

    let more = vec![leaf(&web).common_name.clone(), "more.example".parse().expect("a name")];
    let changed = with_leaf(web, |leaf| leaf.names = more.try_into().expect("names"));
    placements.desire(vec![ordered(&changed, 3)]);
    let again = report(&placements, "web", "requested anew", |report| {
        report.incoming.as_ref().is_some_and(|incoming| incoming.progress != Progress::Requested(first.clone()))
    });
    let Some(Progress::Requested(again)) = again.await.incoming.map(|incoming| incoming.progress) else {
        panic!("not requested");
    };
    assert_eq!(CertificateRequest::parse(&again).expect("a request").names, Some(leaf(&changed).names.clone()));
    placements.shutdown().await;
}

#[tokio::test]
async fn a_delivery_that_is_not_what_was_ordered_changes_nothing() {
    let (guest, service, placements) = Guest::at_work().await;
    let web = spec("web", "web");
    let first = issue(&guest, &placements, &web, 1).await;
    at_stage(&placements, "web", 1, Stage::Served).await;

    placements.desire(vec![ordered(&web, 2)]);
    let asked = request(&placements, "web", 2).await;
    let stranger = PrivateKey::generate(KeyAlgorithm::EcdsaP256).expect("a key");
    let other_key = stranger.request(&leaf(&web).common_name, &leaf(&web).names).expect("a request");
    let mut bad = guest.authority.delivery(&web.certificate, 2, &asked);
    bad.chain = guest.authority.sign(&asked, -7200, -3600);
    for (bad, why) in [
        (guest.authority.delivery(&web.certificate, 2, &other_key), "not for the key"),
        (bad.clone(), "expired"),
        (
            {
                bad.chain = guest.authority.sign(&asked, 3600, 7200);
                bad.clone()
            },
            "not valid before",
        ),
        (
            {
                bad.root = super::guest::Authority::new().root;
                bad.chain = guest.authority.sign(&asked, -60, 60);
                bad
            },
            "root",
        ),
    ] {
        placements.deliver(bad);
        let report = report(&placements, "web", why, |report| {
            report.trouble.as_ref().is_some_and(|trouble| trouble.cause.contains(why))
        });
        let report = report.await;
        assert_eq!(report.trouble.expect("trouble").halt, Halt::Blocked);
        assert_eq!((report.stage, report.held.expect("held").leaf), (Stage::Served, first.clone()));
    }
    // For an order that was never made.
    placements.deliver(guest.authority.delivery(&web.certificate, 9, &asked));
    // And the right one is still taken.
    deliver(&guest, &placements, "web", 2).await;
    at_stage(&placements, "web", 2, Stage::Served).await;
    assert_eq!(service.calls().len(), 2);
    placements.shutdown().await;
}

#[tokio::test]
async fn nothing_is_reissued_written_or_reloaded_after_a_restart() {
    let (guest, service, placements) = Guest::at_work().await;
    let web = spec("web", "web");
    issue(&guest, &placements, &web, 1).await;
    at_stage(&placements, "web", 1, Stage::Served).await;
    placements.shutdown().await;
    let ledger = "var/lib/pinion-agent/placements/web.json";
    let stamp = |path: &str| {
        use std::os::unix::fs::MetadataExt;
        let metadata = std::fs::metadata(guest.at(path)).expect("there");
        (metadata.ino(), metadata.mtime(), metadata.mtime_nsec())
    };
    let all = || [ledger, "etc/ssl/web.example.crt", "etc/ssl/web.example.key"].map(stamp);
    let before = all();

    let placements = guest.start().await;
    let report = at_stage(&placements, "web", 1, Stage::Served).await;
    assert_eq!(report.incoming, None);
    placements.desire(vec![ordered(&web, 1)]);
    // Two periodic looks, which accept a connection each, are a good proof that nothing more comes.
    tokio::time::sleep(guest.config.check_every * 3).await;
    assert_eq!(all(), before);
    assert_eq!(service.calls(), ["reload"]);
    placements.shutdown().await;
}

#[tokio::test]
async fn a_key_that_is_never_rotated_stays_until_its_kind_changes() {
    let (guest, _service, placements) = Guest::at_work().await;
    let kept = KeyPolicy { algorithm: KeyAlgorithm::EcdsaP256, rotation: Rotation::Never };
    let web = with_leaf(spec("web", "web"), |leaf| leaf.key = kept);
    let mut leaves = Vec::new();
    for generation in 1..=2 {
        leaves.push(issue(&guest, &placements, &web, generation).await);
        at_stage(&placements, "web", generation, Stage::Served).await;
    }
    let other = KeyPolicy { algorithm: KeyAlgorithm::EcdsaP384, rotation: Rotation::Never };
    leaves.push(issue(&guest, &placements, &with_leaf(web, |leaf| leaf.key = other), 3).await);
    at_stage(&placements, "web", 3, Stage::Served).await;
    let keys: Vec<_> = leaves.iter().map(|leaf| leaf.key()).collect();
    assert!(keys[0] == keys[1] && keys[1] != keys[2]);
    assert_ne!(leaves[0].serial(), leaves[1].serial());
    placements.shutdown().await;
}

#[tokio::test]
async fn a_shared_key_comes_with_the_delivery() {
    let (guest, _service, placements) = Guest::at_work().await;
    let web = with_leaf(spec("web", "web"), |leaf| leaf.shared = true);
    placements.desire(vec![ordered(&web, 1)]);
    assert!(request(&placements, "web", 1).await.is_empty(), "the controller has the key");
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).expect("a key");
    let csr = key.request(&leaf(&web).common_name, &leaf(&web).names).expect("a request");
    let mut delivery = guest.authority.delivery(&web.certificate, 1, &csr);
    placements.deliver(delivery.clone());
    report(&placements, "web", "refused without a key", |report| report.trouble.is_some()).await;
    delivery.shared_key = Some(Zeroizing::new(pem::parse(key.to_pem().as_str()).expect("PEM").into_contents()));
    placements.deliver(delivery);
    at_stage(&placements, "web", 1, Stage::Served).await;
    placements.shutdown().await;
}

#[tokio::test]
async fn a_retired_placement_keeps_its_files_until_it_is_purged() {
    let mut guest = Guest::new();
    guest.allow_units(&["web", "own"]);
    let _service = guest.service("web").await;
    let placements = guest.start().await;
    let web = spec("web", "web");
    issue(&guest, &placements, &web, 1).await;
    at_stage(&placements, "web", 1, Stage::Served).await;

    placements.purge(Purge::all(name("web")));
    placements.desire(Vec::new());
    report(&placements, "web", "retired", |report| report.retired).await;
    assert!(guest.content("etc/ssl/web.example.key").is_some(), "purging a desired placement is refused");
    placements.shutdown().await;

    let placements = guest.start().await;
    let report = report(&placements, "web", "retired", |report| report.retired).await;
    assert_eq!(report.held.expect("held").generation, 1);
    // Somebody else's file by now.
    std::fs::write(guest.at("etc/ssl/web.example.crt"), "mine").expect("written");
    placements.purge(Purge::all(name("web")));
    until(&placements, "purged", |reports| reports.is_empty()).await;
    assert_eq!(guest.content("etc/ssl/web.example.key"), None);
    assert_eq!(guest.content("etc/ssl/web.example.crt").as_deref(), Some(&b"mine"[..]));
    assert_eq!(guest.content("var/lib/pinion-agent/placements/web.json"), None);

    // And it may be wanted anew, once what is not a certificate is out of the way.
    issue(&guest, &placements, &web, 1).await;
    let in_the_way = report_of(&placements, "web", "held up", |report| report.trouble.is_some()).await;
    assert!(in_the_way.trouble.expect("a trouble").cause.contains("is not PEM"));
    assert_eq!(guest.content("etc/ssl/web.example.crt").as_deref(), Some(&b"mine"[..]));
    std::fs::remove_file(guest.at("etc/ssl/web.example.crt")).expect("moved away");
    at_stage(&placements, "web", 1, Stage::Served).await;
    placements.desire(vec![PlacementSpec { purge: true, ..web }]);
    until(&placements, "purged", |reports| reports.is_empty()).await;
    assert_eq!(guest.content("etc/ssl/web.example.crt"), None);
    placements.shutdown().await;
}

#[tokio::test]
async fn files_move_without_a_new_certificate_and_the_old_ones_stay_behind() {
    let (guest, service, placements) = Guest::at_work().await;
    let web = spec("web", "web");
    let leaf = issue(&guest, &placements, &web, 1).await;
    at_stage(&placements, "web", 1, Stage::Served).await;

    let mut moved = web.clone();
    let path = Some("/etc/ssl/deep/down/web.key".parse().expect("a path"));
    moved.files.insert(Part::Key, FileSpec { path, ..FileSpec::default() });
    placements.desire(vec![moved.clone()]);
    let report = report(&placements, "web", "moved", |report| {
        report.stage == Stage::Served && !report.left_behind.is_empty() && report.trouble.is_none()
    });
    let report = report.await;
    assert_eq!(report.held.expect("held").leaf, leaf);
    assert_eq!(report.left_behind, ["/etc/ssl/web.example.key".parse().expect("a path")]);
    assert_eq!(guest.content("etc/ssl/deep/down/web.key"), guest.content("etc/ssl/web.example.key"));
    assert_eq!(service.calls(), ["reload", "reload"]);

    placements.desire(vec![web]);
    let back = super::guest::report(&placements, "web", "back", |report| {
        report.stage == Stage::Served && report.left_behind == ["/etc/ssl/deep/down/web.key".parse().expect("a path")]
    });
    back.await;
    placements.desire(vec![PlacementSpec { purge: true, ..moved }]);
    until(&placements, "purged", |reports| reports.is_empty()).await;
    assert_eq!(guest.content("etc/ssl/deep/down/web.key"), None);
    assert_eq!(guest.content("etc/ssl/web.example.key"), None);
    placements.shutdown().await;
}

#[tokio::test]
async fn what_the_guest_does_not_allow_is_blocked_and_says_so() {
    let mut guest = Guest::new();
    guest.allow_units(&[]);
    let _service = guest.service("web").await;
    let placements = guest.start().await;
    placements.desire(vec![ordered(&spec("web", "web"), 1)]);
    let report = report(&placements, "web", "blocked", |report| report.trouble.is_some()).await;
    let trouble = report.trouble.expect("trouble");
    assert_eq!(trouble.halt, Halt::Blocked);
    assert!(trouble.remedy.contains("agent.toml") && trouble.retry_at.is_some(), "{trouble}");
    assert_eq!(report.incoming, None, "what cannot be installed is not asked for");
    placements.shutdown().await;
}

#[tokio::test]
async fn two_certificates_do_not_fight_over_one_path() {
    let (guest, _service, placements) = Guest::at_work().await;
    let web = spec("web", "web");
    issue(&guest, &placements, &web, 1).await;
    at_stage(&placements, "web", 1, Stage::Served).await;
    let rival = PlacementSpec { certificate: name("rival"), ..ordered(&web, 1) };
    placements.desire(vec![web, rival.clone()]);
    let report = report(&placements, "rival", "blocked", |report| report.trouble.is_some()).await;
    assert!(report.trouble.expect("trouble").cause.contains("`web`"));
    // A certificate that was renamed in the manifest takes over.
    placements.desire(vec![rival]);
    deliver(&guest, &placements, "rival", 1).await;
    at_stage(&placements, "rival", 1, Stage::Served).await;
    placements.shutdown().await;
}

#[tokio::test]
async fn a_broken_record_blocks_its_placement_alone_until_it_is_repaired() {
    let mut guest = Guest::new();
    guest.allow_units(&["web", "other"]);
    let (_service, _other) = (guest.service("web").await, guest.service("other").await);
    let placements = guest.start().await;
    let web = spec("web", "web");
    issue(&guest, &placements, &web, 1).await;
    at_stage(&placements, "web", 1, Stage::Served).await;
    placements.shutdown().await;
    let path = guest.at("var/lib/pinion-agent/placements/web.json");
    let good = std::fs::read(&path).expect("a ledger");
    for bad in [&b""[..], &good[..good.len() / 2], b"{\"version\":2,\"x\":1}", b"[]"] {
        std::fs::write(&path, bad).expect("written");
        let placements = guest.start().await;
        let other = spec("other", "other");
        placements.desire(vec![ordered(&web, 1), ordered(&other, 1)]);
        let blocked = report(&placements, "web", "blocked", |report| report.trouble.is_some()).await;
        let trouble = blocked.trouble.expect("trouble");
        assert!(trouble.cause.contains("web.json") && !trouble.remedy.is_empty(), "{trouble}");
        report(&placements, "other", "at work", |report| report.incoming.is_some() || report.held.is_some()).await;
        assert_eq!(std::fs::read(&path).expect("still there"), bad);
        assert!(guest.content("etc/ssl/web.example.key").is_some());
        std::fs::write(&path, &good).expect("repaired");
        at_stage(&placements, "web", 1, Stage::Served).await;
        placements.shutdown().await;
    }
}

#[tokio::test]
async fn two_agents_do_not_share_a_state_directory() {
    let guest = Guest::new();
    let placements = guest.start().await;
    let context = std::sync::Arc::new(crate::apply::Context::real(guest.config.clone()));
    let error = crate::apply::Placements::start(std::sync::Arc::clone(&context)).await.expect_err("in use");
    assert!(chain(&error).contains("another pinion-agent"));
    placements.shutdown().await;
    crate::apply::Placements::start(context).await.expect("free again").shutdown().await;
}
