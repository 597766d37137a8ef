//! What may be probed besides the guest itself: addresses, networks and single ports.
//!
//! Invariant: an IPv4 address written as IPv6 (`::ffff:10.0.0.5`) is the IPv4 address, in the list and in what is asked.

use std::{
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use pinion_proto::id::shown;
use serde::{Deserialize, Deserializer, de};
use thiserror::Error;

/// Some addresses, on every port or on one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    /// How many leading bits an address has to share with it.
    prefix: u8,
    port: Option<u16>,
}

impl Network {
    /// Whether this is one of them.
    #[must_use]
    pub fn contains(&self, asked: SocketAddr) -> bool {
        let same_bits = match (self.address, asked.ip().to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(asked)) => {
                leading(u128::from(own.to_bits()), 32, self.prefix) == leading(asked.to_bits().into(), 32, self.prefix)
            }
            (IpAddr::V6(own), IpAddr::V6(asked)) => {
                leading(own.to_bits(), 128, self.prefix) == leading(asked.to_bits(), 128, self.prefix)
            }
            _ => false,
        };
        same_bits && self.port.is_none_or(|port| port == asked.port())
    }
}

/// The first `prefix` of so many bits.
fn leading(bits: u128, width: u32, prefix: u8) -> u128 {
    bits.checked_shr(width.saturating_sub(u32::from(prefix))).unwrap_or(0)
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let wrong = || NetworkError(shown(text));
        let width = |address: IpAddr| if address.is_ipv4() { 32 } else { 128 };
        if let Some((address, prefix)) = text.split_once('/') {
            let address: IpAddr = address.parse().map_err(|_| wrong())?;
            let digits = prefix.len() <= 3 && prefix.bytes().all(|b| b.is_ascii_digit());
            let prefix = prefix.parse().ok().filter(|prefix| digits && *prefix <= width(address)).ok_or_else(wrong)?;
            return Ok(Self { address, prefix, port: None });
        }
        let (address, port) = match text.parse::<SocketAddr>() {
            Ok(one) if one.port() != 0 => (one.ip(), Some(one.port())),
            Ok(_) => return Err(wrong()),
            Err(_) => (text.parse().map_err(|_| wrong())?, None),
        };
        let address = address.to_canonical();
        Ok(Self { address, prefix: width(address), port })
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// Text that is no probe target.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is not an address, network or port: use for example 10.0.0.5, 10.0.0.0/24 or 10.0.0.5:8443")]
pub struct NetworkError(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_networks_and_ports_are_told_apart() {
        let contains = |network: &str, asked: &str| {
            network.parse::<Network>().expect(network).contains(asked.parse().expect(asked))
        };
        for (network, inside, outside) in [
            ("10.0.0.5", "10.0.0.5:1", "10.0.0.6:1"),
            ("10.0.0.5", "[::ffff:10.0.0.5]:1", "[::a00:5]:1"),
            ("::ffff:10.0.0.5", "10.0.0.5:1", "10.0.0.4:1"),
            ("10.0.0.5:443", "10.0.0.5:443", "10.0.0.5:444"),
            ("10.0.0.0/24", "10.0.0.255:22", "10.0.1.0:22"),
            ("10.0.0.77/24", "10.0.0.1:22", "10.1.0.1:22"),
            ("10.0.0.5/32", "10.0.0.5:22", "10.0.0.4:22"),
            ("fd00::/8", "[fdff::1]:22", "[fe80::1]:22"),
            ("[fd00::1]:443", "[fd00::1]:443", "[fd00::1]:22"),
        ] {
            assert!(contains(network, inside) && !contains(network, outside), "{network}");
        }
        assert!(contains("0.0.0.0/0", "8.8.8.8:53") && !contains("0.0.0.0/0", "[::1]:53"));
        assert!(contains("::/0", "[2001:db8::1]:53") && !contains("::/0", "8.8.8.8:53"));
        for bad in ["", "host", "10.0.0.0/33", "::/129", "10.0.0.0/+8", "10.0.0/24", "10.0.0.5:0", "10.0.0.0/24:443"] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }
}
