//! Each kind of work that changes a placement's files, on a disk that may fail in the middle of it.

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use pinion_proto::{
    lock::lock,
    message::Delivery,
    message::Purge,
    private_key::PrivateKey,
    report::{Incoming, PlacementReport, Progress},
    spec::{Layout, PlacementSpec, Reload, Validate},
    stage::{Stage, Trouble},
};
use rustix::io::Errno;
use tokio::time::{sleep, timeout};

use super::guest::{CRT, DEADLINE, Guest, KEY, ordered, report, script};
use crate::apply::Placements;

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    First,
    Renewal,
    BackFromCheck,
    BackFromReload,
    Removal,
    Layout,
}

impl Work {
    /// It has at least so many operations that can fail.
    pub(super) fn least(self) -> usize {
        match self {
            Self::Removal => 6,
            Self::Layout => 8,
            Self::First | Self::Renewal | Self::BackFromCheck | Self::BackFromReload => 15,
        }
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::First => "a first installation",
            Self::Renewal => "a renewal",
            Self::BackFromCheck => "a way back from what does not validate",
            Self::BackFromReload => "a way back from what is refused",
            Self::Removal => "a removal",
            Self::Layout => "a change of layout",
        })
    }
}

/// A guest with one placement, and what is done with it.
pub(super) struct Works {
    guest: Guest,
    placements: Placements,
    /// As it is without anything wrong.
    plain: PlacementSpec,
    /// As it is asked for now.
    spec: PlacementSpec,
    generation: u64,
    sent: Option<(Vec<u8>, Delivery)>,
    /// What was in place before the work began.
    old: Pair,
    troubles: Arc<Mutex<Vec<Trouble>>>,
}

type Pair = (Option<Vec<u8>>, Option<Vec<u8>>);

impl Works {
    pub(super) async fn begin(guest: Guest, plain: PlacementSpec) -> Self {
        let placements = guest.start().await;
        let troubles = watch(&placements);
        let spec = plain.clone();
        Self { guest, placements, plain, spec, generation: 0, sent: None, old: (None, None), troubles }
    }

    /// What the work begins with is there, on a disk that works.
    pub(super) async fn prepare(&mut self, work: Work) {
        if work != Work::First && self.pair().0.is_none() {
            self.begin_work(Work::First, || ());
            self.is_done(Work::First, "preparing").await;
        }
        match work {
            Work::BackFromCheck => script(&self.hook("check"), "echo no good; exit 1"),
            Work::BackFromReload => {
                let good = self.guest.at("good");
                std::fs::write(&good, self.pair().0.expect("in place")).expect("written");
                let same =
                    format!("cmp -s \"$PINION_FILE_FULLCHAIN\" {} || {{ echo no good; exit 1; }}", good.display());
                script(&self.hook("tell"), &same);
            }
            Work::Removal => {
                self.placements.desire(Vec::new());
                report(&self.placements, "web", "retired", |report| report.retired).await;
            }
            Work::First | Work::Renewal | Work::Layout => {}
        }
        self.old = self.pair();
    }

    /// Asks for it; `last` is done just before.
    pub(super) fn begin_work(&mut self, work: Work, last: impl FnOnce()) {
        self.spec = match work {
            Work::BackFromCheck => {
                PlacementSpec { validate: Some(Validate::Hook("check".parse().expect("a name"))), ..self.plain.clone() }
            }
            Work::BackFromReload => {
                PlacementSpec { reload: Some(Reload::Hook("tell".parse().expect("a name"))), ..self.plain.clone() }
            }
            Work::Layout => PlacementSpec { layout: Some(other(self.plain.layout)), ..self.plain.clone() },
            Work::First | Work::Renewal | Work::Removal => self.plain.clone(),
        };
        if !matches!(work, Work::Removal | Work::Layout) {
            self.generation += 1;
        }
        last();
        if work == Work::Removal {
            self.placements.purge(Purge::all(self.spec.certificate.clone()));
        } else {
            self.placements.desire(vec![ordered(&self.spec, self.generation)]);
        }
    }

    /// It comes to its end by itself: requests are answered, and answered again while something holds it up.
    pub(super) async fn is_done(&mut self, work: Work, at: &str) {
        let done = timeout(DEADLINE, async {
            loop {
                self.answer();
                if self.is_at_end(work) {
                    return;
                }
                sleep(Duration::from_millis(1)).await;
            }
        });
        if done.await.is_err() {
            panic!("{at}: never done: {:#?}", self.placements.reports().borrow());
        }
    }

    /// What is not to stay so is put right, and is right then.
    pub(super) async fn afterwards(&mut self, work: Work, at: &str) {
        match work {
            Work::BackFromCheck | Work::BackFromReload => {
                script(&self.hook("check"), "exit 0");
                script(&self.hook("tell"), "exit 0");
                self.is_done(Work::Renewal, at).await;
            }
            // And back again, and so through both directions.
            Work::Layout => self.plain.layout = self.spec.layout,
            Work::First => {
                self.prepare(Work::Removal).await;
                self.begin_work(Work::Removal, || ());
                self.is_done(Work::Removal, at).await;
            }
            Work::Renewal | Work::Removal => {}
        }
    }

