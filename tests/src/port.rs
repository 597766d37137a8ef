//! Loopback ports that no two tests use at once.
//!
//! Invariant: a port stays reserved, across processes, until its value is dropped; a value that has one keeps it as its
//! last field, so that what listens there has ended by then. Asking the kernel for any free port would not do: another
//! test could get the same one before the program binds it. Whoever waits for a program to listen asks whether it is that
//! program ([`is_listening`]) and not somebody else's.

use std::{
    collections::BTreeSet,
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    process,
    sync::atomic::{AtomicU16, Ordering},
};

use anyhow::{Context, Result, bail};

/// A reserved TCP port on loopback.
#[derive(Debug)]
pub struct Port {
    address: SocketAddr,
    /// The UDP port of the same number: nobody here wants it, only one process can have it, and it goes with
    /// the process.
    _reservation: UdpSocket,
}

impl Port {
    /// Reserves a port that nobody listens on.
    ///
    /// # Errors
    /// Every port is taken.
    pub fn reserve() -> Result<Self> {
        // Processes start at different ports, so that they seldom meet, and go on from there, so that a
        // connection to a port's last owner does not end at its next.
        let start = u16::try_from(process::id() % u32::from(COUNT)).unwrap_or(0);
        for _ in 0..COUNT {
            let step = NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
            let number = FIRST + (start + step) % COUNT;
            let reservation = UdpSocket::bind((Ipv4Addr::LOCALHOST, number));
            let free = TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok();
            if let (Ok(reservation), true) = (reservation, free) {
                return Ok(Self { address: (Ipv4Addr::LOCALHOST, number).into(), _reservation: reservation });
            }
        }
        bail!("each of the {COUNT} ports from {FIRST} on is taken");
    }

    /// Reserves a port whose number says what is spoken there, at an address of loopback that is this process's alone.
    ///
    /// # Errors
    /// Another test has it, or this user may not listen there.
    pub fn registered(number: u16) -> Result<Self> {
        let [.., high, low] = process::id().to_be_bytes();
        let address = SocketAddr::from((Ipv4Addr::new(127, 77, high, low), number));
        let reservation = UdpSocket::bind(address).with_context(|| format!("reserve {address}"))?;
        TcpListener::bind(address).with_context(|| format!("listen at {address}"))?;
        Ok(Self { address, _reservation: reservation })
    }

    /// The number.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.address.port()
    }

    /// The whole address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Whether this process, or one that it has started, listens on an IPv4 address.
#[must_use]
pub fn is_listening(pid: u32, address: SocketAddr) -> bool {
    let sockets = listening_on(pid, address);
    let mut family = vec![pid];
    while let Some(pid) = family.pop() {
        let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        let mut targets =
            open.filter_map(|entry| fs::read_link(entry.path()).ok()?.into_os_string().into_string().ok());
        if targets.any(|target| sockets.contains(&target)) {
            return true;
        }
        for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            family.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
    }
    false
}

/// The sockets that are listened on at this address or at all in a process's network, as `/proc/PID/fd` names them
/// (proc_net_tcp(5)).
fn listening_on(pid: u32, address: SocketAddr) -> BTreeSet<String> {
    const LISTEN: &str = "0A";
    let SocketAddr::V4(wanted) = address else { return BTreeSet::new() };
    // In hexadecimal, with the address's bytes as this machine has them in memory.
    let hexadecimal = |ip: Ipv4Addr| format!("{:08X}:{:04X}", u32::from_ne_bytes(ip.octets()), wanted.port());
    let places = [hexadecimal(*wanted.ip()), hexadecimal(Ipv4Addr::UNSPECIFIED)];
    let table = fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap_or_default();
    let lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    lines
        .filter(|fields| {
            fields.get(3) == Some(&LISTEN) && fields.get(1).is_some_and(|at| places.iter().any(|it| it == at))
        })
        .filter_map(|fields| Some(format!("socket:[{}]", fields.get(9)?)))
        .collect()
}

/// How many ports this process has tried.
static NEXT: AtomicU16 = AtomicU16::new(0);

/// Above the well-known ports and below those that Linux gives to outgoing connections (from 32768 on).
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_ports_differ_and_can_be_bound() {
        let ports: Vec<Port> = (0..8).map(|_| Port::reserve().expect("a free port")).collect();
        for (i, port) in ports.iter().enumerate() {
            assert!(ports[..i].iter().all(|other| other.number() != port.number()));
            TcpListener::bind(port.address()).expect("nobody listens there");
            UdpSocket::bind(port.address()).expect_err("it is reserved");
        }
    }

    #[test]
    fn who_listens_is_told_from_who_does_not() {
        let port = Port::reserve().expect("a free port");
        let own = process::id();
        assert!(!is_listening(own, port.address()));
        let listener = TcpListener::bind(port.address()).expect("nobody listens there");
        assert!(is_listening(own, port.address()));
        let mut other = process::Command::new("sleep").arg("60").spawn().expect("sleep");
        let others = is_listening(other.id(), port.address());
        other.kill().and_then(|()| other.wait()).expect("ended");
        assert!(!others, "another process does not");
        drop(listener);
        assert!(!is_listening(own, port.address()));
        let everywhere = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port.number())).expect("nobody listens there");
        assert!(is_listening(own, port.address()), "who listens everywhere listens there");
        drop(everywhere);
    }
}
