//! What a user relies on: the most urgent first, no storm on a CA that is down, nobody hanging.

use std::{
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    time::Duration,
};

use tokio::sync::{Semaphore, mpsc};

use super::*;
use crate::issuer::{BoxFuture, Roots, Signed, SigningRequest};

/// An issuer that reports each call, and answers it with an error once it is let go on.
#[derive(Debug)]
struct Fake {
    calls: mpsc::UnboundedSender<String>,
    go_on: Arc<Semaphore>,
    down: Arc<AtomicUsize>,
}

const UP: usize = 0;
const DOWN: usize = 1;
const CONFUSED: usize = 2;
const BUSY: usize = 3;

impl Issuer for Fake {
    fn sign<'a>(&'a self, request: &'a SigningRequest) -> BoxFuture<'a, Result<Signed, IssuerError>> {
        Box::pin(async move {
            self.calls.send(request.placement.certificate.to_string()).expect("the test listens");
            self.go_on.acquire().await.expect("open").forget();
            Err(match self.down.load(SeqCst) {
                // What a fake cannot sign, it refuses: to the queue, both are an answer.
                UP => IssuerError::Refused { message: "up".into() },
                BUSY => IssuerError::Busy { message: "busy".into(), after: Duration::from_secs(60) },
                DOWN => IssuerError::Unavailable { message: "down".into() },
                _ => IssuerError::misconfigured("confused", "see to it"),
            })
        })
    }

    fn roots(&self) -> Option<&dyn Roots> {
        None
    }

    fn check(&self) -> BoxFuture<'_, Result<IssuerCheck, IssuerError>> {
        Box::pin(async { Err(IssuerError::Unavailable { message: "not here".into() }) })
    }
}

struct Fixture {
    queue: Arc<Queue>,
    calls: mpsc::UnboundedReceiver<String>,
    go_on: Arc<Semaphore>,
    down: Arc<AtomicUsize>,
}

