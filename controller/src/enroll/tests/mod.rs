//! What an operator relies on: a guest that is wanted gets its agent and its identity, whatever was there before, and
//! no guest waits for another. The root process is played by a fake that remembers what is in each guest.

mod alike;
mod evicted;
mod refused;
mod upgrades;

use std::{
    collections::{BTreeMap, HashSet},
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use pinion_proto::{clock::SystemClock, id::Guest, lines};
use tempfile::TempDir;
use tokio::{
    io::BufReader,
    net::{UnixListener, UnixStream},
    task::JoinHandle,
};

use super::*;
use crate::{
    channel::{
        client::Client,
        protocol::{Architecture, Call, Cause, ChannelAnswer, FoundAgent, Init, Listing, Looked},
    },
    config::{Proxmox, advertise::Reachable},
    identity::{Identities, NoMachines},
    inventory::{GuestKind, Node},
    store::Store,
};

/// What is in each guest, and what the root process was asked.
#[derive(Default)]
struct World {
    agents: Mutex<BTreeMap<Vmid, FoundAgent>>,
    calls: Mutex<Vec<(u32, &'static str)>>,
    /// Guests in which everything hangs.
    hung: HashSet<u32>,
    /// Guests which fail so.
    failing: Mutex<BTreeMap<u32, Cause>>,
    busy: AtomicUsize,
    busiest: AtomicUsize,
}

struct Fixture {
    _directory: TempDir,
    world: Arc<World>,
    enrolments: Enrolments,
    happened: mpsc::UnboundedReceiver<Happened>,
    helper: JoinHandle<()>,
    now: Timestamp,
    linked: BTreeMap<Vmid, String>,
    /// Whether all guests serve what they hold.
    served: bool,
    notes: Vec<Note>,
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.helper.abort();
    }
}

impl Fixture {
    fn new(enroll: Enroll, world: World) -> Self {
        let directory = TempDir::new().expect("a directory");
        let store = Store::open(&directory.path().join("local"), &directory.path().join("shared")).expect("a store");
        let identities = Identities::open(&Arc::new(store), Arc::new(SystemClock), None, Arc::new(NoMachines));
        let socket = directory.path().join("channel.sock");
        let world = Arc::new(world);
        let helper = tokio::spawn(help(UnixListener::bind(&socket).expect("a socket"), world.clone()));
        let (enrolments, happened) = Enrolments::new(Tools {
            channel: Client::new(&socket),
            identities: Arc::new(identities.expect("identities")),
            advertise: tokio::sync::watch::Sender::new(Reachable {
                addresses: vec!["10.0.0.13:7443".parse().expect("an address")],
                problems: Vec::new(),
            })
            .subscribe(),
            proxmox: Proxmox {
                enroll,
                tag: "pinion".into(),
                node: "pve1".into(),
                directory: Path::new("/etc/pve").into(),
            },
        });
        let now = Timestamp::from_unix(1_800_000_000);
        let linked = BTreeMap::new();
        Self {
            _directory: directory,
            world,
            enrolments,
            happened,
            helper,
            now,
            linked,
            served: true,
            notes: Vec::new(),
        }
    }

    /// The controller has given this guest an identity.
    fn give_identity(&self, guest: u32) {
        let identities = &self.enrolments.tools.identities;
        let token = identities.create_token(Guest::Vmid(vmid(guest)), vec![]).expect("a token");
        let request = pinion_proto::message::JoinRequest {
            guest: token.guest,
            secret: token.secret,
            csr: csr(),
            facts: pinion_proto::report::GuestFacts::default(),
        };
        identities.join(&request, Timestamp::from(std::time::SystemTime::now())).expect("joined");
    }

    fn pass(&mut self, inventory: &Inventory, named: &[u32]) -> Option<Timestamp> {
        let named = named.iter().map(|number| vmid(*number)).collect();
        let (linked, now) = (&self.linked, self.now);
        let seen = |vmid| match linked.get(&vmid) {
            Some(version) => Seen { link: Link::Linked { since: now }, version: Some(version), served: self.served },
            None => Seen { link: Link::NeverSeen, version: None, served: self.served },
        };
        self.enrolments.pass(inventory, &named, seen, now, &mut self.notes)
    }

    /// Passes, time later.
    fn after(&mut self, seconds: u64, inventory: &Inventory, named: &[u32]) {
        self.now = self.now + Duration::from_secs(seconds);
        self.pass(inventory, named);
    }

    /// Takes what tasks say until so many have ended.
    async fn ended(&mut self, count: usize) {
        let mut ended = 0;
        while ended < count {
            let next = tokio::time::timeout(Duration::from_secs(20), self.happened.recv()).await;
            let happened = next.expect("a task says something in time").expect("a task says something");
            ended += usize::from(matches!(happened, Happened::Ended(..)));
            self.enrolments.take(happened, self.now, &mut self.notes);
        }
    }

    fn calls(&self, guest: u32) -> Vec<&'static str> {
        let calls = self.world.calls.lock().expect("calls");
        calls.iter().filter(|(called, _)| *called == guest).map(|(_, verb)| *verb).collect()
    }

    fn trouble(&self, guest: u32) -> Option<&Trouble> {
        self.notes.iter().rev().find_map(|note| match note {
            Note::Trouble { guest: about, trouble } if *about == vmid(guest) => Some(trouble.as_ref()),
            _ => None,
        })?
    }
}

