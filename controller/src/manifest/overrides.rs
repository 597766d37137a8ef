//! The parts of a placement that override its recipe: files and how they are checked ([`super::services`] has the services).

use std::collections::BTreeMap;

use pinion_proto::{
    mount::MountPoint,
    spec::{FileMode, FileSpec, Part, Validate},
};

use super::{fields::Fields, node::Node};

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
    let known: &[&str] = match part {
        Part::Pkcs12 => &["path", "mode", "owner", "group", "password_file", "legacy"],
        _ if part.has_password() => &["path", "mode", "owner", "group", "password_file"],
        _ => &["path", "mode", "owner", "group"],
    };
    let fields = Fields::of(node, "an object with a path", known)?;
    if path_needed && !fields.has("path") {
        fields.problem("the field \"path\" is missing, and there is no recipe to supply it");
    }
    let path = fields.optional("path", |n| n.parsed("an absolute path"));
    let mode = fields.optional("mode", |n| mode(n, part));
    let owner = fields.optional("owner", |n| n.parsed("a user's name or number in quotes"));
    let group = fields.optional("group", |n| n.parsed("a group's name or number in quotes"));
    let password_file = fields.optional("password_file", |n| n.parsed("an absolute path"));
    let legacy = fields.optional("legacy", |n| n.boolean());
    Some(FileSpec {
        path: path?,
        mode: mode?,
        owner: owner?,
        group: group?,
        password_file: password_file?,
        legacy: legacy?,
    })
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

/// The name of a hook.
pub(super) fn hook(node: Node<'_>) -> Option<pinion_proto::spec::PlainName> {
    node.parsed("the name of a file in the guest's /etc/pinion/hooks.d")
}

/// `"nothing"`, as none, or an object with exactly one of `ways`, and which.
pub(super) fn one_of<'n>(node: Node<'n>, ways: &[&'static str]) -> Option<Option<(&'static str, Fields<'n>)>> {
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
