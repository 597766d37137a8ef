//! The services of a placement: how each is notified, and where each is looked at; one of them, or a list.
//!
//! Invariant: a list has two services at least, none twice, and `"nothing"` stands alone.

use std::net::SocketAddr;

use jsonc_parser::ast::Value;
use pinion_proto::{
    names::SubjectName,
    spec::{MAX_SERVICES, Probe, Reload, TlsProbe, Unit},
};

use super::{
    docker,
    fields::Fields,
    length,
    node::Node,
    overrides::{hook, one_of},
};

const UNIT: &str = "a service unit such as \"nginx.service\"";

/// The first of what was read, and the rest, as a spec has them.
pub(super) fn first<T>(read: Option<Vec<T>>) -> (Option<T>, Vec<T>) {
    let mut all = read.unwrap_or_default().into_iter();
    (all.next(), all.collect())
}

/// A unit that a probe names and that is not among those that are notified.
pub(super) fn unknown_unit<'p>(reloads: &[Reload], probes: &'p [Probe]) -> Option<&'p Unit> {
    let units = probes.iter().filter_map(|probe| match probe {
        Probe::Tls(tls) => tls.unit.as_ref(),
        Probe::Nothing => None,
    });
    let is_notified = |unit: &Unit| {
        reloads.iter().any(|reload| matches!(reload, Reload::Reload(known) | Reload::Restart(known) if known == unit))
    };
    units.into_iter().find(|unit| !is_notified(unit))
}

/// One value of `reload`, or a list of them.
pub(super) fn reloads(node: Node<'_>) -> Option<Vec<Reload>> {
    one_or_more(node, "ways to reload a service", reload)
}

/// One value of `probe`, or a list of them.
pub(super) fn probes(node: Node<'_>) -> Option<Vec<Probe>> {
    one_or_more(node, "places where a service serves the certificate", probe)
}

fn one_or_more<T: PartialEq>(
    node: Node<'_>,
    what: &str,
    mut read: impl FnMut(Node<'_>) -> Option<T>,
) -> Option<Vec<T>> {
    if !matches!(node.value, Value::Array(_)) {
        return read(node).map(|one| vec![one]);
    }
    let all = node.each(what, |node| {
        if node.text_is("nothing") {
            node.problem("\"nothing\" stands alone: write it without the list, or leave it out");
            return None;
        }
        read(node)
    })?;
    if all.is_empty() {
        node.problem(format_args!("the list is empty: name {what}, or write \"nothing\""));
        return None;
    }
    if all.len() > MAX_SERVICES {
        node.problem(format_args!("{} are too many: name at most {MAX_SERVICES}", all.len()));
        return None;
    }
    let double = (1..all.len()).find(|&index| all.get(..index).is_some_and(|before| before.contains(&all[index])));
    if let Some(index) = double {
        node.problem(format_args!("element {} says what an element before it says: keep one of them", index + 1));
        return None;
    }
    Some(all)
}

/// `"nothing"`, or an object with exactly one way to tell the service, such as `{"reload": …}`.
fn reload(node: Node<'_>) -> Option<Reload> {
    match one_of(node, &["reload", "restart", "hook", "container", "signal", "touch", "swarm"])? {
        None => Some(Reload::Nothing),
        Some(("reload", fields)) => fields.required("reload", |n| n.parsed(UNIT)).map(Reload::Reload),
        Some(("restart", fields)) => fields.required("restart", |n| n.parsed(UNIT)).map(Reload::Restart),
        Some(("container", fields)) => fields.required("container", docker::container).map(Reload::Container),
        Some(("signal", fields)) => fields.required("signal", docker::signal).map(Reload::Signal),
        Some(("touch", fields)) => fields.required("touch", |n| n.parsed("an absolute path")).map(Reload::Touch),
        Some(("swarm", fields)) => fields.required("swarm", docker::swarm).map(Reload::Swarm),
        Some((_, fields)) => fields.required("hook", hook).map(Reload::Hook),
    }
}

/// `"nothing"` or `{"connect": …, "server_name": …, "starttls": …, …}`.
fn probe(node: Node<'_>) -> Option<Probe> {
    if node.text_is("nothing") {
        return Some(Probe::Nothing);
    }
    let known = ["connect", "unit", "server_name", "starttls", "proxy_protocol", "settle"];
    let fields = Fields::of(node, "\"nothing\" or an object with \"connect\"", &known)?;
    let connect = fields.required("connect", address);
    let unit = fields.optional("unit", |n| n.parsed(UNIT));
    let server_name = fields.optional("server_name", |node| {
        let name: SubjectName = node.parsed("a host name")?;
        match &name {
            SubjectName::Dns(host) if !host.starts_with("*.") => Some(name),
            _ => {
                node.problem("a server name must be one host name, not a wildcard, address, URI or e-mail");
                None
            }
        }
    });
    let starttls = fields.optional("starttls", |n| n.parsed("a protocol such as \"smtp\""));
    let proxy_protocol = fields.optional("proxy_protocol", |n| n.parsed("\"v1\" or \"v2\""));
    let settle = fields.optional("settle", length::settle);
    Some(Probe::Tls(TlsProbe {
        connect: connect?,
        server_name: server_name?,
        starttls: starttls?,
        settle: settle?,
        proxy_protocol: proxy_protocol?,
        unit: unit?,
    }))
}

fn address(node: Node<'_>) -> Option<SocketAddr> {
    let text = node.text("an address and a port such as \"127.0.0.1:8443\"")?;
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() != 0 => Some(address),
        _ => {
            node.problem(format_args!(
                "`{}` is not an address and a port: write for example 127.0.0.1:8443 or [::1]:8443",
                pinion_proto::id::shown(text)
            ));
            None
        }
    }
}