    /// Everything goes.
    pub(super) async fn end(mut self) -> Guest {
        if self.pair().0.is_some() {
            self.prepare(Work::Removal).await;
            self.begin_work(Work::Removal, || ());
            self.is_done(Work::Removal, "at the end").await;
        }
        self.placements.shutdown().await;
        self.guest
    }

    pub(super) fn forget_troubles(&self) {
        lock(&self.troubles).clear();
    }

    /// Whether the fault was reported: each time with what was tried, on what, why, and when it is tried again.
    pub(super) fn was_reported(&self, errno: Errno, at: &str) -> bool {
        let troubles = lock(&self.troubles);
        let faults = troubles.iter().filter(|trouble| !is_refusal(trouble));
        let mut reported = false;
        for trouble in faults {
            let cause = &trouble.cause;
            assert!(cause.contains(&format!("os error {}", errno.raw_os_error())), "{at}: another cause: {trouble}");
            assert!(cause.contains("/etc/") || cause.contains("/var/"), "{at}: on what? {trouble}");
            assert!(!trouble.attempt.is_empty() && !trouble.remedy.is_empty(), "{at}: {trouble}");
            assert!(trouble.retry_at.is_some(), "{at}: not tried again: {trouble}");
            reported = true;
        }
        reported
    }

    fn is_at_end(&self, work: Work) -> bool {
        let reports = self.placements.reports().borrow().clone();
        let Some(report) = reports.get(&self.spec.certificate) else { return work == Work::Removal && self.is_gone() };
        let held = report.held.as_ref();
        let is_held = |generation| held.is_some_and(|held| held.generation == generation);
        let rests = report.stage == Stage::Reloaded && report.trouble.is_none();
        match work {
            Work::First | Work::Renewal => is_held(self.generation) && rests && self.is_pair(report),
            Work::BackFromCheck | Work::BackFromReload => {
                report.trouble.as_ref().is_some_and(is_refusal)
                    && !is_held(self.generation)
                    && held.is_some()
                    && self.pair() == self.old
            }
            Work::Removal => false,
            Work::Layout => {
                let links = self.spec.layout == Some(Layout::Symlink);
                let is_link = |path| self.guest.at(path).symlink_metadata().is_ok_and(|found| found.is_symlink());
                let accepted = report.revision == ordered(&self.spec, self.generation).revision();
                rests && accepted && [CRT, KEY].iter().all(|path| is_link(path) == links) && self.is_pair(report)
            }
        }
    }

    /// Nothing of it is left, in the service's directory and in the agent's.
    fn is_gone(&self) -> bool {
        self.pair() == (None, None) && self.guest.content("var/lib/pinion-agent/placements/web.json").is_none()
    }

    /// What is in place is what is reported, and belongs together.
    fn is_pair(&self, report: &PlacementReport) -> bool {
        let Some(leaf) = report.held.as_ref().map(|held| &held.leaf) else { return false };
        let key = self.pair().1.and_then(|key| PrivateKey::from_pem(&String::from_utf8(key).ok()?).ok());
        self.guest.serial(CRT).as_deref() == Some(leaf.serial()) && key.is_some_and(|key| key.public() == leaf.key())
    }

    fn pair(&self) -> Pair {
        (self.guest.content(CRT), self.guest.content(KEY))
    }

    fn hook(&self, name: &str) -> std::path::PathBuf {
        self.guest.config.hooks.join(name)
    }

    /// Answers what is asked for, as a controller does that has not heard that it came.
    fn answer(&mut self) {
        let reports = self.placements.reports().borrow().clone();
        let Some(report) = reports.get(&self.spec.certificate) else { return };
        let Some(Incoming { progress: Progress::Requested(asked), generation }) = &report.incoming else { return };
        if *generation != self.generation {
            return;
        }
        match &self.sent {
            Some((answered, delivery)) if answered == asked => {
                if report.trouble.is_some() {
                    self.placements.deliver(delivery.clone());
                }
            }
            _ => {
                let delivery = self.guest.authority.delivery(&self.spec.certificate, self.generation, asked);
                self.placements.deliver(delivery.clone());
                self.sent = Some((asked.clone(), delivery));
            }
        }
    }
}

fn other(layout: Option<Layout>) -> Layout {
    if layout == Some(Layout::Symlink) { Layout::Copy } else { Layout::Symlink }
}

/// Of the hooks here, and no fault of the disk.
fn is_refusal(trouble: &Trouble) -> bool {
    trouble.cause.contains("no good") && trouble.cause.contains("the old files are back")
}

/// Every trouble that is reported.
fn watch(placements: &Placements) -> Arc<Mutex<Vec<Trouble>>> {
    let troubles = Arc::new(Mutex::new(Vec::new()));
    let (mut reports, noted) = (placements.reports(), Arc::clone(&troubles));
    tokio::spawn(async move {
        while reports.changed().await.is_ok() {
            let now: Vec<Trouble> =
                reports.borrow_and_update().values().filter_map(|report| report.trouble.clone()).collect();
            lock(&noted).extend(now);
        }
    });
    troubles
}
