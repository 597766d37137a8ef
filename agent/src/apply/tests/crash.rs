//! The power goes at every operation of an exchange of files: afterwards the set is the old one or the new one.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use pinion_proto::{spec::PlacementSpec, spec::Probe, stage::Stage};

use super::guest::{Guest, at_stage, deliver, ordered, report, request, spec};
use crate::install::{
    failing::Failing,
    files::{Files, RealFiles},
};

#[tokio::test]
async fn a_set_is_wholly_old_or_wholly_new_after_a_crash_at_every_operation() {
    let mut guest = Guest::new();
    let nothing = "127.0.0.1:1".parse().expect("an address");
    guest.recipe("web", nothing, "");
    guest.allow_units(&["web"]);
    let web = PlacementSpec {
        probe: Some(Probe::Nothing),
        reload: Some(pinion_proto::spec::Reload::Nothing),
        ..spec("web", "web")
    };
    let (crt, key) = ("etc/ssl/web.example.crt", "etc/ssl/web.example.key");
    let mut generation = 1;
    let first = guest.start().await;
    first.desire(vec![ordered(&web, 1)]);
    deliver(&guest, &first, "web", 1).await;
    at_stage(&first, "web", 1, Stage::Reloaded).await;
    first.shutdown().await;

    let mut cut = 0;
    loop {
        generation += 1;
        let left = Arc::new(AtomicUsize::new(usize::MAX));
        guest.files = Arc::new(Failing::after(&left));
        let placements = guest.start().await;
        placements.desire(vec![ordered(&web, generation)]);
        let asked = request(&placements, "web", generation).await;
        let old = (guest.content(crt), guest.content(key));
        left.store(cut, Ordering::SeqCst);
        let delivery = guest.authority.delivery(&web.certificate, generation, &asked);
        let leaf = delivery.chain.leaf().clone();
        placements.deliver(delivery.clone());
        let seen = report(&placements, "web", "installed or in trouble", |report| {
            report.trouble.is_some()
                || (report.stage == Stage::Reloaded && report.held.as_ref().is_some_and(|held| held.leaf == leaf))
        });
        let seen = seen.await;
        placements.shutdown().await;
        let survived = left.load(Ordering::SeqCst) > 0 && seen.trouble.is_none();

        // The next start has its disk back. A delivery that was not written down yet comes again.
        guest.files = Arc::new(RealFiles);
        let placements = guest.start().await;
        let now = placements.reports().borrow().get(&web.certificate).expect("remembered").clone();
        if now.held.as_ref().is_none_or(|held| held.leaf != leaf) && now.incoming.is_some() {
            placements.deliver(delivery);
        }
        at_stage(&placements, "web", generation, Stage::Reloaded).await;
        placements.shutdown().await;
        let new = (guest.content(crt), guest.content(key));
        assert_eq!(guest.serial(crt).as_deref(), Some(leaf.serial()), "cut at {cut}");
        assert!(new.0 != old.0 && new.1 != old.1, "cut at {cut}: one of a pair is still the old one");
        let names = RealFiles.list(&guest.at("etc/ssl")).expect("listed");
        assert_eq!(names.len(), 2, "cut at {cut}: leftovers in {names:?}");
        if survived {
            break;
        }
        cut += 1;
    }
    assert!(cut > 15, "an exchange has more operations than {cut}");
}
