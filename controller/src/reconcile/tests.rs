//! The loop as a whole, with an issuer, a disk and guests that are queues: what is asked, sent, answered and written.

mod enrolling;
mod people;
mod revoking;

use std::{num::NonZeroU16, sync::Arc};

use pinion_proto::{
    clock::{Clock, SystemClock, Timestamp},
    message::{Delivery, Hello, ToAgent, ToController},
    report::{GuestFacts, PlacementReport, Progress},
    spec::PlacementSpec,
    stage::{Halt, Stage, Trouble},
};
use tempfile::TempDir;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::timeout,
};

use super::{
    Inputs, Resources, run,
    testing::{self, GuestKey, TWO, WEB, guest, holds, in_force, nothing, root_user},
};
use crate::{
    admin::{
        protocol::{Answer, AskFreeze, AskShow, Ensure, Selection, Status},
        question::{AtOnce, FromPlan, Question, Request, Waits},
    },
    config::advertise::Reachable,
    enroll::Tools,
    events::Kind,
    inventory::Inventory,
    issuer::{Issuer, Issuers, embedded::Embedded},
    link::{LinkInput, SessionId},
    manifest::file::InForce,
    store::Area,
};

/// Nothing here takes longer, however busy the machine is.
const DEADLINE: std::time::Duration = std::time::Duration::from_secs(60);

/// What outlives a controller: its disk.
struct Disk {
    _directory: TempDir,
    resources: Resources,
}

impl Disk {
    fn new() -> Self {
        Self::with(|embedded| Box::new(embedded))
    }

    /// With an issuer that is made from the embedded one.
    fn with(issuer: impl FnOnce(Embedded) -> Box<dyn Issuer>) -> Self {
        let (directory, mut resources) = testing::resources(Issuers::of([]));
        let name = || "embedded".parse().expect("a name");
        let issuer = issuer(Embedded::new(name(), resources.store.clone(), Arc::new(SystemClock)));
        resources.issuers = Arc::new(Issuers::of([(name(), issuer, NonZeroU16::MIN)]));
        Self { _directory: directory, resources }
    }

    fn resources(&self) -> Resources {
        let Resources { clock, events, store, identities, issuers, notifier, backoff, node, passes } = &self.resources;
        Resources {
            clock: clock.clone(),
            events: events.clone(),
            store: store.clone(),
            identities: identities.clone(),
            issuers: issuers.clone(),
            notifier: notifier.clone(),
            backoff: *backoff,
            node: node.clone(),
            passes: passes.clone(),
        }
    }

    fn undelivered(&self) -> usize {
        self.resources.store.list(Area::Local, "undelivered").expect("a directory").len()
    }

    /// The words of what has happened.
    fn events(&self) -> Vec<String> {
        let events = self.resources.events.recent(usize::MAX, SystemClock.now());
        events.into_iter().map(|event| event.text).collect()
    }

    fn says(&self, text: &str) -> bool {
        self.events().iter().any(|event| event.contains(text))
    }
}

/// Waits until this is so.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let holds = async {
        while !holds() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    assert!(timeout(DEADLINE, holds).await.is_ok(), "{what}");
}

/// A controller that runs.
struct Running {
    links: mpsc::Sender<LinkInput>,
    questions: mpsc::Sender<Request>,
    manifest: watch::Sender<InForce>,
    inventory: watch::Sender<Arc<Inventory>>,
    reachable: watch::Sender<Reachable>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

fn reachable(address: &str) -> Reachable {
    Reachable { addresses: vec![address.parse().expect("an address")], problems: Vec::new() }
}

impl Running {
    fn start(disk: &Disk, manifest: &str) -> Self {
        Self::start_with(disk, manifest, None)
    }

    /// With what enrolling needs.
    fn start_with(disk: &Disk, manifest: &str, tools: Option<Tools>) -> Self {
        let (links, link_inputs) = mpsc::channel(64);
        let (questions, requests) = mpsc::channel(8);
        let (manifest, manifests) = watch::channel(in_force(manifest));
        let (inventory, inventories) = watch::channel(Arc::default());
        let (reachable, addresses) = watch::channel(reachable("10.0.0.1:7443"));
        let (stop, stopped) = oneshot::channel();
        let inputs = Inputs {
            links: link_inputs,
            questions: requests,
            manifest: manifests,
            inventory: inventories,
            reachable: addresses,
            stop: stopped,
        };
        let task = tokio::spawn(run(disk.resources(), tools, inputs));
        Self { links, questions, manifest, inventory, reachable, stop, task }
    }

