//! One operation of a renewal fails, whichever, and the next ones do not: the agent goes on by itself to the new set.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use pinion_proto::{
    bundle::Leaf,
    message::Delivery,
    private_key::PrivateKey,
    report::{Incoming, Progress},
    spec::{Layout, PlacementSpec},
    stage::Stage,
};
use rustix::io::Errno;
use tokio::time::timeout;

use super::guest::{CRT, DEADLINE, Guest, KEY, at_stage, count, deliver, ordered, plain, plain_guest};
use crate::{
    apply::Placements,
    install::{failing::Failing, files::Files},
};

#[tokio::test]
async fn a_disk_that_is_full_for_a_moment_costs_time() {
    fail_everywhere(Errno::NOSPC).await;
}

#[tokio::test]
async fn a_disk_that_cannot_be_read_for_a_moment_costs_time() {
    fail_everywhere(Errno::IO).await;
}

#[tokio::test]
async fn a_disk_that_is_read_only_for_a_moment_costs_time() {
    fail_everywhere(Errno::ROFS).await;
}

/// Renews again and again in each layout, each time with one operation more before the one that fails.
async fn fail_everywhere(with: Errno) {
    for layout in Layout::ALL {
        let (mut guest, web) = (plain_guest(), plain(layout));
        let left = Arc::new(AtomicUsize::new(usize::MAX));
        guest.files = Arc::new(Failing::once_after(&left, with)) as Arc<dyn Files>;
        let placements = guest.start().await;
        placements.desire(vec![ordered(&web, 1)]);
        deliver(&guest, &placements, "web", 1).await;
        at_stage(&placements, "web", 1, Stage::Reloaded).await;
        let trouble = Troubles::watch(&placements);

        let (mut operation, mut told) = (0, 0);
        loop {
            let generation = u64::try_from(operation).expect("a few") + 2;
            trouble.forget();
            left.store(operation, Ordering::SeqCst);
            let leaf = renew(&guest, &placements, &web, generation).await;
            let failed = left.swap(usize::MAX, Ordering::SeqCst) > usize::MAX / 2;
            assert_eq!(guest.serial(CRT).as_deref(), Some(leaf.serial()), "{layout}, {with}, operation {operation}");
            let key = String::from_utf8(guest.content(KEY).expect("a key")).expect("PEM");
            let key = PrivateKey::from_pem(&key).expect("a key");
            assert_eq!(key.public(), leaf.key(), "{layout}, {with}, operation {operation}");
            if !failed {
                break;
            }
            told += usize::from(trouble.was_told());
            operation += 1;
        }
        placements.shutdown().await;
        count("faults", &format!("a renewal, {layout}, {with}, told {told}"), operation);
        assert!(operation > 15, "a renewal has more operations than {operation}");
        // Not told is what holds nothing up: what is tidied up, and written down once more, after a renewal.
        assert!(told > 10, "of {operation} faults {told} were told");
    }
}

/// Orders, and delivers what is asked for, once more whenever a trouble was told, until the generation is in place.
async fn renew(guest: &Guest, placements: &Placements, web: &PlacementSpec, generation: u64) -> Leaf {
    let mut reports = placements.reports();
    placements.desire(vec![ordered(web, generation)]);
    let mut sent: Option<(Vec<u8>, Delivery)> = None;
    let renewed = async {
        loop {
            let seen = reports.borrow_and_update().get(&web.certificate).cloned();
            if let Some(report) = seen {
                let held = report.held.filter(|held| held.generation == generation);
                if let (Some(held), Stage::Reloaded, None) = (held, report.stage, &report.trouble) {
                    return held.leaf;
                }
                if let Some(Incoming { progress: Progress::Requested(asked), generation: asks }) = report.incoming
                    && asks == generation
                {
                    match &sent {
                        Some((answered, delivery)) if *answered == asked => {
                            if report.trouble.is_some() {
                                placements.deliver(delivery.clone());
                            }
                        }
                        _ => {
                            let delivery = guest.authority.delivery(&web.certificate, generation, &asked);
                            placements.deliver(delivery.clone());
                            sent = Some((asked, delivery));
                        }
                    }
                }
            }
            reports.changed().await.expect("the agent runs");
        }
    };
    timeout(DEADLINE, renewed).await.unwrap_or_else(|_| panic!("never in place: {:#?}", placements.reports().borrow()))
}

/// Whether a trouble was told.
struct Troubles(Arc<AtomicBool>);

impl Troubles {
    fn watch(placements: &Placements) -> Self {
        let told = Arc::new(AtomicBool::new(false));
        let (mut reports, noted) = (placements.reports(), Arc::clone(&told));
        tokio::spawn(async move {
            while reports.changed().await.is_ok() {
                if reports.borrow_and_update().values().any(|report| report.trouble.is_some()) {
                    noted.store(true, Ordering::SeqCst);
                }
            }
        });
        Self(told)
    }

    fn forget(&self) {
        self.0.store(false, Ordering::SeqCst);
    }

    fn was_told(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
