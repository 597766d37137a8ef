//! A controller that has been broken into: it has the identity root, and says what the test wants.

use std::{
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::Arc,
};

use hyper_util::rt::{TokioExecutor, TokioIo};
use pinion_controller::{
    identity::{Identities, NoMachines},
    store::Store,
};
use pinion_proto::{
    clock::SystemClock,
    message::{Delivery, ToAgent, ToController},
    report::{PlacementReport, Progress},
    spec::PlacementSpec,
    tls::{self, IdentityCell},
    wire::{self, pb},
};
use pinion_tests::wait::PATIENCE;
use tokio::{net::TcpListener, sync::mpsc, time::timeout};
use tokio_stream::{Stream, StreamExt, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming, codegen::Service};

/// Listens, lets anybody with a token of its own join, and gives each link to the test.
pub(crate) struct FakeController {
    identities: Arc<Identities>,
    address: SocketAddr,
    links: mpsc::Receiver<Link>,
    serving: tokio::task::JoinHandle<()>,
    _state: tempfile::TempDir,
}

/// A linked agent.
pub(crate) struct Link {
    said: mpsc::Sender<pb::ToAgent>,
    heard: Streaming<pb::ToController>,
}

impl FakeController {
    pub(crate) async fn start() -> Self {
        let state = tempfile::tempdir().expect("a directory");
        let store = Store::open(&state.path().join("local"), &state.path().join("shared")).expect("a store");
        let identities =
            Identities::open(&Arc::new(store), Arc::new(SystemClock), None, Arc::new(NoMachines)).expect("identities");
        let own = identities.issue_controller().expect("its identity");
        let cell = IdentityCell::new(&own.chain, &own.key).expect("a pair");
        let tls = tls::server_config(cell, identities.root(), Arc::new(SystemClock)).expect("a configuration");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (new_links, links) = mpsc::channel(4);
        let identities = Arc::new(identities);
        let desk = Desk { identities: identities.clone(), links: new_links };
        let serving = tokio::spawn(serve(listener, tokio_rustls::TlsAcceptor::from(Arc::new(tls)), desk));
        Self { identities, address, links, serving, _state: state }
    }

    /// A token for a guest, as text.
    pub(crate) fn token(&self, guest: &str) -> String {
        let guest = guest.parse().expect("a guest");
        let token = self.identities.create_token(guest, vec![self.address]).expect("a token");
        token.to_text().expect("text").to_string()
    }

    /// The next agent that links, after its hello.
    pub(crate) async fn link(&mut self) -> Link {
        timeout(PATIENCE, self.links.recv()).await.expect("an agent links").expect("it listens")
    }
}

impl Drop for FakeController {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Link {
    pub(crate) async fn say(&self, message: ToAgent) {
        self.say_raw(wire::write_to_agent(message)).await;
    }

    pub(crate) async fn say_raw(&self, message: pb::ToAgent) {
        self.said.send(message).await.expect("the link is up");
    }

    pub(crate) async fn desire(&self, specs: &[&PlacementSpec]) {
        self.say(ToAgent::Desired(specs.iter().map(|&spec| spec.clone()).collect())).await;
    }

    pub(crate) async fn deliver(&self, delivery: Delivery) {
        self.say(ToAgent::Delivery(Box::new(delivery))).await;
    }

    /// The next message that is neither the end nor nonsense.
    pub(crate) async fn hear(&mut self) -> ToController {
        let message = timeout(PATIENCE, self.heard.message()).await.expect("a message").expect("a message");
        wire::read_to_controller(message.expect("the link is up")).expect("an agent makes sense")
    }

    /// Waits for a report with what is looked for.
    pub(crate) async fn report<T>(&mut self, look: impl Fn(&PlacementReport) -> Option<T>) -> T {
        loop {
            if let ToController::Report(report) = self.hear().await
                && let Some(found) = look(&report)
            {
                return found;
            }
        }
    }

    /// Waits for the request of this generation.
    pub(crate) async fn request(&mut self, generation: u64) -> Vec<u8> {
        self.report(|report| match report.incoming.as_ref() {
            Some(incoming) if incoming.generation == generation => match &incoming.progress {
                Progress::Requested(csr) => Some(csr.clone()),
                Progress::Delivered => None,
            },
            _ => None,
        })
        .await
    }
}

#[derive(Clone)]
struct Desk {
    identities: Arc<Identities>,
    links: mpsc::Sender<Link>,
}

async fn serve(listener: TcpListener, tls: tokio_rustls::TlsAcceptor, desk: Desk) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, desk) = (tls.clone(), desk.clone());
        connections.spawn(async move {
            let Ok(stream) = tls.accept(stream).await else { return };
            let service = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
                let (join, link) =
                    (pb::join_server::JoinServer::new(desk.clone()), pb::link_server::LinkServer::new(desk.clone()));
                async move {
                    if request.uri().path().starts_with("/pinion.v1.Join/") {
                        { join }.call(request).await
                    } else {
                        { link }.call(request).await
                    }
                }
            });
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            // An agent that hangs up is what some of these tests are about.
            builder.serve_connection(TokioIo::new(stream), service).await.ok();
        });
    }
}

#[tonic::async_trait]
impl pb::join_server::Join for Desk {
    async fn join(&self, request: Request<pb::JoinRequest>) -> Result<Response<pb::JoinResponse>, Status> {
        let request = wire::read_join_request(request.into_inner()).map_err(|e| Status::internal(e.to_string()))?;
        let now = pinion_proto::clock::Clock::now(&SystemClock);
        let identity = self.identities.join(&request, now).map_err(|e| Status::internal(e.to_string()))?;
        Ok(Response::new(wire::write_join_response(identity)))
    }
}

#[tonic::async_trait]
impl pb::link_server::Link for Desk {
    type OpenStream = Pin<Box<dyn Stream<Item = Result<pb::ToAgent, Status>> + Send>>;

    async fn open(&self, request: Request<Streaming<pb::ToController>>) -> Result<Response<Self::OpenStream>, Status> {
        let mut heard = request.into_inner();
        heard.message().await?.ok_or_else(|| Status::internal("no hello"))?;
        let (said, queue) = mpsc::channel(16);
        self.links.send(Link { said, heard }).await.map_err(|_| Status::unavailable("nobody listens"))?;
        Ok(Response::new(Box::pin(ReceiverStream::new(queue).map(Ok))))
    }
}
