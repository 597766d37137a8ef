//! The two services of the contract, as one connection sees them.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use pinion_proto::{
    bundle::Fingerprint,
    causes::chain,
    clock::{Clock, Timestamp},
    id::{Guest, shown},
    message::{ToAgent, ToController},
    report::GuestFacts,
    tls::Peer,
    wire::{self, pb},
};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};
use tokio_stream::{Stream, StreamExt, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming};
use tracing::{debug, warn};

use super::{
    LinkInput, OUTBOUND_QUEUE, SessionId, Turned,
    admission::Keeper,
    beginning::Beginning,
    disk::Disk,
    large::{Gate, LARGE, Turns},
    rates::{GuestRates, MessageRate},
    report_quota::ReportQuota,
};
use crate::identity::{Identities, JoinRefused, LinkCaller};

/// A new link says hello at once; a large one may have to wait for its turn.
const HELLO_TIME: Duration = Duration::from_secs(30);

/// Whoever is refused an identity hears so after this long, whatever the reason and however it was found out.
const REFUSAL_TIME: Duration = Duration::from_millis(200);

/// How long a link goes on after its identity has expired, unless the agent has renewed it and links anew.
const EXPIRY_GRACE: Duration = Duration::from_secs(10);

/// What every connection needs.
#[derive(Debug)]
pub struct Services {
    identities: Arc<Identities>,
    clock: Arc<dyn Clock>,
    inputs: mpsc::Sender<LinkInput>,
    sessions: AtomicU64,
    rates: GuestRates,
    turns: Turns,
    disk: Disk,
}

impl Services {
    /// Services that tell `inputs` what happens.
    #[must_use]
    pub fn new(identities: Arc<Identities>, clock: Arc<dyn Clock>, inputs: mpsc::Sender<LinkInput>) -> Arc<Self> {
        Arc::new(Self {
            identities,
            clock,
            inputs,
            sessions: AtomicU64::new(1),
            rates: GuestRates::default(),
            turns: Turns::default(),
            disk: Disk::default(),
        })
    }

    /// The contract for a caller without an identity: join, and nothing else.
    pub(super) fn for_stranger(self: &Arc<Self>, from: SocketAddr, keeper: Keeper) -> Contract {
        let join = JoinService { services: self.clone(), from, keeper };
        Contract::Join(pb::join_server::JoinServer::new(join).max_decoding_message_size(wire::MAX_JOIN))
    }

    /// The number of a connection that has just come in.
    pub(super) fn next_session(&self) -> SessionId {
        SessionId(self.sessions.fetch_add(1, Ordering::Relaxed))
    }

    /// The contract for a guest: its link, and nothing else. With whether its identity is good.
    pub(super) fn for_peer(
        self: &Arc<Self>,
        from: SocketAddr,
        session: SessionId,
        guest: Guest,
        (peer, good): (Arc<Peer>, bool),
    ) -> Contract {
        Contract::Link(LinkService { services: self.clone(), from, session, guest, peer, good })
    }

    /// Whether an identity is one of those that the guest may show, as far as its serial number tells.
    pub(super) async fn is_good(self: &Arc<Self>, guest: Guest, peer: &Arc<Peer>) -> bool {
        let (identities, peer) = (self.identities.clone(), peer.clone());
        let newest = self.disk.run(move || match identities.guest(guest) {
            Ok(Some(record)) if record.locked.is_none() => {
                [&record.current, &record.next].into_iter().flatten().any(|serial| *serial == peer.serial)
            }
            Ok(_) | Err(_) => false,
        });
        newest.await.unwrap_or(false)
    }

    /// A guest that has shown its identity is refused something.
    async fn refused(&self, guest: Guest, what: String) {
        // The loop is gone only at shutdown, when nobody reads events any more.
        self.inputs.send(LinkInput::Refused { guest: Some(guest), stranger: false, what }).await.ok();
    }

    /// A stranger is, who perhaps claims to be a guest.
    async fn turned_away(&self, guest: Option<Guest>, what: String) {
        self.inputs.send(LinkInput::Refused { guest, stranger: true, what }).await.ok();
    }
}

/// What one connection may call.
#[derive(Clone)]
pub enum Contract {
    /// Join alone.
    Join(pb::join_server::JoinServer<JoinService>),
    /// Link alone.
    Link(LinkService),
}

impl hyper::service::Service<http::Request<hyper::body::Incoming>> for Contract {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: http::Request<hyper::body::Incoming>) -> Self::Future {
        use tonic::codegen::Service;
        match self {
            Self::Join(server) => server.clone().call(request),
            Self::Link(link) => Box::pin(link.clone().call(request)),
        }
    }
}

/// The Join service for one caller.
#[derive(Clone)]
pub struct JoinService {
    services: Arc<Services>,
    from: SocketAddr,
    keeper: Keeper,
}

