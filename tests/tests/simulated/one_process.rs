//! A controller and an agent in this process, by one clock, with the embedded CA.

use std::{path::PathBuf, sync::Arc, time::Duration};

use pinion_agent::{identity::Identity, link::join, run::Agent};
use pinion_controller::{
    admin::protocol::{Answer, Ask, AskEvents, Ensure, PlacementStatus, Selection, Status},
    config::Config,
    events::{Event, Kind},
    serve::Controller,
};
use pinion_proto::{
    bundle::Fingerprint,
    clock::{Clock, Timestamp},
    file_lock::FileLock,
    lines,
    stage::Stage,
    token::JoinToken,
};
use pinion_tests::{
    clock::ManualClock,
    guest::{Guest, GuestOptions},
    host::{Host, HostOptions},
    wait::{PATIENCE, until_async},
};
use serde_json::{Value, json};
use tokio::{io::BufReader, net::UnixStream};

pub(crate) const START: Timestamp = Timestamp::from_unix(1_900_000_000);
pub(crate) const HOUR: Duration = Duration::from_secs(3600);
/// Clocks that are kept differ by no more.
const MINUTES: Duration = Duration::from_secs(5 * 60);
pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);

/// The whole; the directories go last.
pub(crate) struct Lab {
    /// The controller's; where nothing else is said the guest's too.
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) guest_clock: Arc<ManualClock>,
    /// None while it is stopped.
    controller: Option<Controller>,
    /// None while the guest is without power.
    agent: Option<Agent>,
    socket: PathBuf,
    guest: Guest,
    host: Host,
}

/// A certificate of this life, in files.
pub(crate) fn certificate(name: &str, duration: &str, rotation: &str) -> Value {
    let file = |kind: &str| json!({ "path": format!("/etc/ssl/{name}.{kind}") });
    json!({ "name": name, "common_name": format!("{name}.example"), "duration": duration,
            "key": { "rotation": rotation },
            "placements": [{ "guest": 1001, "files": { "cert": file("crt"), "key": file("key") } }] })
}

impl Lab {
    /// Everything installed for the first time, at [`START`].
    pub(crate) async fn start(certificates: &[Value]) -> Self {
        Self::start_at(START, certificates, |_, _| {}).await
    }

    /// Everything installed for the first time, at [`START`], by two clocks. The guest has hooks `check` and `tell`, which
    /// wait as long as there is a file of that name in its root.
    pub(crate) async fn start_apart(certificates: &[Value]) -> Self {
        let clocks = [(); 2].map(|()| Arc::new(ManualClock::at(START)));
        Self::start_by(clocks, certificates, |_, guest| {
            for (hook, doing) in [("check", "checking"), ("tell", "telling")] {
                let script = format!(
                    "#!/bin/sh\n: >\"$PINION_ROOT/{doing}\"\nwhile [ -e \"$PINION_ROOT/{hook}\" ]; do sleep 0.01; done\n"
                );
                guest.write_hook(hook, &script).expect("a hook");
            }
        })
        .await
    }

    /// Everything installed for the first time at this moment, on a host that is prepared so.
    pub(crate) async fn start_at(
        moment: Timestamp,
        certificates: &[Value],
        prepare: impl FnOnce(&Host, &Guest),
    ) -> Self {
        let clock = Arc::new(ManualClock::at(moment));
        Self::start_by([clock.clone(), clock], certificates, prepare).await
    }

    async fn start_by(
        [clock, guest_clock]: [Arc<ManualClock>; 2],
        certificates: &[Value],
        prepare: impl FnOnce(&Host, &Guest),
    ) -> Self {
        let host = Host::prepare(&HostOptions::embedded(&json!(certificates))).expect("a host's files");
        let guest = Guest::prepare("1001", &GuestOptions::default()).expect("a guest's files");
        prepare(&host, &guest);
        let config = Config::load(host.root()).expect("its configuration");
        let socket = config.socket.clone();
        let controller = Controller::start(config, clock.clone()).await.expect("a controller");
        let token = JoinToken::parse(&host.token("1001").expect("a token")).expect("a token");
        let config = pinion_agent::config::Config::load(guest.root()).expect("its configuration");
        let identity = join::join(&token, &config, guest_clock.clone()).await.expect("joined");
        identity.save(&config).expect("stored");
        let agent = Some(Agent::start(config, guest_clock.clone()).await.expect("an agent"));
        let lab = Self { clock, guest_clock, controller: Some(controller), agent, socket, guest, host };
        lab.settled("the first certificates").await;
        lab
    }

