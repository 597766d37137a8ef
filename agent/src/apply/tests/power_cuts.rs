//! The power goes at every operation of a first installation, of a way back and of a removal; renewals are in
//! `power_cuts_renewal`, adoptions in `power_cuts_adopting`. Afterwards the set is there or not there, the old one or the new one, and the agent continues by itself.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use pinion_proto::{
    message::Purge,
    report::PlacementReport,
    spec::{Layout, PlacementSpec, Validate},
    stage::Stage,
};

use super::{
    guest::{
        Authority, CRT, DEADLINE, Guest, KEY, Subject, at_stage, count, deliver, ordered, report, request, script,
        until,
    },
    roots,
};
use crate::{
    apply::Placements,
    config::Retry,
    install::{
        files::{Files, RealFiles},
        tests::forgetful::{Forgetful, Loss},
    },
};

#[tokio::test]
async fn a_power_cut_leaves_a_first_installation_whole_or_absent() {
    for (layout, loss) in both() {
        let mut cut = 0;
        while !first_installation(layout, loss, cut).await {
            cut += 1;
        }
        count("cuts", &format!("a first installation, {layout}, lost {loss:?}"), cut);
        assert!(cut > 10, "an installation has more operations than {cut}");
    }
}

#[tokio::test]
async fn a_power_cut_in_a_rollback_ends_with_the_old_files() {
    for (layout, loss) in both() {
        let mut cut = 0;
        while !way_back(layout, loss, cut).await {
            cut += 1;
        }
        count("cuts", &format!("a way back, {layout}, lost {loss:?}"), cut);
        assert!(cut > 10, "an installation and its way back have more operations than {cut}");
    }
}

#[tokio::test]
async fn a_removal_continues_after_a_power_cut() {
    for (layout, loss) in both() {
        let mut cut = 0;
        while !removal(layout, loss, cut).await {
            cut += 1;
        }
        count("cuts", &format!("a removal, {layout}, lost {loss:?}"), cut);
        assert!(cut > 5, "a removal has more operations than {cut}");
    }
}

#[tokio::test]
async fn a_power_cut_in_a_change_of_roots_leaves_the_old_or_the_new_ones() {
    for loss in [Loss::Nothing, Loss::Everything] {
        let mut cut = 0;
        while !roots_change(loss, cut).await {
            cut += 1;
        }
        count("cuts", &format!("a change of roots, lost {loss:?}"), cut);
        assert!(cut > 10, "a change of roots has more operations than {cut}");
    }
}

/// Roots of which one takes another's place, each in a file of its own: both are trusted before the old one goes.
async fn roots_change(loss: Loss, cut: usize) -> bool {
    let mut guest = Guest::new();
    roots::with_store(&guest, "");
    let (old, new) = (Authority::new().root, Authority::new().root);
    let placements = guest.start().await;
    placements.desire(vec![roots::roots(std::slice::from_ref(&old))]);
    roots::served(&placements, std::slice::from_ref(&old)).await;
    placements.shutdown().await;
    let disk = Disk::new(&mut guest);
    let placements = guest.start().await;
    disk.cut_after(cut);
    placements.desire(vec![roots::roots(std::slice::from_ref(&new))]);
    let wanted = [new.fingerprint()];
    let ended = report(&placements, "roots", "changed or in trouble", |report| {
        let changed = *report.roots == wanted && report.stage == Stage::Served && report.left_behind.is_empty();
        changed || report.trouble.is_some()
    });
    let ended = ended.await;
    let survived = disk.lose(&placements, loss).await && ended.trouble.is_none();
    let files = roots::in_files(&guest);
    assert!(!files.is_empty(), "{loss:?}, cut at {cut}: there is always a root to trust");
    let placements = disk.back(&mut guest).await;
    placements.desire(vec![roots::roots(std::slice::from_ref(&new))]);
    roots::served(&placements, std::slice::from_ref(&new)).await;
    until(&placements, "rid of the old one", |_| {
        roots::in_files(&guest) == wanted && roots::in_store(&guest) == wanted
    })
    .await;
    placements.shutdown().await;
    survived
}

