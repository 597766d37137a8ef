//! What comes back on the socket, with a loop that only writes down what it is asked.

use std::{collections::BTreeSet, sync::Mutex};

use pinion_proto::{
    clock::SystemClock,
    id::{TrustDomain, Vmid},
    token::JoinToken,
};
use tokio::{io::AsyncWriteExt, task::JoinHandle};

use super::super::*;
use crate::{identity::NoMachines, inventory::GuestInfo, store::Store, web::access::WebAccess};

/// The socket's side of a controller, without its loop.
struct Fixture {
    directory: tempfile::TempDir,
    admin: Arc<Admin>,
    requests: Option<mpsc::Receiver<Request>>,
    advertise: watch::Sender<Reachable>,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let (local, shared) = (directory.path().join("local"), directory.path().join("shared"));
        let store = Arc::new(Store::open(&local, &shared).expect("a store"));
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let path = directory.path().join("manifest.json");
        let manifest = "{\"version\":1,\"certificates\":[{\"name\":\"docker\",\"common_name\":\"a.example\",\
                        \"placements\":[{\"guest\":102,\"recipe\":\"docker\"}]}]}";
        std::fs::write(&path, manifest).expect("written");
        let domain: TrustDomain = "test.pinion".parse().expect("a domain");
        let identities = Identities::open(&store, clock.clone(), Some(&domain), Arc::new(NoMachines));
        let web = GuestInfo { name: Some("web".into()), running: Some(true), ..GuestInfo::default() };
        let vmid = Vmid::try_from(101).expect("a VMID");
        let inventory = Inventory::complete([(vmid, web)].into(), &BTreeMap::new());
        let (requests, asked) = mpsc::channel(8);
        let (advertise, reachable) = watch::channel(Reachable {
            addresses: vec!["10.0.0.13:7443".parse().expect("an address")],
            problems: Vec::new(),
        });
        let admin = Admin {
            requests,
            manifest: Arc::new(
                ManifestFile::open(&path, store.clone(), clock.clone(), BTreeSet::new()).expect("a manifest"),
            ),
            identities: Arc::new(identities.expect("identities")),
            issuers: Arc::new(Issuers::from_config(&BTreeMap::new(), &store, clock.clone(), directory.path())),
            events: Arc::new(Events::open(&local)),
            inventory: watch::channel(Arc::new(inventory)).1,
            channel: None,
            notifier: Arc::new(Notifier::nobody(clock.clone())),
            web: Arc::new(WebAccess::open(store, clock.clone())),
            clock,
            advertise: reachable,
            access: Access::new(directory.path().to_owned()),
            callers: Callers::new(),
        };
        Self { directory, admin: Arc::new(admin), requests: Some(asked), advertise }
    }

    /// A loop that answers every question with [`Answer::End`], and writes down what it was asked.
    fn answering(&mut self) -> Arc<Mutex<Vec<String>>> {
        let log: Arc<Mutex<Vec<String>>> = Arc::default();
        let (mut requests, written) = (self.requests.take().expect("one loop"), log.clone());
        tokio::spawn(async move {
            while let Some(request) = requests.recv().await {
                written.lock().expect("not poisoned").push(asked(&request.question));
                request.answers.send(Answer::End).await.ok();
            }
        });
        log
    }

    /// A caller, and the task that answers it.
    async fn caller(&self, line: &str) -> (UnixStream, JoinHandle<io::Result<()>>) {
        let (mut caller, stream) = UnixStream::pair().expect("a pair");
        let admin = self.admin.clone();
        let answering = tokio::spawn(async move { admin.answer(stream).await });
        caller.write_all(format!("{line}\n").as_bytes()).await.expect("written");
        (caller, answering)
    }

    /// Every answer to a question.
    async fn ask(&self, line: &str) -> Vec<Answer> {
        let (caller, answering) = self.caller(line).await;
        let mut caller = BufReader::new(caller);
        let mut answers = Vec::new();
        while let Some(answer) = lines::read(&mut caller).await.expect("an answer") {
            answers.push(answer);
        }
        drop(caller);
        answering.await.expect("no panic").expect("written");
        answers
    }

    async fn one(&self, line: &str) -> Answer {
        let mut answers = self.ask(line).await;
        assert_eq!(answers.len(), 1, "{line}: {answers:?}");
        answers.remove(0)
    }

    /// The text of what happened last.
    fn last_event(&self) -> String {
        self.admin.events.recent(1, self.admin.clock.now()).pop().map(|event| event.text).unwrap_or_default()
    }
}