    async fn stop(self) {
        self.stop.send(()).expect("it runs");
        timeout(DEADLINE, self.task).await.expect("it stops").expect("no panic");
    }

    /// Guest `number` links on a session of this number, and reports this.
    async fn link(&self, number: &str, session: u64, reports: Vec<PlacementReport>, room: usize) -> Agent {
        let (outbound, queue) = mpsc::channel(room);
        let (guest, session) = (guest(number), SessionId::number(session));
        let hello =
            Hello { facts: GuestFacts::default(), identity_generation: 1, link_count: 0, reports, roots: Vec::new() };
        self.links.send(LinkInput::Up { guest, session, hello, outbound }).await.expect("it runs");
        Agent { guest, session, queue }
    }

    async fn report(&self, agent: &Agent, report: PlacementReport) {
        let message = ToController::Report(Box::new(report));
        let Agent { guest, session, .. } = *agent;
        self.links.send(LinkInput::Message { guest, session, message }).await.expect("it runs");
    }

    async fn ask(&self, question: Question) -> mpsc::Receiver<Answer> {
        let (answers, queue) = mpsc::channel(8);
        self.questions.send(Request { question, caller: root_user(), answers }).await.expect("it runs");
        queue
    }

    async fn answer(&self, question: Question) -> Answer {
        let mut queue = self.ask(question).await;
        timeout(DEADLINE, queue.recv()).await.expect("in time").expect("an answer")
    }

    async fn status(&self) -> Status {
        match self.answer(Question::FromPlan(FromPlan::Status(Selection::default()))).await {
            Answer::Status(status) => *status,
            other => panic!("no status: {other:?}"),
        }
    }
}

/// A guest's agent.
struct Agent {
    guest: pinion_proto::id::Guest,
    session: SessionId,
    queue: mpsc::Receiver<Box<ToAgent>>,
}

impl Agent {
    /// The next message; none when its session was ended.
    async fn next(&mut self) -> Option<ToAgent> {
        timeout(DEADLINE, self.queue.recv()).await.expect("a message, or the end").map(|message| *message)
    }

    async fn desired(&mut self) -> Vec<PlacementSpec> {
        loop {
            match self.next().await.expect("a session") {
                ToAgent::Desired(specs) => return specs,
                _ => continue,
            }
        }
    }

    async fn delivery(&mut self) -> Delivery {
        loop {
            match self.next().await.expect("a session") {
                ToAgent::Delivery(delivery) => return *delivery,
                _ => continue,
            }
        }
    }

    async fn address(&mut self) -> String {
        loop {
            match self.next().await.expect("a session") {
                ToAgent::Controllers(controllers) => return controllers.nodes[0].addresses[0].to_string(),
                _ => continue,
            }
        }
    }

