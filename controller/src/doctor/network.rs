//! The addresses that agents dial, from this host's side.

use std::{
    net::{SocketAddr, ToSocketAddrs as _},
    time::Duration,
};

use tokio::{net::TcpStream, task::spawn_blocking, time::timeout};

use super::report::{Area, Findings};
use crate::config::{Advertised, Config};

const AREA: Area = Area::Network;

/// This host answers itself in no time; a firewall that drops everything does not answer at all.
const PATIENCE: Duration = Duration::from_secs(3);

pub(super) async fn check(config: &Config, is_answering: bool, found: &mut Findings) {
    if !is_answering {
        return found.skipped(AREA, "The controller does not answer, so its addresses are not dialled.");
    }
    for entry in &config.advertise {
        match entry {
            Advertised::Address(address) => dial(&address.to_string(), *address, found).await,
            Advertised::Name(name, port) => {
                let (host, port) = (name.to_string(), *port);
                let asked = format!("{host}:{port}");
                let resolve = spawn_blocking(move || (host.as_str(), port).to_socket_addrs().map(Iterator::collect));
                match timeout(PATIENCE, resolve).await {
                    Ok(Ok(Ok::<Vec<SocketAddr>, _>(addresses))) if !addresses.is_empty() => {
                        for address in addresses {
                            dial(&format!("{asked} ({address})"), address, found).await;
                        }
                    }
                    Ok(Ok(Err(error))) => unresolved(&asked, &error.to_string(), found),
                    _ => unresolved(&asked, "the resolver does not answer", found),
                }
            }
        }
    }
}

fn unresolved(asked: &str, why: &str, found: &mut Findings) {
    let remedy = "look at /etc/resolv.conf and the name server; or write addresses into `advertise`";
    found.problem(AREA, format!("{asked}, which agents should dial, cannot be resolved: {why}."), remedy);
}

async fn dial(shown: &str, address: SocketAddr, found: &mut Findings) {
    let why = match timeout(PATIENCE, TcpStream::connect(address)).await {
        Ok(Ok(_)) => return found.good(AREA, format!("{shown}, which agents dial, takes connections from this host.")),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {} s", PATIENCE.as_secs()),
    };
    let remedy = "compare `listen` and `advertise` in controller.toml with `ip address`, and let the firewall pass TCP on \
                  this port: docs/proxmox.md has rules";
    found.problem(AREA, format!("{shown}, which agents dial, takes no connection from this host: {why}."), remedy);
}