impl Fixture {
    fn new(max: u16) -> Self {
        let (send, calls) = mpsc::unbounded_channel();
        let (go_on, down) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(UP)));
        let fake: Box<dyn Issuer> = Box::new(Fake { calls: send, go_on: go_on.clone(), down: down.clone() });
        let max = NonZeroU16::new(max).expect("some");
        Self { queue: Arc::new(Queue::new(fake, max)), calls, go_on, down }
    }

    fn order(&self, certificate: &str, expires: Option<i64>) -> tokio::task::JoinHandle<Result<Signed, IssuerError>> {
        let (queue, request) = (self.queue.clone(), request(certificate));
        let expires = expires.map(Timestamp::from_unix);
        tokio::spawn(async move { queue.call(Operation::Sign, expires, queue.issuer().sign(&request)).await })
    }

    async fn called(&mut self) -> String {
        within(self.calls.recv()).await.expect("a call")
    }

    fn waiting(&self) -> usize {
        self.queue.state().waiting.len()
    }

    async fn until_waiting(&self, max: usize) {
        within(async {
            while self.waiting() != max {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), future).await.expect("in time")
}

fn request(certificate: &str) -> SigningRequest {
    SigningRequest {
        placement: format!("{certificate}@101").parse().expect("a placement"),
        csr: Vec::new(),
        common_name: "a.example".parse().expect("a name"),
        names: vec!["a.example".parse().expect("a name")].try_into().expect("names"),
        usage: None,
        duration: Duration::from_secs(3600),
    }
}

#[tokio::test]
async fn those_without_anything_go_first_then_the_soonest_to_expire() {
    let mut fixture = Fixture::new(1);
    let first = fixture.order("first", Some(999));
    assert_eq!(fixture.called().await, "first");
    let mut waiting = Vec::new();
    for (count, (certificate, expires)) in
        [("late", Some(30)), ("soon", Some(10)), ("nothing", None), ("middle", Some(20)), ("soon-too", Some(10))]
            .into_iter()
            .enumerate()
    {
        waiting.push(fixture.order(certificate, expires));
        fixture.until_waiting(count + 1).await;
    }
    fixture.go_on.add_permits(6);
    for expected in ["nothing", "soon", "soon-too", "middle", "late"] {
        assert_eq!(fixture.called().await, expected);
    }
    for call in waiting.into_iter().chain([first]) {
        assert!(within(call).await.expect("no panic").is_err());
    }
}

#[tokio::test]
async fn no_more_than_its_share_is_under_way_and_callers_that_leave_give_it_back() {
    let mut fixture = Fixture::new(2);
    let calls: Vec<_> = (0..5).map(|n| fixture.order(&format!("c{n}"), Some(n))).collect();
    fixture.called().await;
    fixture.called().await;
    fixture.until_waiting(3).await;
    assert!(fixture.calls.try_recv().is_err(), "a third call went out");
    for call in &calls {
        call.abort();
    }
    let last = fixture.order("last", None);
    within(async { while fixture.called().await != "last" {} }).await;
    fixture.go_on.add_permits(1);
    within(last).await.expect("no panic").expect_err("refused");
    assert_eq!(fixture.queue.state().free, 2);
}

#[tokio::test]
async fn one_call_at_a_time_finds_out_whether_it_is_back_and_nobody_hangs() {
    for kind in [DOWN, CONFUSED] {
        let mut fixture = Fixture::new(1);
        fixture.down.store(kind, SeqCst);
        let first = fixture.order("first", None);
        fixture.called().await;
        let waiting: Vec<_> = (0..10).map(|n| fixture.order(&format!("c{n}"), Some(n))).collect();
        fixture.until_waiting(10).await;
        fixture.go_on.add_permits(1);
        within(first).await.expect("no panic").expect_err("down");
        for call in waiting {
            within(call).await.expect("no panic").expect_err("told at once");
        }
        let trial = fixture.order("trial", None);
        assert_eq!(fixture.called().await, "trial");
        within(fixture.order("meanwhile", None)).await.expect("no panic").expect_err("told at once");
        assert!(fixture.calls.try_recv().is_err(), "a second trial went out");

        fixture.down.store(UP, SeqCst);
        fixture.go_on.add_permits(1);
        within(trial).await.expect("no panic").expect_err("refused, so it is up");
        let again = fixture.order("again", None);
        let queued = fixture.order("queued", None);
        fixture.called().await;
        fixture.until_waiting(1).await;
        fixture.go_on.add_permits(2);
        within(again).await.expect("no panic").expect_err("refused");
        within(queued).await.expect("no panic").expect_err("refused");
    }
}

#[tokio::test]
async fn an_issuer_that_asks_for_a_pause_has_it_and_is_then_tried_once() {
    let mut fixture = Fixture::new(2);
    fixture.down.store(BUSY, SeqCst);
    fixture.go_on.add_permits(1);
    within(fixture.order("first", None)).await.expect("no panic").expect_err("busy");
    assert_eq!(fixture.called().await, "first");
    for certificate in ["second", "third"] {
        let error = within(fixture.order(certificate, None)).await.expect("no panic").expect_err("told at once");
        let IssuerError::Busy { after, .. } = error else { panic!("{error:?}") };
        assert!(after <= Duration::from_secs(60) && after > Duration::from_secs(40), "what is left of it: {after:?}");
    }
    assert!(fixture.calls.try_recv().is_err(), "a call went out in the pause");

    fixture.queue.state().quiet_until = Some(Instant::now());
    let trial = fixture.order("trial", None);
    assert_eq!(fixture.called().await, "trial");
    let error = within(fixture.order("meanwhile", None)).await.expect("no panic").expect_err("told at once");
    assert!(matches!(error, IssuerError::Unavailable { .. }), "the pause is over: {error:?}");
    fixture.down.store(UP, SeqCst);
    fixture.go_on.add_permits(1);
    within(trial).await.expect("no panic").expect_err("refused, so it is up");
    assert!(fixture.queue.state().quiet_until.is_none());
}

#[tokio::test]
async fn a_trial_whose_caller_leaves_makes_room_for_the_next() {
    let mut fixture = Fixture::new(1);
    fixture.down.store(DOWN, SeqCst);
    fixture.go_on.add_permits(1);
    within(fixture.order("first", None)).await.expect("no panic").expect_err("down");
    let left = fixture.order("left", None);
    fixture.called().await;
    assert_eq!(fixture.called().await, "left");
    left.abort();
    within(left).await.expect_err("aborted");
    let next = fixture.order("next", None);
    assert_eq!(fixture.called().await, "next");
    fixture.go_on.add_permits(1);
    within(next).await.expect("no panic").expect_err("down");
}