#[tonic::async_trait]
impl pb::join_server::Join for JoinService {
    async fn join(&self, request: Request<pb::JoinRequest>) -> Result<Response<pb::JoinResponse>, Status> {
        let services = &self.services;
        // Whatever is wrong, the caller hears the same words at the same time, so that it learns nothing from trying.
        let told_at = Instant::now() + REFUSAL_TIME;
        let refusal = async || {
            tokio::time::sleep_until(told_at).await;
            Status::permission_denied(JoinRefused::told())
        };
        let request = match wire::read_join_request(request.into_inner()) {
            Ok(request) => request,
            Err(error) => {
                services.turned_away(None, format!("join from {}: {error}", self.from)).await;
                return Err(refusal().await);
            }
        };
        let (identities, now) = (services.identities.clone(), services.clock.now());
        let (guest, keeper) = (request.guest, self.keeper.clone());
        let join = move || {
            // Before the token is spent: whoever is thrown out after that has neither a token nor an identity.
            if identities.is_live(&request, now) {
                keeper.keep();
            }
            identities.join(&request, now)
        };
        let outcome = services.disk.run(join).await;
        match outcome {
            Ok(Ok(identity)) => {
                let generation = identity.generation;
                services.inputs.send(LinkInput::Joined { guest, generation, renewed: false }).await.ok();
                Ok(Response::new(wire::write_join_response(identity)))
            }
            Ok(Err(refused)) => {
                services.turned_away(Some(guest), join_refusal(self.from, &refused)).await;
                Err(refusal().await)
            }
            Err(error) => {
                warn!(%error, "A join was cut short by a panic; this is a bug");
                Err(refusal().await)
            }
        }
    }
}

fn join_refusal(from: SocketAddr, refused: &JoinRefused) -> String {
    format!("join from {from}: {}", chain(refused))
}

/// The Link service for one guest's connection.
#[derive(Clone)]
pub struct LinkService {
    services: Arc<Services>,
    from: SocketAddr,
    session: SessionId,
    guest: Guest,
    peer: Arc<Peer>,
    /// Whether the identity is one that the guest may show; otherwise no more is read than it takes to say why not.
    good: bool,
}

#[tonic::async_trait]
impl pb::link_server::Link for LinkService {
    type OpenStream = Pin<Box<dyn Stream<Item = Result<pb::ToAgent, Status>> + Send>>;

    async fn open(&self, request: Request<Streaming<pb::ToController>>) -> Result<Response<Self::OpenStream>, Status> {
        let (services, session, guest) = (&self.services, self.session, self.guest);
        if !services.rates.link(guest, self.good, services.clock.now()) {
            // Not reported each time: that would be another way to keep everyone busy.
            debug!(%guest, from = %self.from, "A guest links too often");
            return Err(Status::resource_exhausted("this guest links too often: wait a few seconds"));
        }
        let mut inbound = request.into_inner();
        let hello = match timeout(HELLO_TIME, next(&mut inbound)).await {
            Ok(Ok(Some(ToController::Hello(hello)))) => hello,
            Ok(Ok(_)) => return Err(Status::invalid_argument("a link begins with hello")),
            Ok(Err(why)) => {
                services.refused(guest, format!("link from {}: {why}", self.from)).await;
                return Err(Status::invalid_argument(why));
            }
            Err(_) => return Err(Status::deadline_exceeded("a link begins with hello")),
        };
        self.admit(hello.facts.clone(), hello.roots.clone()).await?;
        if !self.good {
            // It has become good meanwhile, and perhaps not all that it says was read.
            return Err(Status::unavailable("this identity became valid just now: dial again"));
        }
        let quota = ReportQuota::of(&hello.reports);
        let (outbound, queue) = mpsc::channel(OUTBOUND_QUEUE);
        let direct = outbound.downgrade();
        let up = LinkInput::Up { guest, session, hello, outbound };
        services.inputs.send(up).await.map_err(|_| Status::unavailable("the controller is shutting down"))?;
        let reader = Reader { link: self.clone(), inbound, direct, quota, rate: MessageRate::new() };
        tokio::spawn(Box::new(reader).read());
        let outgoing = ReceiverStream::new(queue).map(|message| Ok(wire::write_to_agent(*message)));
        Ok(Response::new(Box::pin(outgoing)))
    }
}

/// What one link's reading needs. It stays in its box while it is used: a task has room for what it moves twice, and
/// there is a task for each guest.
struct Reader {
    link: LinkService,
    inbound: Streaming<pb::ToController>,
    direct: mpsc::WeakSender<Box<ToAgent>>,
    quota: ReportQuota,
    rate: MessageRate,
}

impl Reader {
    /// Passes on what the guest says, until it says no more.
    async fn read(mut self: Box<Self>) {
        let expired = expiry(self.link.services.clone(), self.link.peer.not_after);
        tokio::pin!(expired);
        let why = loop {
            let message = tokio::select! {
                message = next(&mut self.inbound) => message,
                () = &mut expired => break "its identity has expired".to_owned(),
            };
            // Rare beside the waiting, and large: not a part of each link.
            if let Some(why) = Box::pin(self.take(message)).await {
                break why;
            }
            self.rate.step().await;
        };
        let (services, session, guest) = (&self.link.services, self.link.session, self.link.guest);
        debug!(%guest, from = %self.link.from, %why, "Link ended");
        services.inputs.send(LinkInput::Down { guest, session, why }).await.ok();
    }