/// What the loop is asked.
fn asked(question: &Question) -> String {
    match question {
        Question::AtOnce(AtOnce::Evict { guest, compromised }) => {
            format!("Evict {{ guest: \"{guest}\", compromised: {compromised} }}")
        }
        Question::AtOnce(AtOnce::Forget(guest)) => format!("Forget(\"{guest}\")"),
        Question::AtOnce(AtOnce::NoteEnd(guest)) => format!("NoteEnd(\"{guest}\")"),
        Question::AtOnce(AtOnce::Wake(guest)) => format!("Wake(\"{guest}\")"),
        Question::AtOnce(AtOnce::AcceptName(name)) => format!("AcceptName(\"{name}\")"),
        Question::AtOnce(AtOnce::LetIn(guest)) => format!("LetIn(\"{guest}\")"),
        Question::Waits(Waits::Enroll(guest)) => format!("Enroll(\"{guest}\")"),
        Question::FromPlan(ask) => format!("{ask:?}"),
        Question::AtOnce(ask @ AtOnce::Freeze(_)) => format!("{ask:?}"),
        Question::Waits(ask @ (Waits::Ensure(_) | Waits::Examine { .. })) => format!("{ask:?}"),
    }
}

#[tokio::test]
async fn what_the_loop_decides_is_asked_there_and_a_guest_goes_by_its_number() {
    let mut fixture = Fixture::new();
    let log = fixture.answering();
    for line in [
        "\"plan\"",
        "{\"purge\":{\"names\":[\"docker\"],\"manner\":{}}}",
        "{\"enroll\":\"web\"}",
        "{\"wake\":\"101\"}",
        "{\"evict\":{\"guest\":\"web\",\"compromised\":true}}",
        // A guest without an identity has nothing that could be forgotten: a person takes note of its end.
        "{\"forget\":\"web\"}",
        "{\"examine\":{\"guests\":[],\"subject\":\"doctor\"}}",
        "{\"examine\":{\"guests\":[\"web\",\"host\"],\"subject\":\"discover\"}}",
    ] {
        let mut answers = fixture.ask(line).await;
        if line.contains("evict") {
            let out = answers.pop();
            assert!(matches!(&out, Some(Answer::AgentRemoval(out)) if !out.gone), "there is no hypervisor: {out:?}");
        }
        assert_eq!(answers, [Answer::End], "{line}");
    }
    assert_eq!(
        *log.lock().expect("not poisoned"),
        [
            "Plan",
            "Purge(AskPurge { names: [\"docker\"], manner: PurgeManner { restore: false, force: false } })",
            "Enroll(\"101\")",
            "Wake(\"101\")",
            "Evict { guest: \"101\", compromised: true }",
            "NoteEnd(\"101\")",
            "Examine { guests: None, subject: Doctor }",
            "Examine { guests: Some([Vmid(Vmid(101)), Host]), subject: Discover }",
        ]
    );
}

#[tokio::test]
async fn a_guest_is_named_by_its_number_or_its_name_and_what_is_neither_is_told() {
    let mut fixture = Fixture::new();
    let log = fixture.answering();
    for (guest, expected) in [("101", "101"), ("web", "101"), ("host", "host"), ("4000", "4000")] {
        assert_eq!(fixture.ask(&format!("{{\"wake\":\"{guest}\"}}")).await, [Answer::End], "{guest}");
        assert_eq!(log.lock().expect("not poisoned").pop(), Some(format!("Wake(\"{expected}\")")));
    }
    for guest in ["+101", "7", "", "a b", "../web", "4294967296"] {
        let answer = fixture.one(&format!("{{\"wake\":\"{guest}\"}}")).await;
        assert!(matches!(answer, Answer::Refused(_)), "{guest}: {answer:?}");
    }
    let answer = fixture.one("{\"wake\":\"nobody\"}").await;
    assert!(matches!(&answer, Answer::NoSuchName(why) if why.contains("nobody")), "{answer:?}");
    assert!(log.lock().expect("not poisoned").is_empty(), "nobody else is asked");
}

