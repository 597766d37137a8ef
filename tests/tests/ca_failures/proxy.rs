//! A TCP proxy in front of a CA: one URL, and behind it who is asked for; or nobody, while it holds calls back.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// Ends with its value, and its connections when it is led elsewhere.
pub(crate) struct Proxy {
    address: SocketAddr,
    /// None while calls are held back.
    target: Arc<watch::Sender<Option<SocketAddr>>>,
    serving: tokio::task::JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn to(url: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let target = Arc::new(watch::Sender::new(Some(parse(url))));
        let serving = tokio::spawn(serve(listener, target.clone()));
        Self { address, target, serving }
    }

    /// From now on this is who answers, also to what was held back.
    pub(crate) fn lead_to(&self, url: &str) {
        self.target.send_replace(Some(parse(url)));
    }

    /// Takes calls and lets nothing of them through.
    pub(crate) fn hold(&self) {
        self.target.send_replace(None);
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, target: Arc<watch::Sender<Option<SocketAddr>>>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((mut near, _)) = listener.accept().await {
        let mut target = target.subscribe();
        connections.spawn(async move {
            let Ok(address) = target.wait_for(Option::is_some).await.map(|address| *address) else { return };
            let Some(address) = address else { return };
            let Ok(mut far) = TcpStream::connect(address).await else { return };
            tokio::select! {
                // Whoever hangs up first ends it for both.
                _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                _ = target.changed() => {}
            }
        });
    }
}

fn parse(url: &str) -> SocketAddr {
    url.trim_start_matches("https://").parse().expect("https://ADDRESS:PORT")
}
