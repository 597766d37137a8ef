//! A controller that has been broken into: it has the identity root, and says what the test wants.

use std::pin::Pin;

use pinion_proto::{
    message::{Delivery, ToAgent, ToController},
    report::{PlacementReport, Progress},
    spec::PlacementSpec,
    wire::{self, pb},
};
use pinion_tests::{attack::listener::Listener, wait::PATIENCE};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::{Stream, StreamExt, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming, codegen::Service};

/// Listens, lets anybody with a token of its own join, and gives each link to the test.
pub(crate) struct FakeController {
    listener: Listener,
    links: mpsc::Receiver<Link>,
}

/// A linked agent.
pub(crate) struct Link {
    said: mpsc::Sender<pb::ToAgent>,
    heard: Streaming<pb::ToController>,
}

impl FakeController {
    pub(crate) async fn start() -> Self {
        let (new_links, links) = mpsc::channel(4);
        let server = pb::link_server::LinkServer::new(Handler { links: new_links });
        let open = move |request| {
            let mut server = server.clone();
            async move { server.call(request).await.unwrap_or_else(|never| match never {}) }
        };
        Self { listener: Listener::start(open).await.expect("it listens"), links }
    }

    /// A token for a guest, as text.
    pub(crate) fn token(&self, guest: &str) -> String {
        self.listener.token(guest).expect("a token")
    }

    /// The next agent that links, after its hello.
    pub(crate) async fn link(&mut self) -> Link {
        timeout(PATIENCE, self.links.recv()).await.expect("an agent links").expect("it listens")
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
struct Handler {
    links: mpsc::Sender<Link>,
}

#[tonic::async_trait]
impl pb::link_server::Link for Handler {
    type OpenStream = Pin<Box<dyn Stream<Item = Result<pb::ToAgent, Status>> + Send>>;

    async fn open(&self, request: Request<Streaming<pb::ToController>>) -> Result<Response<Self::OpenStream>, Status> {
        let mut heard = request.into_inner();
        heard.message().await?.ok_or_else(|| Status::internal("no hello"))?;
        let (said, queue) = mpsc::channel(16);
        self.links.send(Link { said, heard }).await.map_err(|_| Status::unavailable("nobody listens"))?;
        Ok(Response::new(Box::pin(ReceiverStream::new(queue).map(Ok))))
    }
}
