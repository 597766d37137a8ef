//! Messages that are short on the wire and large in memory, at the real controller and at a real agent.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context as Task, Poll},
};

use anyhow::{Context, Result};
use pinion_agent::{
    config::Config,
    identity::Identity,
    link::{dial, join},
};
use pinion_proto::{clock::SystemClock, tls, token::JoinToken};
use tokio::{sync::mpsc, task::JoinSet, time::timeout};
use tonic::{Request, Response, Status, Streaming, codegen::Service};

use super::{listener::Listener, raw::Raw};
use crate::{
    guest::Guest,
    host::Host,
    memory,
    wait::{self, PATIENCE},
};

/// As many empty elements as a message of 4 MiB has room for.
pub const ELEMENTS: usize = 2_000_000;

/// What a process needed.
#[derive(Debug, Clone, Copy)]
pub struct Figures {
    /// In memory before (bytes).
    pub before: u64,
    /// The most that it had while it lasted (bytes).
    pub max: u64,
}

impl Figures {
    /// What the attack cost (bytes).
    #[must_use]
    pub fn cost(&self) -> u64 {
        self.max.saturating_sub(self.before)
    }

    async fn of<T>(process: u32, attack: impl Future<Output = Result<T>>) -> Result<(Self, T)> {
        let before = memory::resident(process)?;
        memory::forget_peak(process)?;
        let done = attack.await?;
        Ok((Self { before, max: memory::peak(process)? }, done))
    }
}

/// A field with these bytes, by its number (below 16).
#[must_use]
pub fn field(tag: u8, inner: &[u8]) -> Vec<u8> {
    let mut out = vec![tag << 3 | 2];
    let mut rest = inner.len();
    while rest >= 0x80 {
        out.push(u8::try_from(rest & 0x7f).expect("seven bits") | 0x80);
        rest >>= 7;
    }
    out.push(u8::try_from(rest).expect("seven bits"));
    out.extend_from_slice(inner);
    out
}

/// Hellos, and what else may come first: each a message to the controller.
#[must_use]
pub fn to_controller() -> Vec<(&'static str, Vec<u8>)> {
    let hello = |inner: &[u8]| field(1, inner);
    vec![
        ("empty reports", hello(&empty(3))),
        ("empty reports in merged hellos", hello(&field(3, &[]).repeat(1000)).repeat(ELEMENTS / 1000)),
        ("empty files left behind in one report", hello(&field(3, &empty(8)))),
        ("empty network cards", hello(&field(1, &empty(5)))),
        ("empty files left after a purge", field(3, &empty(2))),
        // The most that is decoded: each within its limit, and all together just below what a message may take.
        (
            "99 empty files left behind in each of 1,000 reports",
            hello(&field(3, &field(8, &[]).repeat(99)).repeat(1000)),
        ),
    ]
}

/// Messages to an agent.
#[must_use]
pub fn to_agent() -> Vec<(&'static str, Vec<u8>)> {
    let spec = |inner: &[u8]| field(1, &field(1, inner));
    vec![
        ("empty placements", field(1, &empty(1))),
        ("empty placements in merged messages", field(1, &field(1, &[]).repeat(1000)).repeat(ELEMENTS / 1000)),
        ("empty names of one placement", spec(&empty(3))),
        ("empty certificates of a delivery", field(2, &empty(3))),
        ("empty nodes", field(6, &empty(1))),
        ("empty addresses of one node", field(6, &field(1, &empty(2)))),
        ("131 empty names in each of 1,000 placements", field(1, &field(1, &field(3, &[]).repeat(131)).repeat(1000))),
    ]
}

fn empty(tag: u8) -> Vec<u8> {
    field(tag, &[]).repeat(ELEMENTS)
}

/// Guests' identities in the wrong hands.
#[derive(Debug)]
pub struct Guests(Vec<Identity>);

impl Guests {
    /// Joins as each of these.
    ///
    /// # Errors
    /// A join is refused.
    pub async fn join(host: &Host, guests: impl IntoIterator<Item = u32>) -> Result<Self> {
        let mut identities = Vec::new();
        for guest in guests {
            let token = JoinToken::parse(&host.token(&guest.to_string())?)?;
            let config = Config::shipped("/nonexistent".into());
            identities.push(join::join(&token, &config, Arc::new(SystemClock)).await?);
        }
        Ok(Self(identities))
    }

    /// All of them say this first on a link, at once. The answers, when all have come: each a refusal, or none if the
    /// controller hung up.
    ///
    /// # Errors
    /// The controller is not reached, does not answer, or has taken what it heard.
    pub async fn all_say(&self, controller: u32, message: &[u8]) -> Result<(Figures, Vec<Status>)> {
        // Connected before it is counted: a connection costs what it costs.
        let mut clients = Vec::new();
        for identity in &self.0 {
            let tls = tls::client_config(Some(identity.cell()?), &identity.root, Arc::new(SystemClock))?;
            let (connection, _) = dial::dial(&identity.controllers, Arc::new(tls)).await?;
            clients.push(tonic::client::Grpc::with_origin(connection, dial::origin()));
        }
        let message = message.to_vec();
        Figures::of(controller, async {
            let mut answers: JoinSet<Result<Status>> = clients
                .into_iter()
                .map(|client| {
                    let message = message.clone();
                    async move { timeout(PATIENCE, refused(client, message)).await.context("the controller answers")? }
                })
                .collect();
            let mut refusals = Vec::new();
            while let Some(answer) = answers.join_next().await {
                refusals.push(answer.context("no panic")??);
            }
            Ok(refusals)
        })
        .await
    }
}

