//! What a tool knows of its node: the guests' configurations in `/etc/pve`, and which of them run.
//!
//! Invariant: a guest of another node does not exist here, in the real tools' words.

use std::{collections::BTreeMap, fs, io, path::PathBuf, process::Command};

use rustix::system::uname;

use super::Failure;
use crate::lab::conf::Conf;

/// The two kinds of guests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Container,
    Machine,
}

impl Kind {
    /// Where its configurations are, and its type in lists.
    pub(super) fn folder(self) -> &'static str {
        match self {
            Self::Container => "lxc",
            Self::Machine => "qemu-server",
        }
    }

    /// What the key with its name is called.
    pub(super) fn name_key(self) -> &'static str {
        match self {
            Self::Container => "hostname",
            Self::Machine => "name",
        }
    }

    /// Its type in lists.
    pub(super) fn listed(self) -> &'static str {
        match self {
            Self::Container => "lxc",
            Self::Machine => "qemu",
        }
    }
}

/// This node's name.
pub(super) fn name() -> String {
    let system = uname();
    let name = system.nodename().to_string_lossy();
    name.split('.').next().unwrap_or_default().to_owned()
}

/// A guest's configuration, if it is on this node.
pub(super) fn load(kind: Kind, vmid: &str) -> Result<Conf, Failure> {
    let relative = format!("nodes/{}/{}/{vmid}.conf", name(), kind.folder());
    match fs::read_to_string(PathBuf::from("/etc/pve").join(&relative)) {
        Ok(text) => Ok(Conf::parse(&text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(Failure::no_such_file(format!("Configuration file '{relative}' does not exist")))
        }
        Err(error) => Err(Failure::died(format!("unable to read '/etc/pve/{relative}' - {error}"))),
    }
}

/// The guests of a kind on a node.
pub(super) fn list(node: &str, kind: Kind) -> BTreeMap<u32, Conf> {
    let folder = PathBuf::from("/etc/pve/nodes").join(node).join(kind.folder());
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let vmid = entry.file_name().to_str()?.strip_suffix(".conf")?.parse().ok()?;
            Some((vmid, Conf::parse(&fs::read_to_string(entry.path()).ok()?)))
        })
        .collect()
}

/// The init process of a running guest of this node.
pub(super) fn init(vmid: &str) -> Option<u32> {
    // A real machine's is QEMU's. One that is a container has its init in that file.
    if let Ok(pid) = fs::read_to_string(format!("/run/qemu-server/{vmid}.pid")) {
        let pid = pid.trim().parse().ok()?;
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        if name.starts_with("qemu-system") {
            return Some(pid);
        }
    }
    let output = Command::new("lxc-info").args(["-n", vmid, "-p", "-H"]).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

/// `running` or `stopped`.
pub(super) fn status(vmid: &str) -> &'static str {
    if init(vmid).is_some() { "running" } else { "stopped" }
}

/// `config`: the values in force, sorted.
pub(super) fn print_config(conf: &Conf) {
    let sorted: BTreeMap<&str, &str> = conf.current.iter().collect();
    for (key, value) in sorted {
        println!("{key}: {value}");
    }
}