    pub(crate) async fn stop(self) {
        if let Some(agent) = self.agent {
            agent.stop().await;
        }
        if let Some(controller) = self.controller {
            controller.stop().await;
        }
    }

    /// Stops the controller and starts it again; in between something is done to its host.
    pub(crate) async fn restart(&mut self, meanwhile: impl FnOnce(&Host)) {
        self.controller.take().expect("it runs").stop().await;
        // In a process of its own the one of before is gone with all its threads; here its last look at the disk may
        // still end, and its lock is there until then.
        let lock = self.host.root().join("var/lib/pinion/local/controller.lock");
        let free = until_async("the lock to be free", PATIENCE, async || match FileLock::try_existing(&lock) {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err("locked".to_owned()),
            Err(error) => Err(error.to_string()),
        });
        free.await.expect("the controller has stopped");
        meanwhile(&self.host);
        let config = Config::load(self.host.root()).expect("its configuration");
        self.controller = Some(Controller::start(config, self.clock.clone()).await.expect("a controller"));
    }

    /// The guest.
    pub(crate) fn guest(&self) -> &Guest {
        &self.guest
    }

    /// The host.
    pub(crate) fn host(&self) -> &Host {
        &self.host
    }

    /// The guest is without power.
    pub(crate) async fn power_off(&mut self) {
        self.agent.take().expect("it has power").stop().await;
    }

    /// The guest starts.
    pub(crate) async fn power_on(&mut self) {
        let config = pinion_agent::config::Config::load(self.guest.root()).expect("its configuration");
        self.agent = Some(Agent::start(config, self.guest_clock.clone()).await.expect("an agent"));
    }

    /// Asks, and hangs up when the question has been taken in.
    async fn first_answer(&self, ask: &Ask) {
        let stream = UnixStream::connect(&self.socket).await.expect("it answers");
        let mut stream = BufReader::new(stream);
        lines::write(&mut stream, ask).await.expect("asked");
        lines::read::<Answer>(&mut stream).await.expect("an answer").expect("one at least");
    }

    async fn ask(&self, ask: &Ask) -> Vec<Answer> {
        let (read, mut write) = UnixStream::connect(&self.socket).await.expect("it answers").into_split();
        lines::write(&mut write, ask).await.expect("asked");
        let mut read = BufReader::new(read);
        let mut answers = Vec::new();
        while let Some(answer) = lines::read(&mut read).await.expect("an answer") {
            answers.push(answer);
        }
        answers
    }

    pub(crate) async fn status(&self) -> Status {
        // The second answer comes after whatever the first found due was planned.
        self.ask(&Ask::Status(Selection::default())).await;
        match self.ask(&Ask::Status(Selection::default())).await.pop() {
            Some(Answer::Status(status)) => *status,
            other => panic!("no status: {other:?}"),
        }
    }

    pub(crate) async fn events(&self, kind: Kind) -> Vec<Event> {
        let answers =
            self.ask(&Ask::Events(AskEvents { follow: false, last: 1_000_000, ..AskEvents::default() })).await;
        let events = answers.into_iter().filter_map(|answer| match answer {
            Answer::Event(event) => Some(event),
            _ => None,
        });
        events.filter(|event| event.kind == kind).collect()
    }

    /// Somebody asks for a renewal of everything, and does not wait for it.
    pub(crate) async fn renew(&self) {
        for doing in ["checking", "telling"] {
            drop(std::fs::remove_file(self.guest.root().join(doing)));
        }
        let ensure =
            Ensure { selection: Selection::default(), renew: true, now: false, until: Stage::Pending, wait: false };
        // What follows comes after a look of the guest's, which a hook that is held up may keep it from.
        self.first_answer(&Ask::Ensure(ensure)).await;
    }

    /// Waits until a hook is run.
    pub(crate) async fn reached(&self, doing: &str) {
        let path = self.guest.root().join(doing);
        let there =
            until_async(doing, PATIENCE, async || if path.exists() { Ok(()) } else { Err("not yet".to_owned()) });
        there.await.expect("it comes to that");
    }