/// The fake root process.
async fn help(listener: UnixListener, world: Arc<World>) {
    while let Ok((stream, _)) = listener.accept().await {
        let world = world.clone();
        tokio::spawn(async move { answer(stream, &world).await });
    }
}

async fn answer(stream: UnixStream, world: &World) {
    let (read, mut write) = stream.into_split();
    let Ok(Some(call)) = lines::read::<Call>(&mut BufReader::new(read)).await else { return };
    let Some(target) = call.guest() else { return };
    let number = target.vmid.number();
    world.calls.lock().expect("calls").push((number, call.verb()));
    let busy = world.busy.fetch_add(1, Ordering::SeqCst) + 1;
    world.busiest.fetch_max(busy, Ordering::SeqCst);
    if world.hung.contains(&number) {
        return std::future::pending().await;
    }
    tokio::task::yield_now().await;
    let failing = world.failing.lock().expect("failing").get(&number).copied();
    let reply = match failing {
        Some(cause) => ChannelAnswer::Failed(Failure::new(cause, format!("look into {target}: {cause:?}"))),
        None => act(&call, target.vmid, &mut world.agents.lock().expect("agents")),
    };
    world.busy.fetch_sub(1, Ordering::SeqCst);
    lines::write(&mut write, &reply).await.ok();
}

fn act(call: &Call, vmid: Vmid, agents: &mut BTreeMap<Vmid, FoundAgent>) -> ChannelAnswer {
    match call {
        Call::Remove { .. } | Call::NodeAuthority { .. } | Call::NextRoot | Call::WebAccess(_) => {
            ChannelAnswer::Failed(Failure::new(Cause::Refused, "nobody enrols by that"))
        }
        Call::Guests { .. } => ChannelAnswer::Guests(Listing::default()),
        Call::Boot { .. } => ChannelAnswer::Boot(format!("start of {vmid}")),
        Call::Look { .. } => ChannelAnswer::Looked(Looked {
            architecture: Architecture::Amd64,
            init: Init::Systemd,
            agent: agents.get(&vmid).cloned(),
        }),
        Call::Install { .. } => {
            let agent = agents.entry(vmid).or_insert(agent("", false, true));
            agent.version = env!("CARGO_PKG_VERSION").into();
            agent.running = true;
            ChannelAnswer::Done
        }
        Call::Restore { .. } => {
            agents.get_mut(&vmid).expect("an agent").version = "0.0.1".into();
            ChannelAnswer::Done
        }
        Call::Join { .. } => {
            agents.get_mut(&vmid).expect("an agent").joined = true;
            ChannelAnswer::Done
        }
    }
}

fn vmid(number: u32) -> Vmid {
    Vmid::try_from(number).expect("a VMID")
}

fn running() -> GuestInfo {
    GuestInfo { kind: Some(GuestKind::Lxc), running: Some(true), ..GuestInfo::default() }
}

fn inventory(guests: impl IntoIterator<Item = (u32, GuestInfo)>) -> Inventory {
    let guests = guests.into_iter().map(|(number, info)| (vmid(number), info)).collect();
    Inventory::complete(guests, &BTreeMap::new())
}

fn agent(version: &str, joined: bool, running: bool) -> FoundAgent {
    FoundAgent { version: version.into(), joined, running, expires: None }
}

#[tokio::test]
async fn a_bare_guest_gets_its_agent_and_joins() {
    let mut fixture = Fixture::new(Enroll::Manifest, World::default());
    let guests = inventory([(101, running()), (102, running())]);
    let look = fixture.pass(&guests, &[101]).expect("a moment to look");
    assert!(look > fixture.now, "a guest that has just appeared settles first");
    fixture.after(5, &guests, &[101]);
    fixture.ended(1).await;
    assert_eq!(fixture.calls(101), ["look", "install", "join"]);
    assert_eq!(fixture.calls(102), [""; 0], "the manifest does not name it");

    // Nothing is done twice while its agent dials, and nothing more once it is linked.
    fixture.after(30, &guests, &[101]);
    fixture.linked.insert(vmid(101), env!("CARGO_PKG_VERSION").into());
    fixture.after(300, &guests, &[101]);
    assert_eq!(fixture.calls(101).len(), 3);
    assert!(fixture.trouble(101).is_none());
}