#[tokio::test]
async fn a_token_is_for_its_guest_and_the_event_says_who_made_it() {
    let mut fixture = Fixture::new();
    let _log = fixture.answering();
    let Answer::Token(text) = fixture.one("{\"token\":\"web\"}").await else { panic!("a token") };
    let token = JoinToken::parse(&text).expect("a token");
    assert_eq!(token.guest.to_string(), "101");
    assert_eq!(token.controllers, ["10.0.0.13:7443".parse().expect("an address")]);
    let event = fixture.last_event();
    assert!(event.contains("guest 101") && event.contains("requested by"), "{event}");
    assert!(!event.contains(&text[20..]), "a secret is in no event");
}

#[tokio::test]
async fn without_an_address_no_token_is_made_and_what_to_write_is_told() {
    let mut fixture = Fixture::new();
    let _log = fixture.answering();
    fixture.advertise.send_replace(Reachable { addresses: Vec::new(), problems: Vec::new() });
    let Answer::Refused(why) = fixture.one("{\"token\":\"101\"}").await else { panic!("refused") };
    assert!(why.contains("advertise") && why.contains("controller.toml"), "{why}");
    let problem = "pinion.example leads nowhere".to_owned();
    fixture.advertise.send_replace(Reachable { addresses: Vec::new(), problems: vec![problem.clone()] });
    assert_eq!(fixture.one("{\"token\":\"101\"}").await, Answer::Refused(problem));
    assert_eq!(fixture.last_event(), "", "nothing was made");
}

#[tokio::test]
async fn a_locked_guest_is_unlocked_and_one_without_an_identity_is_no_name() {
    let mut fixture = Fixture::new();
    let log = fixture.answering();
    let answer = fixture.one("{\"unlock\":\"101\"}").await;
    assert!(matches!(&answer, Answer::NoSuchName(why) if why.contains("pinion guest list")), "{answer:?}");
    assert!(log.lock().expect("not poisoned").is_empty());
    let guest = join(&fixture, "101");
    fixture.admin.identities.lock(guest, "two of it").expect("written");
    let Answer::Refused(why) = fixture.one("{\"token\":\"101\"}").await else { panic!("locked") };
    assert!(why.contains("two of it") && why.contains("pinion guest unlock 101"), "{why}");
    assert_eq!(fixture.one("{\"unlock\":\"101\"}").await, Answer::End);
    assert_eq!(fixture.admin.identities.guest(guest).expect("read").expect("there").locked, None);
    assert!(fixture.last_event().contains("101 was unlocked"), "{}", fixture.last_event());
    assert_eq!(*log.lock().expect("not poisoned"), ["LetIn(\"101\")"]);
}

/// Gives a guest an identity.
fn join(fixture: &Fixture, guest: &str) -> Guest {
    let guest = guest.parse().expect("a guest");
    let key = rcgen::KeyPair::generate().expect("a key");
    let csr = rcgen::CertificateParams::default().serialize_request(&key).expect("a request").der().to_vec();
    let secret = fixture.admin.identities.create_token(guest, Vec::new()).expect("a token").secret;
    let facts = pinion_proto::report::GuestFacts { hostname: "host-of-it".into(), ..Default::default() };
    let request = pinion_proto::message::JoinRequest { guest, secret, csr, facts };
    fixture.admin.identities.join(&request, fixture.admin.clock.now()).expect("joined");
    guest
}

#[tokio::test]
async fn a_guest_that_is_forgotten_or_evicted_has_no_identity_and_the_loop_hears_of_it() {
    for (line, asked) in [
        ("{\"forget\":\"101\"}", "Forget(\"101\")"),
        ("{\"evict\":{\"guest\":\"101\",\"compromised\":false}}", "Evict { guest: \"101\", compromised: false }"),
    ] {
        let mut fixture = Fixture::new();
        let log = fixture.answering();
        let guest = join(&fixture, "101");
        assert_eq!(fixture.ask(line).await.first(), Some(&Answer::End), "{line}");
        assert!(fixture.admin.identities.guest(guest).expect("read").is_none(), "{line}");
        assert_eq!(*log.lock().expect("not poisoned"), [asked]);
        assert!(fixture.last_event().contains("its identity is refused"), "{}", fixture.last_event());
    }
}

