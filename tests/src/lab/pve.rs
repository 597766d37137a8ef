//! `/etc/pve` as the tools and the controller find it on a real node.
//!
//! Invariant: `.vmlist` and `.version` have the shape of pmxcfs's own (pve-cluster's `status.c`), and their
//! numbers grow when a guest is made, moved or destroyed; as there, not when only a configuration changes.
//! Files are for root and the group `www-data` alone, and `priv` for root (`pmxcfs.c`, `cfs_fuse_getattr`).

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    os::unix::fs::{PermissionsExt as _, chown, symlink},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};

use super::conf::Conf;

/// The node that the lab is.
pub const NODE: &str = "pve1";

/// A node that is only in the files.
pub const OTHER_NODE: &str = "pve2";

/// How a guest is made, as far as its files are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An LXC container.
    Container,
    /// A virtual machine; in the lab a privileged container that is reached as one.
    Machine,
}

impl Kind {
    fn folder(self) -> &'static str {
        match self {
            Self::Container => "lxc",
            Self::Machine => "qemu-server",
        }
    }

    fn listed(self) -> &'static str {
        match self {
            Self::Container => "lxc",
            Self::Machine => "qemu",
        }
    }
}

/// The directory, and what pmxcfs would remember.
#[derive(Debug)]
pub struct Files {
    root: PathBuf,
    started: u64,
    version: u64,
    guests: BTreeMap<u32, Entry>,
}

#[derive(Debug)]
struct Entry {
    node: String,
    kind: Kind,
    version: u64,
}

impl Files {
    /// Makes the directory for an empty cluster of two nodes.
    ///
    /// # Errors
    /// A directory or file cannot be written.
    pub fn create(root: &Path) -> Result<Self> {
        for node in [NODE, OTHER_NODE] {
            for folder in ["lxc", "qemu-server"] {
                make(&root.join("nodes").join(node).join(folder), 0o755)?;
            }
        }
        for link in ["lxc", "qemu-server"] {
            symlink(Path::new("nodes").join(NODE).join(link), root.join(link))
                .with_context(|| format!("link {link}"))?;
        }
        symlink(Path::new("nodes").join(NODE), root.join("local")).context("link local")?;
        for private in ["priv", "priv/lock", "priv/acme"] {
            make(&root.join(private), 0o700)?;
        }
        let started = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let files = Self { root: root.to_owned(), started, version: 1, guests: BTreeMap::new() };
        replace(&root.join(".members"), MEMBERS)?;
        replace(&root.join("storage.cfg"), "dir: local\n\tpath /var/lib/vz\n\tcontent vztmpl,backup,snippets\n")?;
        files.write_lists()?;
        Ok(files)
    }

    /// A guest that was made on this node.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn add(&mut self, vmid: u32, kind: Kind, conf: &Conf) -> Result<()> {
        self.version += 1;
        self.guests.insert(vmid, Entry { node: NODE.to_owned(), kind, version: self.version });
        self.write(vmid, conf)?;
        self.write_lists()
    }

    /// Its configuration.
    ///
    /// # Errors
    /// There is no such guest, or its file cannot be read.
    pub fn read(&self, vmid: u32) -> Result<Conf> {
        let path = self.path(vmid)?;
        Ok(Conf::parse(&fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?))
    }

    /// Replaces its configuration.
    ///
    /// # Errors
    /// There is no such guest, or its file cannot be written.
    pub fn write(&self, vmid: u32, conf: &Conf) -> Result<()> {
        replace(&self.path(vmid)?, &conf.to_string())
    }

    /// Moves a guest's configuration to a node, as a migration ends.
    ///
    /// # Errors
    /// There is no such guest, or its file cannot be moved.
    pub fn move_to(&mut self, vmid: u32, node: &str) -> Result<()> {
        let old = self.path(vmid)?;
        self.version += 1;
        let version = self.version;
        let entry = self.guests.get_mut(&vmid).with_context(|| format!("there is no guest {vmid}"))?;
        entry.node = node.to_owned();
        entry.version = version;
        let new = self.path(vmid)?;
        fs::rename(&old, &new).with_context(|| format!("move {} to {}", old.display(), new.display()))?;
        self.write_lists()
    }

    /// Takes a guest out.
    ///
    /// # Errors
    /// There is no such guest, or its file cannot be removed.
    pub fn remove(&mut self, vmid: u32) -> Result<()> {
        let path = self.path(vmid)?;
        fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
        self.version += 1;
        self.guests.remove(&vmid);
        self.write_lists()
    }

    /// The node that a guest is on.
    #[must_use]
    pub fn node(&self, vmid: u32) -> Option<&str> {
        self.guests.get(&vmid).map(|entry| entry.node.as_str())
    }

    fn path(&self, vmid: u32) -> Result<PathBuf> {
        let entry = self.guests.get(&vmid).with_context(|| format!("there is no guest {vmid}"))?;
        let folder = self.root.join("nodes").join(&entry.node).join(entry.kind.folder());
        Ok(folder.join(format!("{vmid}.conf")))
    }

    fn write_lists(&self) -> Result<()> {
        let mut ids = String::new();
        for (vmid, entry) in &self.guests {
            let comma = if ids.is_empty() { "" } else { ",\n" };
            let Entry { node, kind, version } = entry;
            let kind = kind.listed();
            write!(ids, "{comma}\"{vmid}\": {{ \"node\": \"{node}\", \"type\": \"{kind}\", \"version\": {version} }}")?;
        }
        let vmlist = format!("{{\n\"version\": {},\n\"ids\": {{\n{ids}}}\n\n}}\n", self.version);
        replace(&self.root.join(".vmlist"), &vmlist)?;
        let version = format!(
            "{{\n\"starttime\": {},\n\"clinfo\": 2,\n\"vmlist\": {},\n\"corosync.conf\": 1,\n\"user.cfg\": 1,\n\
             \"storage.cfg\": 1,\n\"kvstore\": {{\n\"{NODE}\": {{\n\"tasklist\": {}}}\n}}\n}}\n",
            self.started, self.version, self.version
        );
        replace(&self.root.join(".version"), &version)
    }
}