#[tokio::test]
async fn guests_that_are_not_to_be_touched_are_not() {
    let mut fixture = Fixture::new(Enroll::Tagged, World::default());
    let tagged = || GuestInfo { tags: vec!["pinion".into()], ..running() };
    let guests = inventory([
        (101, GuestInfo { running: Some(false), ..tagged() }),
        (102, GuestInfo { node: Node::Elsewhere("pve2".into()), ..tagged() }),
        (103, GuestInfo { template: true, ..tagged() }),
        (104, GuestInfo { lock: Some("backup".into()), ..tagged() }),
        (105, running()),
        (106, tagged()),
    ]);
    let named = [101, 102, 103, 104, 105, 106];
    fixture.pass(&guests, &named);
    fixture.after(10, &guests, &named);
    fixture.ended(1).await;
    for quiet in [101, 102, 103, 104, 105] {
        assert_eq!(fixture.calls(quiet), [""; 0], "guest {quiet}");
    }
    assert_eq!(fixture.calls(106), ["look", "install", "join"]);
}

#[tokio::test]
async fn a_failure_is_told_and_tried_again_until_it_passes() {
    let mut fixture = Fixture::new(Enroll::Manifest, World::default());
    fixture.world.failing.lock().expect("failing").insert(1001, Cause::NoGuestAgent);
    let guests = inventory([(1001, running())]);
    fixture.pass(&guests, &[1001]);
    fixture.after(5, &guests, &[1001]);
    fixture.ended(1).await;
    let trouble = fixture.trouble(1001).expect("a trouble").clone();
    assert_eq!(trouble.halt, Halt::Waiting);
    assert!(trouble.cause.contains("NoGuestAgent") && trouble.remedy.contains("qemu-guest-agent"), "{trouble}");

    fixture.after(1, &guests, &[1001]);
    assert_eq!(fixture.calls(1001).len(), 1, "not before its time");
    fixture.world.failing.lock().expect("failing").clear();
    fixture.after(600, &guests, &[1001]);
    fixture.ended(1).await;
    assert_eq!(fixture.calls(1001), ["look", "look", "install", "join"]);
}

#[tokio::test]
async fn two_hundred_guests_come_in_bounded_parallel_and_a_hung_one_holds_up_nobody() {
    let mut fixture = Fixture::new(Enroll::Manifest, World { hung: [107].into(), ..World::default() });
    let numbers: Vec<u32> = (101..301).collect();
    let guests = inventory(numbers.iter().map(|number| (*number, running())));
    fixture.pass(&guests, &numbers);
    fixture.after(5, &guests, &numbers);
    fixture.ended(199).await;
    let enrolled = fixture.world.agents.lock().expect("agents").values().filter(|agent| agent.joined).count();
    assert_eq!(enrolled, 199);
    assert_eq!(fixture.calls(107), ["look"]);
    let busiest = fixture.world.busiest.load(Ordering::SeqCst);
    assert!(busiest <= AT_ONCE, "{busiest} at once");
}

#[tokio::test]
async fn an_agent_that_only_has_to_dial_is_left_alone_for_a_while() {
    let mut fixture = Fixture::new(Enroll::Manifest, World::default());
    let guests = inventory([(101, running())]);
    fixture.pass(&guests, &[101]);
    fixture.after(5, &guests, &[101]);
    fixture.ended(1).await;
    // The controller has started anew, and knows the guest.
    let before = std::mem::take(&mut *fixture.world.calls.lock().expect("calls"));
    assert_eq!(before.len(), 3);
    fixture.give_identity(101);
    fixture.enrolments.guests.clear();
    fixture.pass(&guests, &[101]);
    fixture.after(5, &guests, &[101]);
    fixture.ended(1).await;
    assert_eq!(fixture.calls(101), ["look"]);

    // It does not link: after the time of a long pause between two dials, it joins anew.
    fixture.after(61, &guests, &[101]);
    fixture.after(60, &guests, &[101]);
    fixture.ended(1).await;
    assert_eq!(fixture.calls(101), ["look", "look", "join"]);
}

#[tokio::test]
async fn whoever_asks_hears_every_step_and_the_end() {
    let mut fixture = Fixture::new(Enroll::Never, World::default());
    let guests = inventory([(101, running())]);
    let (answers, mut heard) = mpsc::channel(16);
    let seen = Seen { link: Link::NeverSeen, version: None, served: true };
    fixture.enrolments.ask(vmid(101), &guests, seen, answers, fixture.now).expect("asked");
    fixture.pass(&guests, &[]);
    fixture.ended(1).await;
    fixture.linked.insert(vmid(101), env!("CARGO_PKG_VERSION").into());
    fixture.after(1, &guests, &[]);
    let mut words = Vec::new();
    while let Some(answer) = heard.recv().await {
        words.push(answer);
    }
    assert!(matches!(&words[..], [Answer::Step(_), .., Answer::Enrolled(_)]), "{words:?}");
    assert!(words.len() >= 5, "{words:?}");

    let (answers, _heard) = mpsc::channel(16);
    let answer = fixture.enrolments.ask(vmid(4711), &guests, seen, answers, fixture.now).expect_err("no such guest");
    assert!(matches!(answer, Answer::NoSuchName(_)), "{answer:?}");
}

fn csr() -> Vec<u8> {
    let key = rcgen::KeyPair::generate().expect("a key");
    let params = rcgen::CertificateParams::default();
    params.serialize_request(&key).expect("a request").der().to_vec()
}
