//! The power goes at every operation of a renewal, and takes what was not synced with it: afterwards the set is the old
//! one or the new one, and a request that anybody heard of finds its key.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use pinion_proto::{report::Progress, spec::Layout};

use super::guest::{CRT, KEY, Subject, at_stage, count, deliver, ordered, report, request};
use crate::install::{
    files::{Files, RealFiles},
    tests::forgetful::{Forgetful, Loss},
};

#[tokio::test]
async fn where_nothing_is_lost_a_renewal_is_finished_or_undone() {
    cut_everywhere_in_both(Loss::Nothing).await;
}

#[tokio::test]
async fn where_unsynced_contents_are_lost_a_renewal_is_finished_or_undone() {
    cut_everywhere_in_both(Loss::Contents).await;
}

#[tokio::test]
async fn the_record_is_on_disk_before_the_files() {
    cut_everywhere_in_both(Loss::EntriesOf("placements")).await;
}

#[tokio::test]
async fn files_that_are_lost_from_the_disk_are_written_again() {
    cut_everywhere_in_both(Loss::EntriesOf("ssl")).await;
}

#[tokio::test]
async fn a_generation_is_on_disk_before_a_link_leads_to_it() {
    cut_everywhere_in_both(Loss::EntriesOf("web")).await;
}

#[tokio::test]
async fn where_everything_unsynced_is_lost_a_renewal_is_finished_or_undone() {
    cut_everywhere_in_both(Loss::Everything).await;
}

async fn cut_everywhere_in_both(loss: Loss) {
    for layout in Layout::ALL {
        cut_everywhere(loss, layout).await;
    }
}

/// Renews again and again, each time with one operation more before the power goes.
#[expect(clippy::cognitive_complexity, reason = "one story, told once for every operation")]
async fn cut_everywhere(loss: Loss, layout: Layout) {
    // Where nothing is kept it is served, too.
    let subject = if loss == Loss::Everything { Subject::served(layout).await } else { Subject::plain(layout) };
    let Subject { mut guest, web, goal, service: _service } = subject;
    let mut generation = 1;
    let first = guest.start().await;
    first.desire(vec![ordered(&web, 1)]);
    deliver(&guest, &first, "web", 1).await;
    at_stage(&first, "web", 1, goal).await;
    first.shutdown().await;

    let mut cut = 0;
    loop {
        generation += 1;
        let old = (guest.content(CRT), guest.content(KEY));
        let left = Arc::new(AtomicUsize::new(usize::MAX));
        let disk = Arc::new(Forgetful::after(&left, &guest.at("/")));
        guest.files = Arc::clone(&disk) as Arc<dyn Files>;
        let placements = guest.start().await;
        left.store(cut, Ordering::SeqCst);
        placements.desire(vec![ordered(&web, generation)]);
        let mut certified = None;
        let seen = report(&placements, "web", "requested or in trouble", |report| {
            report.trouble.is_some() || report.incoming.is_some()
        });
        let mut survived = false;
        if let Some(Progress::Requested(asked)) = seen.await.incoming.map(|incoming| incoming.progress) {
            let delivery = guest.authority.delivery(&web.certificate, generation, &asked);
            let leaf = delivery.chain.leaf().clone();
            placements.deliver(delivery.clone());
            let seen = report(&placements, "web", "installed or in trouble", |report| {
                report.trouble.is_some()
                    || (report.stage == goal && report.held.as_ref().is_some_and(|held| held.leaf == leaf))
            });
            let seen = seen.await;
            let heard = seen.trouble.is_none() || seen.incoming.is_some_and(|i| i.progress == Progress::Delivered);
            placements.shutdown().await;
            survived = left.load(Ordering::SeqCst) > 0 && seen.trouble.is_none();
            certified = Some((delivery, heard));
        } else {
            placements.shutdown().await;
        }
        disk.lose(loss);
        if layout == Layout::Symlink {
            // Nobody has started the agent again yet.
            let now = (guest.content(CRT), guest.content(KEY));
            assert!(guest.has_pair(), "cut at {cut}: something is missing, or of another pair");
            assert_eq!(now.0 == old.0, now.1 == old.1, "cut at {cut}: one of a pair is the old one");
        }

        // The next start has its disk back. A delivery that nobody has heard of comes again.
        guest.files = Arc::new(RealFiles);
        let placements = guest.start().await;
        let leaf = match certified {
            Some((delivery, heard)) => {
                if !heard {
                    placements.deliver(delivery.clone());
                }
                delivery.chain.leaf().clone()
            }
            None => {
                placements.desire(vec![ordered(&web, generation)]);
                request(&placements, "web", generation).await;
                deliver(&guest, &placements, "web", generation).await
            }
        };
        at_stage(&placements, "web", generation, goal).await;
        placements.shutdown().await;
        let new = (guest.content(CRT), guest.content(KEY));
        assert!(guest.has_pair(), "cut at {cut}: no pair");
        assert_eq!(guest.serial(CRT).as_deref(), Some(leaf.serial()), "cut at {cut}");
        assert!(new.0 != old.0 && new.1 != old.1, "cut at {cut}: one of a pair is still the old one");
        let names = RealFiles.list(&guest.at("etc/ssl")).expect("listed");
        match layout {
            Layout::Copy => assert_eq!(names.len(), 2, "cut at {cut}: leftovers in {names:?}"),
            Layout::Symlink => {
                assert_eq!(names.len(), 3, "cut at {cut}: leftovers in {names:?}");
                let mut kept = RealFiles.list(&guest.at("etc/ssl/.pinion/web")).expect("listed");
                kept.sort_unstable();
                let mut expected: Vec<std::ffi::OsString> =
                    vec![(generation - 1).to_string().into(), generation.to_string().into(), "current".into()];
                expected.sort_unstable();
                assert_eq!(kept, expected, "cut at {cut}");
            }
        }
        if survived {
            break;
        }
        cut += 1;
    }
    count("cuts", &format!("a renewal, {layout}, lost {loss:?}"), cut);
    assert!(cut > 20, "a renewal has more operations than {cut}");
}