const MEMBERS: &str = "{\n\"nodename\": \"pve1\",\n\"version\": 2,\n\"cluster\": { \"name\": \"lab\", \"version\": 1, \
                       \"nodes\": 2, \"quorate\": 1 },\n\"nodelist\": {\n  \"pve1\": { \"id\": 1, \"online\": 1, \"ip\": \
                       \"10.0.0.13\"},\n  \"pve2\": { \"id\": 2, \"online\": 1, \"ip\": \"10.0.0.14\"}\n  }\n}\n";

/// Debian's group `www-data` (base-passwd), which Proxmox's web server reads with.
const WWW_DATA: u32 = 33;

/// Only root can give it; the lab is root, and this module's own tests need not be.
fn group() -> Option<u32> {
    rustix::process::geteuid().is_root().then_some(WWW_DATA)
}

fn make(directory: &Path, mode: u32) -> Result<()> {
    fs::create_dir_all(directory)
        .and_then(|()| chown(directory, None, group()))
        .and_then(|()| fs::set_permissions(directory, fs::Permissions::from_mode(mode)))
        .with_context(|| format!("make {}", directory.display()))
}

/// In one step, as pmxcfs's own writers do.
fn replace(path: &Path, text: &str) -> Result<()> {
    let fresh = path.with_extension("tmp");
    fs::write(&fresh, text)
        .and_then(|()| chown(&fresh, None, group()))
        .and_then(|()| fs::set_permissions(&fresh, fs::Permissions::from_mode(0o640)))
        .and_then(|()| fs::rename(&fresh, path))
        .with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_guest_is_listed_where_it_is_and_the_versions_grow() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut files = Files::create(directory.path()).expect("made");
        let read = |name: &str| -> Value {
            serde_json::from_str(&fs::read_to_string(directory.path().join(name)).expect("read")).expect("JSON")
        };
        let before = read(".version")["vmlist"].as_u64();
        files.add(101, Kind::Container, &Conf::parse("hostname: gateway\n")).expect("added");
        files.add(1001, Kind::Machine, &Conf::parse("name: docker\n")).expect("added");
        assert_eq!(read(".vmlist")["ids"]["1001"]["type"], "qemu");
        assert!(read(".version")["vmlist"].as_u64() > before);
        files.move_to(101, OTHER_NODE).expect("moved");
        assert_eq!(read(".vmlist")["ids"]["101"]["node"], OTHER_NODE);
        assert!(directory.path().join("nodes/pve2/lxc/101.conf").is_file());
        assert_eq!(files.read(101).expect("read").current.get("hostname"), Some("gateway"));
        files.remove(101).expect("removed");
        assert_eq!(read(".vmlist")["ids"]["101"], Value::Null);
    }
}