    /// Passes on one message. Why it was the last, if it was.
    async fn take(&mut self, message: Result<Option<ToController>, String>) -> Option<String> {
        let (services, session, guest) = (&self.link.services, self.link.session, self.link.guest);
        match message {
            Ok(Some(ToController::RenewIdentity(csr))) => self.link.renew(csr, &self.direct).await,
            Ok(Some(message)) => {
                if let Err(why) = self.quota.take(&message) {
                    services.refused(guest, format!("what {guest} reports: {why}")).await;
                    return Some(why);
                }
                // The loop is gone only at shutdown.
                services.inputs.send(LinkInput::Message { guest, session, message }).await.ok();
            }
            Ok(None) => return Some("the agent closed it".to_owned()),
            Err(why) => return Some(why),
        }
        None
    }
}

impl LinkService {
    /// Answers the one call of a connection, reading as much of it as its caller is trusted for.
    async fn call(
        mut self,
        request: http::Request<hyper::body::Incoming>,
    ) -> Result<http::Response<tonic::body::Body>, Infallible> {
        use tonic::codegen::Service;
        let services = self.services.clone();
        // One that has become good since it was seated among the strangers has to dial again.
        self.good = self.good && services.is_good(self.guest, &self.peer).await;
        if self.good {
            let guest = self.guest;
            let mut server = pb::link_server::LinkServer::new(self).max_decoding_message_size(wire::MAX_MESSAGE);
            server.call(request.map(|body| Gate::new(body, guest, services.turns.clone()))).await
        } else {
            let mut server = pb::link_server::LinkServer::new(self).max_decoding_message_size(LARGE);
            server.call(request.map(Beginning::new)).await
        }
    }

    /// Lets the guest in, or says why not: to the loop, and in few words to the caller.
    async fn admit(&self, facts: GuestFacts, roots: Vec<Fingerprint>) -> Result<(), Status> {
        let (services, guest, from) = (&self.services, self.guest, self.from);
        let (identities, peer) = (services.identities.clone(), self.peer.clone());
        let admitted = services.disk.run(move || {
            identities.admit(guest, &peer, LinkCaller { facts: &facts, from })?;
            if let Err(error) = identities.note_roots(guest, &roots) {
                warn!(%guest, %error, "Cannot note which roots an agent trusts; it says so again");
            }
            Ok(())
        });
        match admitted.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(refused)) => {
                services.inputs.send(LinkInput::TurnedAway { guest, refused: Turned::by(&refused) }).await.ok();
                services.refused(guest, format!("link from {from}: {}", chain(&refused))).await;
                Err(Status::permission_denied("this identity is not valid: join again"))
            }
            Err(error) => {
                warn!(%error, "Checking a guest's identity failed; this is a bug");
                Err(Status::unavailable("cannot check the identity now"))
            }
        }
    }

    async fn renew(&self, csr: Vec<u8>, direct: &mpsc::WeakSender<Box<ToAgent>>) {
        let (services, guest) = (&self.services, self.guest);
        if !services.rates.renew(guest, services.clock.now()) {
            return debug!(%guest, "A guest renews its identity too often; ignored");
        }
        let (identities, peer) = (services.identities.clone(), self.peer.clone());
        match services.disk.run(move || identities.renew(guest, &peer, &csr)).await {
            Ok(Ok(identity)) => {
                let generation = identity.generation;
                if let Some(direct) = direct.upgrade() {
                    direct.send(Box::new(ToAgent::Identity(identity))).await.ok();
                }
                services.inputs.send(LinkInput::Joined { guest, generation, renewed: true }).await.ok();
            }
            Ok(Err(refused)) => {
                services.refused(guest, format!("identity renewal from {}: {}", self.from, chain(&refused))).await;
            }
            Err(error) => warn!(%guest, %error, "An identity renewal was cut short by a panic; this is a bug"),
        }
    }
}

async fn next(inbound: &mut Streaming<pb::ToController>) -> Result<Option<ToController>, String> {
    match inbound.message().await {
        Ok(Some(message)) => wire::read_to_controller(message).map(Some).map_err(|e| e.to_string()),
        Ok(None) => Ok(None),
        Err(status) => Err(format!("{}: {}", status.code(), shown(status.message()))),
    }
}

/// Returns once an identity has been over for a moment: a link does not outlive it. The moment is for a clock that
/// jumped, of both sides perhaps: an agent asks for its next identity as soon as it notices.
async fn expiry(services: Arc<Services>, not_after: Timestamp) {
    let clock = &services.clock;
    loop {
        while clock.now() <= not_after {
            clock.sleep_among_many(not_after + Duration::from_secs(1)).await;
        }
        tokio::time::sleep(EXPIRY_GRACE).await;
        if clock.now() > not_after {
            return;
        }
    }
}
