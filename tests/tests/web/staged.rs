//! The real web server in this process, before a loop that says what a test wants: for what takes weeks, or a thousand guests.

use std::sync::{Arc, Mutex};

use pinion_controller::{
    admin::{
        protocol::{Answer, PlanDocument, PlanStep, Status},
        question::{FromPlan, Question, Request},
    },
    channel::client::Client,
    config::{Config, WebConfig},
    events::{Events, examples},
    identity::{Identities, NoMachines},
    issuer::Issuers,
    store::Store,
    web::{
        self, Web,
        access::{Right, WebAccess},
    },
};
use pinion_proto::clock::{Clock, SystemClock, Timestamp};
use pinion_tests::port::Port;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc;

/// A page, and what is behind it.
pub(crate) struct StagedPage {
    port: Port,
    access: Arc<WebAccess>,
    events: Arc<Events>,
    status: Arc<Mutex<Status>>,
    _directory: TempDir,
}

const DAY: i64 = 24 * 3600;

impl StagedPage {
    pub(crate) async fn all_well() -> Self {
        Self::start(false, status(usual().collect())).await
    }

    pub(crate) async fn one_expired_and_one_blocked() -> Self {
        let mut all: Vec<_> = usual().collect();
        let mut expired = placement("legacy", 1002, -32 * DAY, 30);
        (expired["validity"], expired["due"]) = (json!("expired"), json!(true));
        expired["trouble"] =
            trouble("waiting", "reach guest 1002", "its agent has not been linked for 34 days", "start the guest");
        let mut blocked = placement("mail", 1003, -25 * DAY, 30);
        blocked["due"] = json!(true);
        blocked["trouble"] = trouble(
            "blocked",
            "install mail@1003",
            "/etc/postfix/tls/key.pem is not in a directory that agent.toml allows",
            "add /etc/postfix/tls to `extra_directories` in the guest's /etc/pinion/agent.toml",
        );
        all.extend([expired, blocked]);
        Self::start(false, status(all)).await
    }

    pub(crate) async fn of_many(count: u32) -> Self {
        let one =
            |number: u32| placement(&format!("c{number}"), 1000 + number % 200, -i64::from(number % 19) * DAY, 30);
        Self::start(false, status((0..count).map(one).collect())).await
    }

    /// Nothing, and Proxmox's login, at `http://localhost`.
    pub(crate) async fn with_login() -> Self {
        Self::start(true, status(Vec::new())).await
    }

    async fn start(has_login: bool, status: Status) -> Self {
        let directory = tempfile::Builder::new().prefix("pinion-staged-").tempdir().expect("a directory");
        let (local, shared) = (directory.path().join("local"), directory.path().join("shared"));
        let store = Arc::new(Store::open(&local, &shared).expect("a store"));
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let identities = Identities::open(&store, clock.clone(), None, Arc::new(NoMachines)).expect("identities");
        let events = Arc::new(Events::open(&local));
        examples().into_iter().take(30).for_each(|mut event| {
            event.at = clock.now();
            events.record(event);
        });
        let access = Arc::new(WebAccess::open(store.clone(), clock.clone()));
        let (requests, asked) = mpsc::channel(8);
        let links = mpsc::channel(1).0;
        let status = Arc::new(Mutex::new(status));
        tokio::spawn(answer(asked, status.clone()));
        let web = Web {
            requests,
            links: links.downgrade(),
            identities: Arc::new(identities),
            issuers: Arc::new(Issuers::from_config(&[].into(), &store, clock.clone(), directory.path())),
            events: events.clone(),
            passes: prometheus_histogram(),
            started: clock.now(),
            clock,
            host: "pve1".to_owned(),
            access: access.clone(),
            channel: Client::new(&directory.path().join("channel.sock")),
        };
        let port = Port::reserve().expect("a port");
        let listen = Some(port.address());
        let mut config = WebConfig { listen, ..Config::load(directory.path()).expect("the defaults").web };
        // A browser finds this name, and needs no certificate for it.
        config.proxmox_login = has_login.then(|| serde_json::from_str("\"localhost\"").expect("a name"));
        tokio::spawn(web::serve(web, config));
        let staged = Self { port, access, events, status, _directory: directory };
        // The server says where it is once it runs.
        while staged.access.link_url(Right::Look).is_none() {
            tokio::task::yield_now().await;
        }
        staged
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.port.address())
    }

    pub(crate) fn link(&self) -> String {
        self.access.link_url(Right::Look).expect("a link").to_string()
    }

    /// Gives a placement another name, and says that something happened.
    pub(crate) fn rename(&self, from: &str, to: &str) {
        let mut status = self.status.lock().expect("not poisoned");
        status
            .placements
            .iter_mut()
            .filter(|one| one.placement == from)
            .for_each(|one| to.clone_into(&mut one.placement));
        drop(status);
        self.events.record(examples().into_iter().next().expect("an event"));
    }
}