    async fn ends(&mut self) {
        while self.next().await.is_some() {}
    }
}

fn requested(generation: u64, key: &GuestKey) -> PlacementReport {
    testing::incoming(nothing("web"), generation, key.request())
}

/// That a delivery is there, as the guest reports it when its service shows it.
fn served(delivery: &Delivery, revision: u64) -> PlacementReport {
    PlacementReport { revision, ..holds(delivery.generation, delivery.chain.leaf().clone()) }
}

#[tokio::test]
async fn a_certificate_is_ordered_signed_and_delivered_and_a_restart_costs_no_second_one() {
    let (disk, key) = (Disk::new(), GuestKey::new());
    let controller = Running::start(&disk, WEB);
    let mut agent = controller.link("101", 1, vec![nothing("web")], 8).await;
    let desired = agent.desired().await;
    assert_eq!(desired.iter().map(|spec| spec.ordered).collect::<Vec<_>>(), [Some(1)]);
    assert_eq!(agent.address().await, "10.0.0.1:7443");
    controller.report(&agent, requested(1, &key)).await;
    let first = agent.delivery().await;
    assert_eq!(first.generation, 1);
    let status = controller.status().await;
    assert_eq!((status.placements.len(), status.guests.len()), (1, 1));
    assert_eq!((status.placements[0].stage, status.guests[0].linked), (Stage::Pending, true));
    controller.stop().await;
    agent.ends().await;
    assert_eq!(disk.undelivered(), 1, "it is kept while its guest does not have it");

    let controller = Running::start(&disk, WEB);
    let guest = controller.status().await.guests.remove(0);
    assert_eq!((guest.linked, guest.since.is_some()), (false, true), "what is known of the guest is restored");
    let mut agent = controller.link("101", 2, vec![requested(1, &key)], 8).await;
    let second = agent.delivery().await;
    assert_eq!(second.chain.leaf().serial(), first.chain.leaf().serial(), "nothing is signed twice");
    let revision = agent_revision(&controller, &mut agent).await;
    controller.report(&agent, served(&second, revision)).await;
    until("what its guest has is kept no longer", || disk.undelivered() == 0).await;
    let status = controller.status().await;
    assert_eq!(status.placements[0].serial.as_deref(), Some(first.chain.leaf().serial()));
    assert_eq!(status.placements[0].stage, Stage::Served);
    controller.stop().await;
    let events = disk.resources.events.recent(usize::MAX, SystemClock.now());
    assert_eq!(events.iter().filter(|event| event.kind == Kind::Issued).count(), 1, "{events:?}");
}

/// The number of the spec that guest 101 is sent, once more.
async fn agent_revision(controller: &Running, agent: &mut Agent) -> u64 {
    controller.manifest.send_replace(in_force(WEB));
    agent.desired().await[0].revision()
}

#[tokio::test]
async fn who_waits_for_a_renewal_is_told_how_far_it_is_and_when_it_is_there() {
    let (disk, key) = (Disk::new(), GuestKey::new());
    let controller = Running::start(&disk, WEB);
    let mut agent = controller.link("101", 1, vec![nothing("web")], 8).await;
    let revision = agent.desired().await[0].revision();
    let ensure =
        Ensure { selection: Selection::default(), renew: false, now: false, until: Stage::Served, wait: false };
    let mut answers = controller.ask(Question::Waits(Waits::Ensure(ensure))).await;
    let progress = async |answers: &mut mpsc::Receiver<Answer>| match timeout(DEADLINE, answers.recv())
        .await
        .expect("in time")
        .expect("an answer")
    {
        Answer::Progress(progress) => (progress.placements[0].now.clone(), false),
        Answer::Ensured(progress) => (progress.placements[0].now.clone(), true),
        other => panic!("{other:?}"),
    };
    assert_eq!(progress(&mut answers).await, ("waiting for the guest's request".to_owned(), false));
    controller.report(&agent, requested(1, &key)).await;
    let delivery = agent.delivery().await;
    let delivered = testing::incoming(nothing("web"), 1, Progress::Delivered);
    controller.report(&agent, PlacementReport { revision, ..delivered }).await;
    controller.report(&agent, served(&delivery, revision)).await;
    let mut last = progress(&mut answers).await;
    while !last.1 {
        last = progress(&mut answers).await;
    }
    assert_eq!(last.0, "reached");
    controller.stop().await;
}

#[tokio::test]
async fn an_issuers_roots_reach_the_guests_that_are_to_trust_them() {
    let disk = Disk::new();
    let roots = r#"{"version": 1, "certificates": [{"name": "roots", "trust": true,
        "placements": [{"guest": 101, "recipe": "ca-certificates"}]}]}"#;
    let controller = Running::start(&disk, roots);
    let mut agent = controller.link("101", 1, vec![nothing("roots")], 8).await;
    let mut desired = agent.desired().await;
    while desired[0].roots.is_empty() {
        // The issuer had not answered yet.
        desired = agent.desired().await;
    }
    assert_eq!(desired[0].roots.len(), 1);
    controller.stop().await;
}

#[tokio::test]
async fn a_message_that_finds_the_queue_full_is_sent_a_moment_later() {
    let disk = Disk::new();
    let controller = Running::start(&disk, WEB);
    // There is room for the spec and not for the addresses; nothing else wakes the loop.
    let mut agent = controller.link("101", 1, vec![nothing("web")], 1).await;
    assert_eq!(agent.desired().await.len(), 1);
    assert_eq!(agent.address().await, "10.0.0.1:7443");
    controller.stop().await;
}

#[tokio::test]
async fn what_is_due_later_is_done_then_although_nothing_happens() {
    let disk = Disk::new();
    let controller = Running::start(&disk, WEB);
    let until_then = Timestamp::from_unix(SystemClock.now().unix() + 2);
    let freeze = AskFreeze { selection: Selection::default(), until: Some(until_then), lift: false };
    let answer = controller.answer(Question::AtOnce(AtOnce::Freeze(freeze))).await;
    assert!(matches!(answer, Answer::Frozen(_)), "{answer:?}");
    until("the freeze ends by itself", || {
        disk.resources
            .store
            .read::<crate::freeze::Freezes>(Area::Local, crate::freeze::DOCUMENT)
            .is_ok_and(|kept| kept.is_some_and(|freezes| freezes.count() == 0))
    })
    .await;
    assert!(SystemClock.now() >= until_then);
    controller.stop().await;
}
