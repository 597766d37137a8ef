//! Where a caller on the network comes from, as far as callers are told apart.

use std::net::IpAddr;

/// An IPv4 address, or the network that one IPv6 host has to itself (RFC 6177 section 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Source(IpAddr);

impl Source {
    /// Of a caller with this address.
    pub(crate) fn of(address: IpAddr) -> Self {
        Self(match address {
            IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
            v4 @ IpAddr::V4(_) => v4,
        })
    }
}
