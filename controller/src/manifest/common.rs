//! What certificates and roots have in common: the context of their readers, the place, the issuer.
//!
//! Invariant: what is wrong is noted at its place, and the reader goes on.

use std::collections::BTreeSet;

use jiff::tz::TimeZone;
use jsonc_parser::ast::Value;
use pinion_proto::{id::Vmid, spec::PlainName};

use super::{Defaults, GuestRef, fields::Fields, node::Node, uniqueness::Seen};

/// What a certificate's or placement's reader needs besides its value.
pub(super) struct Context<'c> {
    pub(super) defaults: &'c Defaults,
    pub(super) local: &'c TimeZone,
    /// Issuers whose roots nobody can place.
    pub(super) without_roots: &'c BTreeSet<PlainName>,
    pub(super) seen: &'c Seen,
}

/// Where a placement is.
pub(super) fn guest(fields: &Fields<'_>) -> Option<GuestRef> {
    let by_guest = fields.optional("guest", |node| match node.value {
        Value::NumberLit(number) => {
            let vmid = number.value.parse::<u32>().ok().and_then(|number| Vmid::try_from(number).ok());
            if vmid.is_none() {
                node.problem(format_args!("{} is not a VMID: those are 100 to 999999999", number.value));
            }
            vmid.map(GuestRef::Vmid)
        }
        _ => node.parsed("a VMID or a guest's name in quotes").map(GuestRef::Name),
    });
    let by_host = fields.optional("host", |node| {
        let host = node.boolean()?;
        if !host {
            node.problem("\"host\" is true or absent");
        }
        host.then_some(GuestRef::Host)
    });
    match (by_guest?, by_host?) {
        (Some(guest), None) | (None, Some(guest)) => Some(guest),
        (None, None) => {
            fields.problem("the placement has no place: add \"guest\" with a VMID or name, or \"host\": true");
            None
        }
        (Some(_), Some(_)) => {
            fields.problem_with("host", "a placement is in a guest or on the host: keep \"guest\" or \"host\"");
            None
        }
    }
}

/// Reads the name of an issuer.
pub(super) fn issuer(node: Node<'_>) -> Option<PlainName> {
    node.parsed("an issuer's name such as \"step-ca\"")
}
