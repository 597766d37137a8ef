//! The page, the metrics and the health checks: what the controller shows over HTTP.
//!
//! Answers: how is everything, for whoever looks with a browser, a scraper or a load balancer?
//! Invariants: every answer is made from one answer of the loop, so that it agrees with `pinion status`. Without a session or
//! a token only `/healthz` says anything, and `/metrics` to addresses that the configuration names. Nothing is changed, except
//! that certificates are renewed where the configuration allows it (`gate`). Connections, streams and bytes are bounded
//! (`listener`).

pub mod access;
mod ask;
mod gate;
mod headers;
mod listener;
mod live;
mod pages;
mod routes;
mod scrape;
mod site;
pub mod textfile;
pub mod tls;

use std::{net::SocketAddr, sync::Arc};

use tokio::net::TcpListener;

use crate::config::WebConfig;
use site::Shown;
pub use site::Web;

/// Serves on this address until the future is dropped.
pub async fn serve(web: Web, config: WebConfig, listener: TcpListener, address: SocketAddr) {
    let shown = Shown::new(web, &config, address);
    listener::serve(listener, config.tls, routes::router(Arc::new(shown))).await;
}
