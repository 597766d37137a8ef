//! A controller's listener without the controller: guests with its tokens join, and what they open is the caller's affair.

use std::{
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use anyhow::{Context, Result};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use pinion_controller::{
    identity::{Identities, NoMachines},
    store::Store,
};
use pinion_proto::{
    clock::{Clock, SystemClock},
    tls::{self, IdentityCell},
    wire::{self, pb},
};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_rustls::TlsAcceptor;
use tonic::{Request, Response, Status, body::Body, codegen::Service};

/// Listens, and has the identity root.
#[derive(Debug)]
pub struct Listener {
    identities: Arc<Identities>,
    address: SocketAddr,
    serving: tokio::task::JoinHandle<()>,
    _state: tempfile::TempDir,
}

impl Listener {
    /// Listens; `open` answers each call of an agent that has joined.
    ///
    /// # Errors
    /// No port, or no directory.
    pub async fn start<F>(open: impl Fn(http::Request<Incoming>) -> F + Clone + Send + 'static) -> Result<Self>
    where
        F: Future<Output = http::Response<Body>> + Send + 'static,
    {
        let state = tempfile::tempdir().context("make a directory")?;
        let store = Arc::new(Store::open(&state.path().join("local"), &state.path().join("shared"))?);
        let identities = Arc::new(Identities::open(&store, Arc::new(SystemClock), None, Arc::new(NoMachines))?);
        let own = identities.issue_controller()?;
        let cell = IdentityCell::new(&own.chain, &own.key)?;
        let tls = tls::server_config(cell, identities.root(), Arc::new(SystemClock))?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("listen")?;
        let address = listener.local_addr().context("tell the address")?;
        let handler = Handler(identities.clone());
        let serving = tokio::spawn(serve(listener, TlsAcceptor::from(Arc::new(tls)), handler, open));
        Ok(Self { identities, address, serving, _state: state })
    }

    /// A token for a guest, as text.
    ///
    /// # Errors
    /// There is no such guest, or it is locked.
    pub fn token(&self, guest: &str) -> Result<String> {
        Ok(self.identities.create_token(guest.parse()?, vec![self.address])?.to_text()?.to_string())
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve<F>(
    listener: TcpListener,
    tls: TlsAcceptor,
    handler: Handler,
    open: impl Fn(http::Request<Incoming>) -> F + Clone + Send + 'static,
) where
    F: Future<Output = http::Response<Body>> + Send + 'static,
{
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, handler, open) = (tls.clone(), handler.clone(), open.clone());
        connections.spawn(async move {
            let Ok(stream) = tls.accept(stream).await else { return };
            let service = hyper::service::service_fn(move |request: http::Request<Incoming>| {
                let (handler, open) = (handler.clone(), open.clone());
                async move {
                    if request.uri().path().starts_with("/pinion.v1.Join/") {
                        pb::join_server::JoinServer::new(handler).call(request).await
                    } else {
                        Ok::<_, Infallible>(open(request).await)
                    }
                }
            });
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            // An agent that hangs up is what some of this is about.
            builder.serve_connection(TokioIo::new(stream), service).await.ok();
        });
    }
}

#[derive(Clone)]
struct Handler(Arc<Identities>);

#[tonic::async_trait]
impl pb::join_server::Join for Handler {
    async fn join(&self, request: Request<pb::JoinRequest>) -> Result<Response<pb::JoinResponse>, Status> {
        let request = wire::read_join_request(request.into_inner()).map_err(|e| Status::internal(e.to_string()))?;
        let identity = self.0.join(&request, SystemClock.now()).map_err(|e| Status::internal(e.to_string()))?;
        Ok(Response::new(wire::write_join_response(identity)))
    }
}