fn prometheus_histogram() -> pinion_controller::metrics::Histogram {
    pinion_controller::metrics::Histogram::new([0.1])
}

async fn answer(mut asked: mpsc::Receiver<Request>, status: Arc<Mutex<Status>>) {
    while let Some(Request { question, answers, .. }) = asked.recv().await {
        let mut status = status.lock().expect("not poisoned").clone();
        let answer = match question {
            Question::FromPlan(FromPlan::Status(selection)) => {
                if !selection.names.is_empty() {
                    status.placements.retain(|one| selection.names.contains(&one.placement));
                }
                Answer::Status(Box::new(status))
            }
            Question::FromPlan(FromPlan::Plan) => {
                let step =
                    |placement: String| PlanStep { placement, action: "keep".into(), why: "renewal in 19 days".into() };
                let steps = status.placements.into_iter().map(|one| step(one.placement)).collect();
                Answer::Plan(PlanDocument { steps, notes: Vec::new(), warnings: Vec::new(), wake_at: None })
            }
            _ => Answer::End,
        };
        answers.send(answer).await.ok();
    }
}

fn usual() -> impl Iterator<Item = Value> {
    [
        ("gateway", 1000, -2),
        ("docker", 1001, -11),
        ("docker", 1002, -4),
        ("registry", 1001, -17),
        ("vllm", 1004, -8),
        ("postgres", 1005, -14),
        ("grafana", 1006, -1),
        ("archive", 1007, -6),
        ("ldap", 1008, -19),
        ("portainer", 1001, -9),
    ]
    .into_iter()
    .map(|(name, guest, days)| placement(name, guest, days * DAY, 30))
}

fn placement(name: &str, guest: u32, begun: i64, life: i64) -> Value {
    let now = SystemClock.now().unix();
    let at = |seconds: i64| Timestamp::from_unix(now + seconds).to_string();
    json!({
        "placement": format!("{name}@{guest}"), "certificate": name, "guest": guest.to_string(),
        "guest_name": format!("{name}-{}", guest % 10), "stage": "served", "goal": "served", "validity": "ok", "due": false,
        "generation": 3, "incoming": null, "serial": "61F2A09D3C", "names": [format!("{name}.internal.example"), "10.0.0.111"],
        "not_before": at(begun), "not_after": at(begun + life * DAY), "renew_at": at(begun + life * DAY * 2 / 3),
        "issuer": "step-ca", "retired": false, "left_behind": [], "trouble": null, "recipe": "docker", "key": "ecdsa-p256",
        "notified": { "reloads": 3, "restarts": 1 },
        "openings": if name == "docker" { json!([{ "opens": at(3 * DAY), "closes": at(3 * DAY + 7200) }]) } else { json!([]) },
        "details": {
            "files": [format!("fullchain /etc/ssl/{name}/fullchain.pem 0644 root:root"), format!("key /etc/ssl/{name}/key.pem 0600 root:root")],
            "services": ["restart docker.service"], "probes": ["127.0.0.1:2376"], "chain": ["step-ca Intermediate, until 2036-01-01"]
        }
    })
}

fn trouble(halt: &str, attempt: &str, cause: &str, remedy: &str) -> Value {
    json!({ "halt": halt, "attempt": attempt, "cause": cause, "remedy": remedy, "retry_at": null })
}

fn status(placements: Vec<Value>) -> Status {
    let now = SystemClock.now();
    let mut guests: Vec<String> =
        placements.iter().filter_map(|one| one["guest"].as_str().map(ToOwned::to_owned)).collect();
    guests.sort();
    guests.dedup();
    let guests: Vec<_> = guests
        .iter()
        .map(|guest| json!({ "guest": guest, "name": format!("vm{guest}"), "linked": guest != "1002", "since": now.to_string(), "agent_version": "0.1.0" }))
        .collect();
    let root = json!({ "fingerprint": "a7".repeat(32), "subject": "Internal Root CA", "not_after": "2036-01-01T00:00:00Z", "signing": true });
    let failing = trouble("waiting", "send alarms to the target chat", "it answered 503", "look at its log");
    let troubles = if placements.len() == 12 { vec![failing] } else { Vec::new() };
    let status = json!({
        "troubles": troubles,
        "version": "0.1.0", "notes": [], "placements": placements, "guests": guests,
        "issuers": [{ "name": "step-ca", "roots": [root] }]
    });
    serde_json::from_value(status).expect("a status")
}