#[tokio::test]
async fn guests_are_those_that_the_manifest_names_and_those_with_an_identity() {
    let fixture = Fixture::new();
    join(&fixture, "101");
    let Answer::Guests(guests) = fixture.one("\"guests\"").await else { panic!("guests") };
    let shown: Vec<_> = guests
        .iter()
        .map(|one| (one.guest.to_string(), one.name.as_deref(), one.generation, one.hostname.as_str()))
        .collect();
    assert_eq!(shown, [("101".into(), Some("web"), 1, "host-of-it"), ("102".into(), None, 0, "")]);
    assert!(guests[1].presence.missing && guests[1].joined_at.is_none());
    assert!(!guests[0].presence.missing && guests[0].joined_at.is_some());
}

#[tokio::test]
async fn what_is_not_understood_is_said_and_no_one_else_is_asked() {
    let mut fixture = Fixture::new();
    let log = fixture.answering();
    for line in ["frobnicate", "{}", "\"frobnicate\"", &"x".repeat(70_000), &"x".repeat(300_000)] {
        let answer = fixture.one(line).await;
        assert!(matches!(&answer, Answer::Refused(why) if why.contains("another version")), "{answer:?}");
    }
    assert!(log.lock().expect("not poisoned").is_empty());
}

#[tokio::test]
async fn while_the_controller_stops_every_question_for_its_loop_fails() {
    let mut fixture = Fixture::new();
    drop(fixture.requests.take());
    for line in ["\"plan\"", "{\"wake\":\"101\"}", "{\"token\":\"101\"}", "{\"forget\":\"101\"}"] {
        let answer = fixture.one(line).await;
        assert!(matches!(&answer, Answer::Failed(why) if why.contains("shutting down")), "{line}: {answer:?}");
    }
}

#[tokio::test]
async fn whoever_hangs_up_is_not_worked_for_any_more() {
    let mut fixture = Fixture::new();
    let mut requests = fixture.requests.take().expect("one loop");
    let ensure = "{\"ensure\":{\"selection\":{\"names\":[]},\"renew\":false,\"until\":\"served\"}}";
    let (caller, answering) = fixture.caller(ensure).await;
    let request = requests.recv().await.expect("a question");
    assert!(!request.answers.is_closed());
    drop(caller);
    request.answers.closed().await;
    answering.await.expect("no panic").expect("no failure");
}

#[tokio::test]
async fn events_are_the_last_ones_and_more_as_they_happen() {
    let mut fixture = Fixture::new();
    let _log = fixture.answering();
    for _ in 0..3 {
        fixture.one("{\"token\":\"101\"}").await;
    }
    for (last, expected) in [(0, 0), (2, 2), (100, 3)] {
        let answers = fixture.ask(&format!("{{\"events\":{{\"follow\":false,\"last\":{last}}}}}")).await;
        assert_eq!(answers.len(), expected + 1, "{answers:?}");
        assert_eq!(answers.last(), Some(&Answer::End));
    }
    let (caller, answering) = fixture.caller("{\"events\":{\"follow\":true,\"last\":1}}").await;
    let mut caller = BufReader::new(caller);
    assert!(matches!(lines::read(&mut caller).await, Ok(Some(Answer::Event(_)))), "the last one");
    fixture.one("{\"token\":\"4000\"}").await;
    let Ok(Some(Answer::Event(event))) = lines::read(&mut caller).await else { panic!("an event") };
    assert!(event.text.contains("guest 4000"), "{}", event.text);
    drop(caller);
    answering.await.expect("no panic").ok();
}

#[tokio::test]
async fn a_caller_too_many_hears_why_and_the_others_are_answered() {
    let mut fixture = Fixture::new();
    let _log = fixture.answering();
    let socket = fixture.directory.path().join("socket");
    let listener = UnixListener::bind(&socket).expect("bound");
    let serving = tokio::spawn(fixture.admin.clone().serve(listener));
    let uid = rustix::process::geteuid().as_raw();
    let mut taken = Vec::new();
    while let Ok(place) = fixture.admin.callers.enter(uid) {
        taken.push(place);
    }
    let refused = UnixStream::connect(&socket).await.expect("connected");
    let answer = lines::read::<Answer>(&mut BufReader::new(refused)).await.expect("an answer");
    assert!(matches!(&answer, Some(Answer::Failed(why)) if why.contains("connections")), "{answer:?}");
    drop(taken);
    let mut caller = UnixStream::connect(&socket).await.expect("connected");
    caller.write_all(b"\"plan\"\n").await.expect("written");
    let answer = lines::read::<Answer>(&mut BufReader::new(caller)).await.expect("an answer");
    assert_eq!(answer, Some(Answer::End));
    serving.abort();
}
