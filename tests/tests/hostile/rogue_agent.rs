//! An agent of one's own making: a real identity and a real link, and whatever the test wants to say on it.

use std::{path::Path, sync::Arc, time::Duration};

use pinion_agent::{
    config::Config,
    identity::{Identity, IdentityRequest},
    link::{dial, join},
};
use pinion_proto::{
    clock::{Clock, SystemClock},
    key::KeyAlgorithm,
    message::{Hello, JoinRequest, ToAgent, ToController},
    names::{SubjectName, SubjectNames},
    private_key::PrivateKey,
    report::{GuestFacts, Incoming, PlacementReport, Progress},
    spec::PlacementSpec,
    tls,
    token::JoinToken,
    wire::{self, pb},
};
use pinion_tests::{host::Host, wait::PATIENCE};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

/// A guest's identity in the wrong hands.
pub(crate) struct Rogue {
    pub(crate) identity: Identity,
    clock: Arc<dyn Clock>,
}

/// Its connection, before it says hello.
pub(crate) struct Line {
    client: pb::link_client::LinkClient<dial::Connection>,
    identity: u64,
}

/// Its link.
pub(crate) struct Wire {
    said: mpsc::Sender<pb::ToController>,
    heard: Streaming<pb::ToAgent>,
}

impl Rogue {
    /// Joins as this guest with a token of the host's.
    pub(crate) async fn join(host: &Host, guest: &str) -> Self {
        let token = JoinToken::parse(&host.token(guest).expect("a token")).expect("a token");
        Self::join_with(&token, Arc::new(SystemClock)).await
    }

    pub(crate) async fn join_with(token: &JoinToken, clock: Arc<dyn Clock>) -> Self {
        let identity = join::join(token, &config(), clock.clone()).await.expect("joined");
        Self { identity, clock }
    }

    /// The same hands with another identity.
    pub(crate) fn with(&self, identity: Identity) -> Self {
        Self { identity, clock: self.clock.clone() }
    }

    /// Dials and links with an identity, saying that it holds nothing.
    pub(crate) async fn link(&self) -> Wire {
        self.try_link().await.expect("linked")
    }

    /// The error is what the agent would be told.
    pub(crate) async fn try_link(&self) -> Result<Wire, String> {
        self.dial().await?.link(0).await
    }

    /// Dials and says nothing yet.
    pub(crate) async fn dial(&self) -> Result<Line, String> {
        let tls =
            tls::client_config(Some(self.identity.cell().expect("a pair")), &self.identity.root, self.clock.clone());
        let tls = Arc::new(tls.expect("a configuration"));
        let dialled = dial::dial(&self.identity.controllers, tls).await;
        let (connection, _) = dialled.map_err(|error| pinion_proto::causes::chain(&error))?;
        let client = pb::link_client::LinkClient::with_origin(connection, dial::origin());
        Ok(Line { client, identity: self.identity.generation })
    }
}

impl Line {
    /// Links, as this one of the guest's links; 0 says nothing of that.
    pub(crate) async fn link(self, link_count: u64) -> Result<Wire, String> {
        self.link_as(GuestFacts::default(), link_count).await
    }

    /// The same, as a guest of which this is so.
    pub(crate) async fn link_as(mut self, facts: GuestFacts, link_count: u64) -> Result<Wire, String> {
        let (said, queue) = mpsc::channel(64);
        let identity_generation = self.identity;
        let hello = Hello { facts, identity_generation, link_count, reports: vec![], roots: Vec::new() };
        let hello = wire::write_to_controller(ToController::Hello(hello));
        said.send(hello).await.expect("room");
        let opened = timeout(PATIENCE, self.client.open(ReceiverStream::new(queue))).await.expect("an answer");
        let heard = opened.map_err(|status| status.to_string())?.into_inner();
        Ok(Wire { said, heard })
    }
}

impl Wire {
    /// False when the controller does not listen any more.
    pub(crate) async fn say(&self, message: ToController) -> bool {
        self.say_raw(wire::write_to_controller(message)).await
    }

    pub(crate) async fn say_raw(&self, message: pb::ToController) -> bool {
        timeout(PATIENCE, self.said.send(message)).await.is_ok_and(|sent| sent.is_ok())
    }

    pub(crate) async fn report(&self, report: PlacementReport) -> bool {
        self.say(ToController::Report(Box::new(report))).await
    }

    /// The next message; none once the link is over.
    pub(crate) async fn hear(&mut self) -> Option<ToAgent> {
        let message = timeout(PATIENCE, self.heard.message()).await.expect("a message, or the end");
        message.ok().flatten().map(|message| wire::read_to_agent(message).expect("a message"))
    }

    /// Hears until the link is over.
    pub(crate) async fn end(&mut self) {
        while self.hear().await.is_some() {}
    }

    /// Waits until this certificate is ordered, as this generation or a later one.
    pub(crate) async fn ordered(&mut self, certificate: &str, least: u64) -> PlacementSpec {
        loop {
            let Some(ToAgent::Desired(specs)) = self.hear().await else { continue };
            let ordered = |spec: &PlacementSpec| {
                spec.certificate.as_str() == certificate && spec.ordered.is_some_and(|generation| generation >= least)
            };
            if let Some(spec) = specs.into_iter().find(ordered) {
                return spec;
            }
        }
    }
}

/// The report of an order that was taken up, with this request.
pub(crate) fn requested(certificate: &str, generation: u64, csr: Vec<u8>) -> PlacementReport {
    PlacementReport {
        last_generation: generation,
        incoming: Some(Incoming { generation, progress: Progress::Requested(csr) }),
        ..PlacementReport::nothing(certificate.parse().expect("a name"))
    }
}

/// A good request for these names.
pub(crate) fn csr(algorithm: KeyAlgorithm, names: &[&str]) -> Vec<u8> {
    let names: Vec<SubjectName> = names.iter().map(|name| name.parse().expect("a name")).collect();
    let common_name = names[0].clone();
    let names = SubjectNames::try_from(names).expect("names");
    PrivateKey::generate(algorithm).expect("a key").request(&common_name, &names).expect("a request")
}

/// Asks to join as anybody, with anything; and how long the answer took.
pub(crate) async fn ask_to_join(
    token: &JoinToken,
    request: pb::JoinRequest,
) -> (Result<pb::JoinResponse, Status>, Duration) {
    let tls = Arc::new(tls::client_config(None, &token.root, Arc::new(SystemClock)).expect("a configuration"));
    let (connection, _) = dial::dial(&token.controllers, tls).await.expect("strangers may ask");
    let mut client = pb::join_client::JoinClient::with_origin(connection, dial::origin());
    let start = std::time::Instant::now();
    let answer = timeout(PATIENCE, client.join(request)).await.expect("an answer");
    (answer.map(tonic::Response::into_inner), start.elapsed())
}

/// What an honest agent would ask with this token.
pub(crate) fn join_request(token: &JoinToken) -> pb::JoinRequest {
    wire::write_join_request(&JoinRequest {
        guest: token.guest,
        secret: token.secret.clone(),
        csr: IdentityRequest::make().expect("a key").csr,
        facts: GuestFacts::default(),
    })
}

fn config() -> Config {
    Config::shipped(Path::new("/nonexistent").to_owned())
}