async fn refused(mut client: tonic::client::Grpc<dial::Connection>, message: Vec<u8>) -> Result<Status> {
    client.ready().await.context("a connection")?;
    let path = http::uri::PathAndQuery::from_static("/pinion.v1.Link/Open");
    // It stays open: what ends this is the controller's word.
    let said = tokio_stream::StreamExt::chain(tokio_stream::iter([message]), tokio_stream::pending());
    let mut heard = match client.streaming(Request::new(said), path, Raw).await {
        Ok(response) => response.into_inner(),
        Err(status) => return Ok(status),
    };
    loop {
        match heard.message().await {
            Ok(Some(_)) => {}
            Ok(None) => return Ok(Status::ok("the controller hung up")),
            Err(status) => return Ok(status),
        }
    }
}

/// A controller that has been broken into: it says to each agent that links what it is given.
#[derive(Debug)]
pub struct BrokenController {
    listener: Listener,
    links: mpsc::Receiver<mpsc::Sender<Vec<u8>>>,
    /// The link that is up, as far as is known.
    link: Option<mpsc::Sender<Vec<u8>>>,
}

impl BrokenController {
    /// Listens, and lets guests with its tokens join.
    ///
    /// # Errors
    /// No port, or no directory.
    pub async fn start() -> Result<Self> {
        let (opened, links) = mpsc::channel(4);
        let handler = Handler { opened };
        let open = move |request| {
            let handler = handler.clone();
            async move { tonic::server::Grpc::new(Raw).streaming(handler, request).await }
        };
        Ok(Self { listener: Listener::start(open).await?, links, link: None })
    }

    /// A guest that has joined it, with its agent.
    ///
    /// # Errors
    /// The programs are not built, or the join fails.
    pub fn guest(&self, guest: &str) -> Result<Guest> {
        let token = self.listener.token(guest)?;
        let mut guest = Guest::prepare(guest, &crate::guest::GuestOptions::default())?;
        guest.join_with(&token)?.succeeded()?;
        guest.start()?;
        Ok(guest)
    }

    /// Says this to the agent, which hangs up on it and dials anew, or says in its log that it does not understand.
    ///
    /// # Errors
    /// The agent does not link, ends, or takes what it heard.
    pub async fn says(&mut self, guest: &mut Guest, message: &[u8]) -> Result<Figures> {
        let link = match self.link.take() {
            Some(link) => link,
            None => timeout(PATIENCE, self.links.recv()).await.context("the agent links")?.context("it listens")?,
        };
        let agent = guest.agent().context("it was started")?;
        let (process, refusals) = (agent.id(), agent.log().matches(NOT_UNDERSTOOD).count());
        let (figures, ()) = Figures::of(process, async {
            link.send(message.to_vec()).await.ok().context("the link is up")?;
            wait::until_async("the agent to refuse it", PATIENCE, async || {
                let refused = link.is_closed() || agent.log().matches(NOT_UNDERSTOOD).count() > refusals;
                if refused { Ok(()) } else { Err(agent.log_tail()) }
            })
            .await
        })
        .await?;
        agent.check_running()?;
        if link.is_closed() {
            // It would wait longer before each dial; started anew, it dials at once.
            guest.stop()?;
            while self.links.try_recv().is_ok() {}
            guest.start()?;
        } else {
            self.link = Some(link);
        }
        Ok(figures)
    }
}

/// What the agent logs of a message that is within its limits and makes no sense.
const NOT_UNDERSTOOD: &str = "Cannot read a message of the controller";

#[derive(Clone)]
struct Handler {
    opened: mpsc::Sender<mpsc::Sender<Vec<u8>>>,
}

type Said = Pin<Box<dyn tokio_stream::Stream<Item = Result<Vec<u8>, Status>> + Send>>;

impl Service<Request<Streaming<Vec<u8>>>> for Handler {
    type Response = Response<Said>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Said>, Status>> + Send>>;

    fn poll_ready(&mut self, _: &mut Task<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Streaming<Vec<u8>>>) -> Self::Future {
        let opened = self.opened.clone();
        Box::pin(async move {
            let mut heard = request.into_inner();
            heard.message().await?;
            let (said, queue) = mpsc::channel(1);
            opened.send(said).await.map_err(|_| Status::unavailable("nobody listens"))?;
            let queue = tokio_stream::wrappers::ReceiverStream::new(queue);
            Ok(Response::new(Box::pin(tokio_stream::StreamExt::map(queue, Ok)) as Said))
        })
    }
}
