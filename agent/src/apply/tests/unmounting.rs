//! A share that goes away while files are exchanged on it: at any operation, nothing is made below its mount point.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use pinion_proto::{
    message::Purge,
    report::PlacementReport,
    spec::{Layout, Validate},
    stage::Stage,
};

use super::{
    guest::{at_stage, count, deliver, name, ordered, report, request, script, until},
    unmounted::{Shared, looks_go_by},
};

/// What is done while the share goes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    First,
    Renewal,
    WayBack,
    Removal,
    Layout,
    MovedThere,
}

/// Each work has some hundred operations, looks included: every so many of them are tried, another choice for each.
const EVERY: usize = 67;

#[tokio::test]
async fn unmounted_at_any_operation_nothing_is_made_below_the_mount_point() {
    let works = [Work::First, Work::Renewal, Work::WayBack, Work::Removal, Work::Layout, Work::MovedThere];
    let both = works.into_iter().flat_map(|work| Layout::ALL.map(|layout| (work, layout)));
    for (first, (work, layout)) in both.enumerate() {
        let (mut operation, mut unmounts) = (first, 0);
        while unmounted_after(work, layout, operation).await {
            operation += EVERY;
            unmounts += 1;
        }
        count("unmounts", &format!("{work:?}, {layout}"), unmounts);
        assert!(operation > 30, "{work:?}, {layout} has more operations than {operation}");
    }
}

/// True when it was unmounted before the work was done.
#[expect(clippy::too_many_lines, reason = "one story, told once for every operation")]
async fn unmounted_after(work: Work, layout: Layout, operation: usize) -> bool {
    let at = format!("{work:?}, {layout}, unmounted after {operation} operations");
    let shared = Shared::new(layout);
    shared.mount("one");
    let mut web = shared.web.clone();
    let placements = match work {
        Work::First => shared.guest.start().await,
        Work::MovedThere => {
            let mut here = shared.web.clone();
            here.recipe = None;
            here.files = [("cert", "here.crt"), ("key", "here.key")]
                .map(|(part, file)| {
                    let path = Some(format!("/etc/ssl/{file}").parse().expect("a path"));
                    let own = |number: u32| Some(number.to_string().parse().expect("a number"));
                    let owner = own(rustix::process::geteuid().as_raw());
                    let group = own(rustix::process::getegid().as_raw());
                    let file = pinion_proto::spec::FileSpec { path, owner, group, ..Default::default() };
                    (part.parse().expect("a part"), file)
                })
                .into();
            let placements = shared.guest.start().await;
            placements.desire(vec![ordered(&here, 1)]);
            deliver(&shared.guest, &placements, "web", 1).await;
            at_stage(&placements, "web", 1, Stage::Reloaded).await;
            placements
        }
        Work::Renewal | Work::WayBack | Work::Removal | Work::Layout => shared.placed(1).await,
    };
    match work {
        Work::First => placements.desire(vec![ordered(&web, 1)]),
        Work::Renewal => placements.desire(vec![ordered(&web, 2)]),
        Work::WayBack => {
            script(&shared.guest.config.hooks.join("check"), "echo no good; exit 1");
            web.validate = Some(Validate::Hook("check".parse().expect("a name")));
            placements.desire(vec![ordered(&web, 2)]);
        }
        Work::Removal => {
            placements.desire(Vec::new());
            report(&placements, "web", "retired", |report| report.retired).await;
        }
        Work::Layout | Work::MovedThere => {}
    }
    let delivery = match work {
        Work::First | Work::Renewal | Work::WayBack => {
            let generation = if work == Work::First { 1 } else { 2 };
            let asked = request(&placements, "web", generation).await;
            Some(shared.guest.authority.delivery(&name("web"), generation, &asked))
        }
        Work::Removal | Work::Layout | Work::MovedThere => None,
    };
    let other = if layout == Layout::Copy { Layout::Symlink } else { Layout::Copy };
    shared.files.unmount_after(operation);
    match work {
        Work::First | Work::Renewal | Work::WayBack => placements.deliver(delivery.clone().expect("made")),
        Work::Removal => placements.purge(Purge::all(name("web"))),
        Work::Layout => {
            web.layout = Some(other);
            placements.desire(vec![ordered(&web, 1)]);
        }
        Work::MovedThere => placements.desire(vec![ordered(&web, 1)]),
    }
    let crt = |device: &Path| device.join("certs/web.example.crt");
    let device = shared.guest.at("devices/one");
    let is_link = || crt(&device).symlink_metadata().is_ok_and(|found| found.is_symlink());
    let done = |report: Option<&PlacementReport>| match (work, report) {
        (Work::Removal, report) => report.is_none(),
        (_, None) => false,
        (Work::WayBack, Some(report)) => {
            report.held.as_ref().is_some_and(|held| held.generation == 1)
                && report.trouble.as_ref().is_some_and(|trouble| trouble.cause.contains("no good"))
        }
        (Work::First, Some(report)) => reached(report, 1),
        (Work::Renewal, Some(report)) => reached(report, 2),
        (Work::MovedThere, Some(report)) => reached(report, 1) && crt(&device).exists(),
        (Work::Layout, Some(report)) => reached(report, 1) && is_link() == (other == Layout::Symlink),
    };
    let waiting = |report: Option<&PlacementReport>| {
        let trouble = report.and_then(|report| report.trouble.as_ref());
        trouble.is_some_and(|trouble| trouble.cause.contains("is not mounted"))
    };
    until(&placements, &at, |reports| {
        let report = reports.get(&name("web"));
        done(report) || waiting(report)
    })
    .await;
    placements.shutdown().await;
    let unmounted = shared.files.has_unmounted();
    assert_eq!(shared.hidden(), Vec::<PathBuf>::new(), "{at}");
    // What was begun is gone on with only when it is mounted again.
    let placements = shared.guest.start().await;
    if unmounted {
        // What is retired, or gone already, is not looked at any more.
        drop(tokio::time::timeout(Duration::from_millis(300), looks_go_by(&shared)).await);
        assert_eq!(shared.hidden(), Vec::<PathBuf>::new(), "{at}, started again");
        shared.mount("one");
    }
    if let Some(delivery) = delivery {
        placements.deliver(delivery);
    }
    if work == Work::Removal {
        placements.desire(Vec::new());
        placements.purge(Purge::all(name("web")));
    }
    until(&placements, &format!("done: {at}"), |reports| done(reports.get(&name("web")))).await;
    placements.shutdown().await;
    assert_eq!(shared.hidden(), Vec::<PathBuf>::new(), "{at}, at the end");
    unmounted
}

fn reached(report: &PlacementReport, generation: u64) -> bool {
    report.stage == Stage::Reloaded
        && report.trouble.is_none()
        && report.held.as_ref().is_some_and(|held| held.generation == generation)
}