    /// Lets both work for a while, and has the controller plan all the time.
    pub(crate) async fn busy_for(&self, time: Duration) {
        let began = std::time::Instant::now();
        while began.elapsed() < time {
            self.status().await;
        }
    }

    /// Waits until nothing is under way, and nothing is due.
    pub(crate) async fn settled(&self, what: &str) -> Status {
        let rest = until_async(what, PATIENCE, async || self.rests().await).await;
        rest.expect("it comes to rest")
    }

    /// As [`Self::settled`], after exactly so many certificates since the beginning.
    pub(crate) async fn settled_with(&self, issued: usize, what: &str) {
        let settled = until_async(what, PATIENCE, async || {
            self.rests().await?;
            let now = self.events(Kind::Issued).await.len();
            if now == issued { Ok(()) } else { Err(format!("{now} certificates")) }
        });
        settled.await.expect("it comes to rest");
    }

    /// Waits for so long until nothing is under way, nothing is due, and everything is valid by now; the last look, and
    /// what happened, where it does not come to that.
    pub(crate) async fn rests_within(&self, patience: Duration) -> Result<(), String> {
        let good = |status: &Status| {
            let now = self.clock.now();
            status.placements.iter().all(|placement| {
                placement.stage >= placement.goal
                    && placement.trouble.is_none()
                    && placement.renew_at.is_some_and(|at| at > now)
                    && placement.not_before.is_some_and(|from| from <= now + MINUTES)
            })
        };
        let rest = until_async("rest", patience, async || {
            let status = self.rests().await?;
            if good(&status) { Ok(()) } else { Err(format!("{} {status:?}", self.clock.now())) }
        });
        let Err(last) = rest.await else { return Ok(()) };
        // A request that nobody needs any more stays with the guest until the next renewal, and harms nobody.
        if good(&self.status().await) {
            return Ok(());
        }
        let events = self.ask(&Ask::Events(AskEvents { follow: false, last: 20, ..AskEvents::default() })).await;
        let texts = events.iter().filter_map(|answer| match answer {
            Answer::Event(event) => Some(event.text.as_str()),
            _ => None,
        });
        Err(format!("{last:#}\n{}", texts.collect::<Vec<_>>().join("\n")))
    }

    async fn rests(&self) -> Result<Status, String> {
        let status = self.status().await;
        let now = self.clock.now();
        let rests = |placement: &PlacementStatus| {
            let due = placement.renew_at.is_none_or(|at| at <= now);
            placement.stage >= placement.goal && placement.incoming.is_none() && placement.trouble.is_none() && !due
        };
        let linked = status.guests.iter().all(|guest| guest.linked) && !status.guests.is_empty();
        if linked && status.placements.iter().all(rests) { Ok(status) } else { Err(format!("{now} {status:?}")) }
    }

    /// Another guest can join now: the port is there, and its identity is good by this clock.
    pub(crate) async fn join_another(&self, guest: &str) {
        let token = JoinToken::parse(&self.host.token(guest).expect("a token")).expect("a token");
        let config = pinion_agent::config::Config::load(self.guest.root()).expect("its configuration");
        until_async("another guest to join", PATIENCE, async || join::join(&token, &config, self.clock.clone()).await)
            .await
            .expect("it joins");
    }

    /// The key that the guest holds for a certificate.
    pub(crate) fn key(&self, certificate: &str) -> Fingerprint {
        let reports = self.agent.as_ref().expect("it has power").placements.reports().borrow().clone();
        reports[&certificate.parse().expect("a name")].held.as_ref().expect("installed").leaf.key()
    }

    /// How many identities the guest has had.
    pub(crate) fn identities(&self) -> u64 {
        self.identity().generation
    }

    /// The guest's identity.
    pub(crate) fn identity(&self) -> Identity {
        let config = pinion_agent::config::Config::load(self.guest.root()).expect("its configuration");
        Identity::load(&config).expect("readable").expect("joined")
    }

    /// The root that a guest would join under now.
    pub(crate) fn root(&self) -> Fingerprint {
        JoinToken::parse(&self.host.token("999").expect("a token")).expect("a token").root.fingerprint()
    }
}
