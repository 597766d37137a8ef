//! The addresses that agents dial, from this host's side.

use std::{
    net::{SocketAddr, ToSocketAddrs as _},
    path::Path,
    time::Duration,
};

use pinion_proto::{
    listeners::{ListeningSocket, TABLES, holders, listening},
    users::LocalUsers,
};
use tokio::{net::TcpStream, task::spawn_blocking, time::timeout};

use super::report::{Area, Findings};
use crate::config::{Advertised, Config};

const AREA: Area = Area::Network;

/// This host answers itself in no time; a firewall that drops everything does not answer at all.
const PATIENCE: Duration = Duration::from_secs(3);

pub(super) async fn check(root: &Path, config: &Config, is_answering: bool, found: &mut Findings) {
    strangers(root, config, found);
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

/// Processes of other users than the controller's that listen where it should, or where agents would look for it.
fn strangers(root: &Path, config: &Config, found: &mut Findings) {
    let users = LocalUsers::read(root).unwrap_or_default();
    let user = &config.channel.user;
    let Some(number) = user.parse().ok().or_else(|| users.number(user)) else { return };
    let advertised = config.advertise.iter().filter_map(|entry| match entry {
        Advertised::Address(address) => Some(*address),
        Advertised::Name(..) => None,
    });
    let places: Vec<SocketAddr> = [config.listen].into_iter().chain(advertised).collect();
    let sockets = TABLES.iter().flat_map(|table| listening(&root.join(table)).unwrap_or_default());
    let is_in_the_way =
        |socket: &ListeningSocket| socket.uid != number && places.iter().any(|place| meet(socket, *place));
    for socket in sockets.filter(is_in_the_way) {
        let (address, whose) = (socket.address, users.shown(socket.uid));
        let holders = holders(root, &[socket.inode].into());
        let (who, remedy) = match holders.get(&socket.inode) {
            Some(holder) => (
                format!("Process {} ({}) of user {whose}", holder.pid, holder.name),
                format!("`systemctl status {0}` shows what it belongs to; run `kill {0}`, or", holder.pid),
            ),
            None => {
                (format!("A process of user {whose}"), "find it with `ss -ltnp`, as root, and end it; or".to_owned())
            }
        };
        found.problem(
            AREA,
            format!("{who} listens on {address}, where agents expect the controller."),
            format!("{remedy} set another port in `listen` and `advertise` of controller.toml"),
        );
    }
}

/// Whether a socket is in the way of who should listen at an address, or be found there.
fn meet(socket: &ListeningSocket, place: SocketAddr) -> bool {
    let is_everywhere = place.ip().is_unspecified() && place.port() == socket.address.port();
    is_everywhere || socket.takes(place)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_in_the_way_at_the_same_port_and_address_or_at_all_of_them() {
        for (socket, place, expected) in [
            ("127.0.0.1:7443", "0.0.0.0:7443", true),
            ("[::]:7443", "10.0.0.13:7443", true),
            ("10.0.0.13:7443", "10.0.0.13:7443", true),
            ("10.0.0.14:7443", "10.0.0.13:7443", false),
            ("0.0.0.0:7444", "0.0.0.0:7443", false),
        ] {
            let address = |text: &str| text.parse().expect("an address");
            let at = ListeningSocket { address: address(socket), uid: 0, inode: 1 };
            assert_eq!(meet(&at, address(place)), expected, "{socket} {place}");
        }
    }
}
