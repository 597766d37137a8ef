//! What HAProxy's PROXY protocol wants before anything else (its `proxy-protocol.txt`, sections 2.1 and 2.2).
//!
//! Invariant: the connection is said to be nobody's, so that a service takes the agent for what it is: somebody that looks.

use pinion_proto::spec::ProxyProtocol;

/// The bytes that are sent first.
pub(super) fn header(version: ProxyProtocol) -> &'static [u8] {
    match version {
        ProxyProtocol::V1 => b"PROXY UNKNOWN\r\n",
        // The signature, version 2 with the command LOCAL, no address family, and no addresses behind.
        ProxyProtocol::V2 => b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00",
    }
}
