//! Proxmox's login: the real controller and root process, in this process by a clock whose hands the test moves or as programs of
//! their own, with a stand-in for pvedaemon.

mod hostile;
mod rights;
mod secrecy;

use std::{fs, sync::Arc, time::Duration};

use pinion_controller::{channel::server, config::Config, serve::Controller};
use pinion_proto::clock::{Clock, Timestamp};
use pinion_tests::{
    clock::ManualClock,
    host::{Host, HostOptions},
    pvedaemon::Pvedaemon,
    wait::{self, PATIENCE},
};
use rcgen::{CertificateParams, KeyPair};
use reqwest::StatusCode;
use rustix::process::geteuid;
use serde_json::json;
use tokio::{net::TcpStream, task::JoinSet};

use crate::client::{Answer, Visitor, cookie};

/// The page's name.
const NAME: &str = "pinion.internal.example";

/// A moment at which certificates of the tests are good.
const START: Timestamp = Timestamp::from_unix(1_900_000_000);

/// A host whose page has Proxmox's login, of which nothing runs yet; and the page's certificate.
fn prepared(daemon: &Pvedaemon, more: &str) -> (Host, String) {
    let web = format!(
        "proxmox_login = \"{NAME}\"\ncertificate = \"/etc/pinion/web/fullchain.pem\"\nkey = \"/etc/pinion/web/key.pem\"\n{more}\n"
    );
    let options = HostOptions { web: Some(web), ..HostOptions::embedded(&json!([])) };
    let host = Host::prepare(&options).expect("a host");
    let channel = format!("\n[channel]\nuser = \"{}\"\npvedaemon = \"{}\"\n", geteuid().as_raw(), daemon.address());
    host.configure(&channel).expect("written");
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec![NAME.to_owned()]).expect("a name");
    let certificate = params.self_signed(&key).expect("a certificate").pem();
    let directory = host.root().join("etc/pinion/web");
    fs::create_dir_all(&directory).expect("made");
    fs::write(directory.join("fullchain.pem"), &certificate).expect("written");
    fs::write(directory.join("key.pem"), key.serialize_pem()).expect("written");
    (host, certificate)
}

/// Controller and root process in this process.
struct Login {
    clock: Arc<ManualClock>,
    daemon: Pvedaemon,
    host: Host,
    certificate: String,
    controller: Option<Controller>,
    root_process: JoinSet<()>,
}

impl Login {
    async fn start() -> Self {
        let clock = Arc::new(ManualClock::at(START));
        let daemon = Pvedaemon::start(clock.clone()).expect("a daemon");
        let (host, certificate) = prepared(&daemon, "renew = true");
        let mut it = Self { clock, daemon, host, certificate, controller: None, root_process: JoinSet::new() };
        it.start_root_process();
        let config = Config::load(it.host.root()).expect("its configuration");
        it.controller = Some(Controller::start(config, it.clock.clone()).await.expect("a controller"));
        let page = it.host.web().expect("a page");
        let listens = async || TcpStream::connect(page).await.map(drop);
        wait::until_async("the page", PATIENCE, listens).await.expect("it listens");
        it
    }

    /// In place of one that runs.
    fn start_root_process(&mut self) {
        let config = Config::load(self.host.root()).expect("its configuration");
        let clock = self.clock.clone();
        self.root_process = JoinSet::new();
        self.root_process.spawn(async move { server::run(config, clock).await.expect("it runs") });
    }

    fn stranger(&self) -> Visitor {
        Visitor::of_page(self.host.web().expect("a page"), NAME, &self.certificate)
    }

    /// What comes of signing in with this, when nobody has tried for a while.
    async fn sign_in(&self, credential: &str) -> Answer {
        self.clock.advance(Duration::from_secs(15));
        let answer = wait::until_async("the root process", PATIENCE, async || {
            let answer = sign_in(&self.stranger(), credential).await;
            // It may listen a moment later.
            let is_away = answer.status == StatusCode::SERVICE_UNAVAILABLE && self.daemon.asked().is_empty();
            if is_away { Err(answer.body) } else { Ok(answer) }
        });
        answer.await.expect("it answers")
    }

    /// Somebody who has signed in with this.
    async fn visitor(&self, credential: &str) -> Visitor {
        let answer = self.sign_in(credential).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.body);
        Visitor { cookie: cookie(&answer), ..self.stranger() }
    }

    /// The end of an answer that Proxmox has given.
    fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    fn ticket_of(&self, user: &str, age: u64) -> String {
        self.daemon.ticket_of(user, self.clock.now() - Duration::from_secs(age)).expect("a ticket")
    }

    async fn stop(mut self) {
        self.root_process.shutdown().await;
        if let Some(controller) = self.controller.take() {
            controller.stop().await;
        }
    }
}

/// Sends the form.
async fn sign_in(visitor: &Visitor, credential: &str) -> Answer {
    visitor.post("/sign-in/proxmox", &form(credential)).await
}

/// As browsers escape it.
fn form(credential: &str) -> String {
    let escaped: String = credential.bytes().map(|byte| format!("%{byte:02X}")).collect();
    format!("credential={escaped}")
}

/// Nothing in it is for those who may not look.
fn says_nothing(answer: &Answer) {
    for word in ["1001", "web@", env!("CARGO_PKG_VERSION"), "embedded", "stage"] {
        assert!(!answer.body.contains(word), "it says {word}: {}", answer.body);
    }
}
