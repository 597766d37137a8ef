//! The parts of a placement that override its recipe: files, validate, reload, probe.

use std::{collections::BTreeMap, net::SocketAddr};

use pinion_proto::{
    mount::MountPoint,
    names::SubjectName,
    spec::{FileMode, FileSpec, Part, Probe, Reload, Validate},
};

use super::{docker, fields::Fields, length, node::Node};

/// `{"key": {"path": …}, …}`; `path_needed` where no recipe has one.
pub(super) fn files(node: Node<'_>, path_needed: bool) -> Option<BTreeMap<Part, FileSpec>> {
    let parts = Part::ALL.map(Part::as_str);
    let fields = Fields::of(node, "an object of file parts such as {\"key\": {\"path\": …}}", &parts)?;
    let mut files = BTreeMap::new();
    let mut whole = true;
    for part in Part::ALL {
        match fields.optional(part.as_str(), |node| file(node, part, path_needed)) {
            Some(Some(file)) => drop(files.insert(part, file)),
            Some(None) => {}
            None => whole = false,
        }
    }
    whole.then_some(files)
}

fn file(node: Node<'_>, part: Part, path_needed: bool) -> Option<FileSpec> {
    let fields = Fields::of(node, "an object with a path", &["path", "mode", "owner", "group"])?;
    if path_needed && !fields.has("path") {
        fields.problem("the field \"path\" is missing, and there is no recipe to supply it");
    }
    let path = fields.optional("path", |n| n.parsed("an absolute path"));
    let mode = fields.optional("mode", |n| mode(n, part));
    let owner = fields.optional("owner", |n| n.parsed("a user's name or number in quotes"));
    let group = fields.optional("group", |n| n.parsed("a group's name or number in quotes"));
    Some(FileSpec { path: path?, mode: mode?, owner: owner?, group: group? })
}

fn mode(node: Node<'_>, part: Part) -> Option<FileMode> {
    let mode: FileMode = node.parsed("octal permission bits in quotes such as \"0640\"")?;
    if part.is_secret() && mode.bits() & 0o007 != 0 {
        node.problem(format_args!(
            "`{mode}` lets every user reach the private key: use 0600, or 0640 with the service's group"
        ));
        return None;
    }
    Some(mode)
}

/// Where something must be mounted.
pub(super) fn mount_point(node: Node<'_>) -> Option<MountPoint> {
    node.parsed("a mount point such as \"/mnt/pve/nfs\"")
}

/// `"nothing"` or `{"hook": …}`.
pub(super) fn validate(node: Node<'_>) -> Option<Validate> {
    match one_of(node, &["hook"])? {
        None => Some(Validate::Nothing),
        Some((_, fields)) => fields.required("hook", hook).map(Validate::Hook),
    }
}

/// `"nothing"`, or an object with exactly one way to tell the service, such as `{"reload": …}`.
pub(super) fn reload(node: Node<'_>) -> Option<Reload> {
    const UNIT: &str = "a service unit such as \"nginx.service\"";
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

/// `"nothing"` or `{"connect": …, "server_name": …, "starttls": …, "settle": …}`.
pub(super) fn probe(node: Node<'_>) -> Option<Probe> {
    if node.text_is("nothing") {
        return Some(Probe::Nothing);
    }
    let known = ["connect", "server_name", "starttls", "settle"];
    let fields = Fields::of(node, "\"nothing\" or an object with \"connect\"", &known)?;
    let connect = fields.required("connect", address);
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
    let starttls = fields.optional("starttls", |n| n.parsed("\"smtp\", \"imap\" or \"postgres\""));
    let settle = fields.optional("settle", length::settle);
    Some(Probe::Tls { connect: connect?, server_name: server_name?, starttls: starttls?, settle: settle? })
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

fn hook(node: Node<'_>) -> Option<pinion_proto::spec::PlainName> {
    node.parsed("the name of a file in the guest's /etc/pinion/hooks.d")
}

/// `"nothing"`, as none, or an object with exactly one of `ways`, and which.
fn one_of<'n>(node: Node<'n>, ways: &[&'static str]) -> Option<Option<(&'static str, Fields<'n>)>> {
    if node.text_is("nothing") {
        return Some(None);
    }
    let quoted = || ways.iter().map(|way| format!("{{\"{way}\": …}}")).collect::<Vec<_>>().join(", ");
    let fields = Fields::of(node, &format!("\"nothing\" or one of {}", quoted()), ways)?;
    let mut there = ways.iter().copied().filter(|way| fields.has(way));
    if let (Some(way), None) = (there.next(), there.next()) {
        return Some(Some((way, fields)));
    }
    if !fields.has_only_unknown(ways) {
        fields.problem(format_args!("use exactly one of {}, or \"nothing\"", quoted()));
    }
    None
}
