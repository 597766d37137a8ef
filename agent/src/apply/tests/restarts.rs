//! A service is restarted so often in an hour, and no more, whatever is asked.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use pinion_proto::{
    clock::{Clock, SystemClock, Timestamp},
    spec::{PlacementSpec, Reload},
    stage::{Halt, Stage},
};

use super::guest::{Guest, Service, at_stage, issue, name, ordered, report, request, spec};

/// The machine's clock, and so many seconds.
#[derive(Debug, Default)]
struct Ahead(AtomicI64);

impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        let ahead = self.0.load(Ordering::SeqCst);
        SystemClock.now() + Duration::from_secs(ahead.try_into().expect("not set back"))
    }

    fn sleep_until(&self, _: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(tokio::time::sleep(Duration::from_millis(10)))
    }
}

/// A guest with a clock of its own, and a service that is restarted for its certificate.
async fn restarted() -> (Guest, Arc<Ahead>, Service, PlacementSpec) {
    let mut guest = Guest::new();
    let clock = Arc::new(Ahead::default());
    guest.clock = Arc::clone(&clock) as Arc<dyn Clock>;
    guest.allow_units(&["web"]);
    let service = guest.service("web").await;
    let restart = Some(Reload::Restart("web.service".parse().expect("a unit")));
    let web = PlacementSpec { reload: restart, ..spec("web", "web") };
    (guest, clock, service, web)
}

#[tokio::test]
async fn a_restart_that_nobody_was_there_for_is_none() {
    let (guest, _, mut service, web) = restarted().await;
    std::fs::remove_file(guest.config.hooks.join("web.service")).expect("removed");
    let placements = guest.start().await;
    issue(&guest, &placements, &web, 1).await;
    report(&placements, "web", "waiting", |report| report.trouble.is_some()).await;
    service.looked_at(20).await;
    service.hook(&guest.config.hooks, "");
    let served = at_stage(&placements, "web", 1, Stage::Served).await;
    assert_eq!(service.calls(), ["restart"]);
    assert_eq!((served.notified.reloads, served.notified.restarts), (0, 1), "and it is reported once");
    placements.shutdown().await;
}

#[tokio::test]
async fn three_times_an_hour_and_then_it_waits_and_says_until_when() {
    let (guest, clock, service, web) = restarted().await;
    let placements = guest.start().await;
    for generation in 1..=3 {
        issue(&guest, &placements, &web, generation).await;
        at_stage(&placements, "web", generation, Stage::Served).await;
    }
    // A restart of the agent does not begin anew.
    placements.shutdown().await;
    let placements = guest.start().await;
    issue(&guest, &placements, &web, 4).await;
    let limited = report(&placements, "web", "limited", |report| {
        report.trouble.as_ref().is_some_and(|trouble| trouble.cause.contains("was restarted 3 times"))
    });
    let limited = limited.await;
    let trouble = limited.trouble.expect("just seen");
    assert_eq!((trouble.halt, limited.stage), (Halt::Waiting, Stage::Installed), "{trouble}");
    assert!(trouble.attempt.contains("web.service") && trouble.remedy.contains("continues by itself"), "{trouble}");
    let until = trouble.retry_at.expect("a moment");
    assert!(until > clock.now() + Duration::from_secs(3000) && until <= clock.now() + Duration::from_secs(3600));
    placements.retry(&web.certificate);
    report(&placements, "web", "still limited", |report| report.trouble.is_some()).await;
    assert_eq!(service.calls(), ["restart"; 3]);

    clock.0.store(3601, Ordering::SeqCst);
    at_stage(&placements, "web", 4, Stage::Served).await;
    assert_eq!(service.calls(), ["restart"; 4]);
    placements.shutdown().await;
}

#[tokio::test]
async fn short_certificates_get_no_more_restarts() {
    let (guest, clock, service, web) = restarted().await;
    let placements = guest.start().await;
    for generation in 1..=4 {
        placements.desire(vec![ordered(&web, generation)]);
        let csr = request(&placements, "web", generation).await;
        let mut delivery = guest.authority.delivery(&name("web"), generation, &csr);
        delivery.chain = guest.authority.sign(&csr, -60, clock.0.load(Ordering::SeqCst) + 30 * 60);
        placements.deliver(delivery);
        if generation <= 3 {
            at_stage(&placements, "web", generation, Stage::Served).await;
            // Longer than an urgent restart waits.
            clock.0.fetch_add(11 * 60, Ordering::SeqCst);
        }
    }
    report(&placements, "web", "limited", |report| {
        report.trouble.as_ref().is_some_and(|trouble| trouble.cause.contains("was restarted 3 times"))
    })
    .await;
    assert_eq!(service.calls(), ["restart"; 3]);
    placements.shutdown().await;
}
