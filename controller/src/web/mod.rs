//! The page, the metrics and the health checks: what the controller shows over HTTP.
//!
//! Answers: how is everything, for whoever looks with a browser, a scraper or a load balancer?
//! Invariants: every answer is made from one answer of the loop, so that it agrees with `pinion status`. Without a session or
//! a token only `/healthz` says anything, and `/metrics` to addresses that the configuration names. Nothing is changed, except
//! that certificates are renewed where the configuration allows it (`gate`). Connections, streams and bytes are bounded
//! (`listener`). With Proxmox's login (`login`), the page has one name, which Proxmox's own page does not have.

pub mod access;
mod ask;
mod entry;
mod gate;
mod headers;
mod listener;
mod live;
mod login;
mod pages;
mod routes;
mod scrape;
mod site;
pub mod textfile;
pub mod tls;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::net::TcpListener;
use tracing::{debug, info, warn};

use crate::config::WebConfig;
use site::Shown;
pub use site::Web;
use tls::WebTls;

/// A port that is taken is tried again after this long.
const RETRY: Duration = Duration::from_secs(10);

/// Serves until the future is dropped, once the port is free. Certificates do not wait for it.
pub async fn serve(web: Web, config: WebConfig) {
    let Some(listen) = config.listen else { return };
    let listener = bind(listen).await;
    let Ok(address) = listener.local_addr() else { return };
    info!(%address, "The page is there");
    let tls = config.pair.clone().map(|pair| Arc::new(WebTls::new(pair)));
    let shown = Shown::new(web, &config, address);
    listener::serve(listener, tls, routes::router(Arc::new(shown))).await;
}

async fn bind(listen: SocketAddr) -> TcpListener {
    let mut is_told = false;
    loop {
        match TcpListener::bind(listen).await {
            Ok(listener) => return listener,
            Err(error) if is_told => debug!(%listen, %error, "Still cannot listen for browsers"),
            Err(error) => {
                warn!(
                    %listen, %error,
                    "Cannot listen for browsers and scrapers, trying again; everything else works. If another program is \
                     there, set `listen` in `[web]`"
                );
                is_told = true;
            }
        }
        tokio::time::sleep(RETRY).await;
    }
}
