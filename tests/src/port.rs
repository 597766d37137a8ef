//! Loopback ports that no two tests use at once.
//!
//! Invariant: a port stays reserved, across processes, until its value is dropped. Asking the kernel
//! for any free port would not do: another test could get the same one before the program binds it.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    process,
    sync::atomic::{AtomicU16, Ordering},
};

use anyhow::{Result, bail};

/// A reserved TCP port on 127.0.0.1.
#[derive(Debug)]
pub struct Port {
    number: u16,
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
                return Ok(Self { number, _reservation: reservation });
            }
        }
        bail!("each of the {COUNT} ports from {FIRST} on is taken");
    }

    /// The number.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.number
    }

    /// The whole address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.number).into()
    }
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
}
