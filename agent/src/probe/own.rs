//! Whether an address is this guest's own, now.
//!
//! Invariant: nothing is sent to find out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Whether an address is loopback, or one of the guest's interfaces has it.
pub(super) fn is_own(address: SocketAddr) -> bool {
    let ip = address.ip().to_canonical();
    if ip.is_loopback() {
        return true;
    }
    // A datagram socket that is connected sends nothing, but the kernel chooses the address that it would send from; only
    // to an address of its own it sends from that very address (ip(7); Linux's ip_route_output_key and ip6_dst_lookup).
    // Binding to it would say less: `net.ipv4.ip_nonlocal_bind` allows that for every address.
    let any: IpAddr = match ip {
        IpAddr::V4(ip) if ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast() => return false,
        IpAddr::V6(ip) if ip.is_unspecified() || ip.is_multicast() => return false,
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // The scope of a link-local address is the caller's.
    let to = if ip == address.ip() { address } else { SocketAddr::new(ip, address.port()) };
    let from = || {
        let socket = UdpSocket::bind((any, 0))?;
        // Port 0 is no port to send to.
        socket.connect(if to.port() == 0 { SocketAddr::new(ip, DISCARD) } else { to })?;
        socket.local_addr()
    };
    from().is_ok_and(|from| from.ip() == ip)
}

/// Any port will do (RFC 863).
const DISCARD: u16 = 9;

#[cfg(test)]
mod tests {
    use super::*;

    fn own(address: &str) -> bool {
        is_own(address.parse().expect(address))
    }

    #[test]
    fn loopback_is_own_and_other_machines_are_not() {
        for address in ["127.0.0.1:443", "127.3.2.1:1", "[::1]:443", "[::ffff:127.0.0.1]:443"] {
            assert!(own(address), "{address}");
        }
        for address in [
            "0.0.0.0:443",
            "[::]:443",
            "192.0.2.1:443",
            "[::ffff:192.0.2.1]:443",
            "198.51.100.7:22",
            "[2001:db8::1]:443",
            "224.0.0.1:443",
            "255.255.255.255:443",
            "[ff02::1]:443",
        ] {
            assert!(!own(address), "{address}");
        }
    }

    #[test]
    fn an_interfaces_address_is_own_and_its_neighbours_are_not() {
        // The address that this machine would send from, where it has another than loopback.
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a socket");
        let Ok(IpAddr::V4(ip)) = socket.connect("192.0.2.1:9").and_then(|()| socket.local_addr()).map(|from| from.ip())
        else {
            return;
        };
        assert!(is_own((ip, 443).into()), "{ip}");
        let neighbour = Ipv4Addr::from_bits(ip.to_bits() ^ 1);
        assert!(!is_own((neighbour, 443).into()), "{neighbour}");
    }
}