/// A first installation whose power goes after so many operations; true when it came to its end before.
async fn first_installation(layout: Layout, loss: Loss, cut: usize) -> bool {
    let Subject { mut guest, web, goal, service: _service } = subject(layout, loss).await;
    let disk = Disk::new(&mut guest);
    let placements = guest.start().await;
    placements.desire(vec![ordered(&web, 1)]);
    let asked = request(&placements, "web", 1).await;
    let delivery = guest.authority.delivery(&web.certificate, 1, &asked);
    disk.cut_after(cut);
    placements.deliver(delivery.clone());
    let seen = installed_or_troubled(&placements, 1, goal).await;
    let survived = disk.lose(&placements, loss).await && seen.trouble.is_none();
    if layout == Layout::Symlink {
        let (crt, key) = (guest.content(CRT), guest.content(KEY));
        assert_eq!(crt.is_some(), key.is_some(), "{loss:?}, cut at {cut}: half a set");
        assert!(crt.is_none() || guest.has_pair(), "{loss:?}, cut at {cut}: no pair");
    }
    let placements = disk.back(&mut guest).await;
    // It comes again unless the guest has said that it has it.
    placements.deliver(delivery.clone());
    at_stage(&placements, "web", 1, goal).await;
    placements.shutdown().await;
    assert_eq!(guest.serial(CRT).as_deref(), Some(delivery.chain.leaf().serial()), "{layout}, {loss:?}, cut at {cut}");
    assert!(guest.has_pair(), "{layout}, {loss:?}, cut at {cut}: no pair");
    survived
}

/// An installation that does not validate, and the way back from it.
async fn way_back(layout: Layout, loss: Loss, cut: usize) -> bool {
    let Subject { mut guest, web: first, goal, service: _service } = subject(layout, loss).await;
    place(&guest, &first, goal).await;
    let old = (guest.content(CRT), guest.content(KEY));
    script(&guest.config.hooks.join("check"), "echo no good; exit 1");
    let second = PlacementSpec { validate: Some(Validate::Hook("check".parse().expect("a name"))), ..first };
    let disk = Disk::new(&mut guest);
    let placements = guest.start().await;
    placements.desire(vec![ordered(&second, 2)]);
    let asked = request(&placements, "web", 2).await;
    disk.cut_after(cut);
    let delivery = guest.authority.delivery(&second.certificate, 2, &asked);
    placements.deliver(delivery.clone());
    let troubled = |report: &PlacementReport| report.trouble.is_some();
    let seen = report(&placements, "web", "in trouble", troubled).await;
    let is_back = seen.trouble.is_some_and(|trouble| trouble.cause.contains("the old files are back"));
    let survived = disk.lose(&placements, loss).await && is_back;
    if layout == Layout::Symlink {
        let now = (guest.content(CRT), guest.content(KEY));
        assert_eq!(now.0 == old.0, now.1 == old.1, "{loss:?}, cut at {cut}: one of a pair is the old one");
        assert!(guest.has_pair(), "{loss:?}, cut at {cut}: no pair");
    }
    // One try is made, so that none is under way when the agent is stopped.
    let retry =
        std::mem::replace(&mut guest.config.retry, Retry { initial: DEADLINE, max: DEADLINE, blocked: DEADLINE });
    let placements = disk.back(&mut guest).await;
    placements.deliver(delivery);
    report(&placements, "web", "refused", |report| {
        report.held.as_ref().is_some_and(|held| held.generation == 1)
            && report.trouble.as_ref().is_some_and(|trouble| trouble.cause.contains("no good"))
    })
    .await;
    placements.shutdown().await;
    assert_eq!((guest.content(CRT), guest.content(KEY)), old, "{layout}, {loss:?}, cut at {cut}");
    script(&guest.config.hooks.join("check"), "exit 0");
    guest.config.retry = retry;
    let placements = guest.start().await;
    at_stage(&placements, "web", 2, goal).await;
    placements.shutdown().await;
    assert!(guest.has_pair(), "{layout}, {loss:?}, cut at {cut}: no pair");
    survived
}

