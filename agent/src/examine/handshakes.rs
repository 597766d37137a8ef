//! One handshake with each listener, to see its certificate.
//!
//! Invariant: at most [`MAX_HANDSHAKES`] in all, [`AT_ONCE`] at a time and [`TIME`] for each; none on a port of the deny-list.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use pinion_proto::examination::Listener;
use tokio::task::JoinSet;

use super::ports;
use crate::{
    certificate::{self, Managed},
    probe,
    recipe::ProbeTarget,
};

/// A guest with more services is one in a thousand.
const MAX_HANDSHAKES: usize = 64;

/// So many at a time: a guest notices nothing of it.
const AT_ONCE: usize = 8;

/// A service that does not answer in this time does not speak TLS: 64 of them, 8 at a time, take 16 s.
const TIME: Duration = Duration::from_secs(2);

/// Shakes hands with each, and notes what it shows.
pub(super) async fn with_each(listeners: &mut [Listener], managed: &Managed) {
    let mut running: JoinSet<(usize, Option<Box<[u8]>>)> = JoinSet::new();
    let mut seen = Vec::new();
    let mut count = 0;
    for (index, listener) in listeners.iter_mut().enumerate() {
        if let Some(why) = ports::denied(listener.address.port()) {
            listener.why_not = format!("never asked: {why}");
            continue;
        }
        count += 1;
        if count > MAX_HANDSHAKES {
            listener.why_not = format!("not asked: only the first {MAX_HANDSHAKES} are");
            continue;
        }
        if running.len() == AT_ONCE {
            seen.extend(running.join_next().await.and_then(Result::ok));
        }
        let target = target(listener);
        running.spawn(async move {
            (index, probe::shown(&target, TIME).await.ok().and_then(|shown| shown.into_iter().next()))
        });
    }
    while let Some(ended) = running.join_next().await {
        seen.extend(ended.ok());
    }
    for (index, der) in seen {
        let Some(listener) = listeners.get_mut(index) else { continue };
        listener.shows = der.and_then(|der| certificate::seen(&der, managed));
        listener.why_not = match (&listener.shows, listener.starttls) {
            (Some(_), _) => String::new(),
            (None, Some(protocol)) => format!("no TLS by {}", protocol.as_str()),
            (None, None) => "no TLS".into(),
        };
    }
}

/// Where a listener is reached from inside the guest.
fn target(listener: &Listener) -> ProbeTarget {
    let ip = match listener.address.ip() {
        ip if !ip.is_unspecified() => ip,
        std::net::IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        std::net::IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    ProbeTarget {
        connect: SocketAddr::new(ip, listener.address.port()),
        unit: None,
        server_name: None,
        starttls: listener.starttls,
        proxy_protocol: None,
        settle: TIME,
        restart: TIME,
        elsewhere: false,
    }
}