/// The removal of a set that is not wanted any more.
async fn removal(layout: Layout, loss: Loss, cut: usize) -> bool {
    let Subject { mut guest, web, goal, .. } = Subject::plain(layout);
    place(&guest, &web, goal).await;
    let disk = Disk::new(&mut guest);
    let placements = guest.start().await;
    placements.desire(Vec::new());
    report(&placements, "web", "retired", |report| report.retired).await;
    disk.cut_after(cut);
    placements.purge(Purge::all(web.certificate.clone()));
    until(&placements, "removed or in trouble", |reports| {
        reports.get(&web.certificate).is_none_or(|report| report.trouble.is_some())
    })
    .await;
    let gone = placements.reports().borrow().is_empty();
    let survived = disk.lose(&placements, loss).await && gone;
    let whole = guest.content(CRT).is_some() && guest.content(KEY).is_some();
    let placements = disk.back(&mut guest).await;
    placements.desire(Vec::new());
    if whole {
        // Perhaps nothing was begun.
        placements.purge(Purge::all(web.certificate.clone()));
    }
    until(&placements, "removed", |reports| reports.is_empty()).await;
    placements.shutdown().await;
    let left = RealFiles.list(&guest.at("etc/ssl")).expect("listed");
    assert!(left.is_empty(), "{layout}, {loss:?}, cut at {cut}: {left:?}");
    survived
}

/// A disk whose power will go.
pub(super) struct Disk {
    left: Arc<AtomicUsize>,
    disk: Arc<Forgetful>,
}

impl Disk {
    pub(super) fn new(guest: &mut Guest) -> Self {
        let left = Arc::new(AtomicUsize::new(usize::MAX));
        let disk = Arc::new(Forgetful::after(&left, &guest.at("/")));
        guest.files = Arc::clone(&disk) as Arc<dyn Files>;
        Self { left, disk }
    }

    pub(super) fn cut_after(&self, operations: usize) {
        self.left.store(operations, Ordering::SeqCst);
    }

    /// The power is gone, and the agent with it; true when it went only after everything.
    pub(super) async fn lose(&self, placements: &Placements, loss: Loss) -> bool {
        placements.shutdown().await;
        self.disk.lose(loss);
        self.left.load(Ordering::SeqCst) > 0
    }

    /// The power is back.
    pub(super) async fn back(self, guest: &mut Guest) -> Placements {
        guest.files = Arc::new(RealFiles);
        guest.start().await
    }
}

fn both() -> impl Iterator<Item = (Layout, Loss)> {
    Layout::ALL.into_iter().flat_map(|layout| [Loss::Nothing, Loss::Everything].map(|loss| (layout, loss)))
}

/// Where nothing is kept it is served, too.
async fn subject(layout: Layout, loss: Loss) -> Subject {
    if loss == Loss::Everything { Subject::served(layout).await } else { Subject::plain(layout) }
}

async fn place(guest: &Guest, web: &PlacementSpec, goal: Stage) {
    let placements = guest.start().await;
    placements.desire(vec![ordered(web, 1)]);
    deliver(guest, &placements, "web", 1).await;
    at_stage(&placements, "web", 1, goal).await;
    placements.shutdown().await;
}

async fn installed_or_troubled(placements: &Placements, generation: u64, goal: Stage) -> PlacementReport {
    report(placements, "web", "installed or in trouble", |report| {
        let here = report.held.as_ref().is_some_and(|held| held.generation == generation);
        report.trouble.is_some() || (report.stage == goal && here)
    })
    .await
}
