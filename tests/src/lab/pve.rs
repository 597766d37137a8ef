//! `/etc/pve` of the lab's host: the files of its guests, and the service that has them mounted.
//!
//! Answers: what does Proxmox say about the guests, and what if its files are away? [`pmxcfs`](super::pmxcfs) is mounted
//! there. Invariant: what is written here goes through the mount, as Proxmox's own tools write it; nothing is remembered
//! beside it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use rustix::process::Signal;

pub use super::namespace::NODE;
use super::{
    conf::Conf,
    namespace,
    namespace::Namespace,
    pmxcfs::{service::Service, trouble::Switch},
};
use crate::program;

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
}

/// The files, and the server behind them.
#[derive(Debug)]
pub struct Files {
    root: PathBuf,
    data: PathBuf,
    init: u32,
    server: Service,
}

impl Files {
    /// Mounts the files of an empty cluster of two nodes.
    ///
    /// # Errors
    /// The server does not mount them, or a file cannot be written.
    pub fn create(namespace: &Namespace) -> Result<Self> {
        let (root, data) = (namespace.path("/etc/pve"), namespace.live().join("pve-cluster"));
        let mut files = Self { root, data, init: namespace.init(), server: Service::default() };
        files.start()?;
        let storage = "dir: local\n\tpath /var/lib/vz\n\tcontent vztmpl,backup,snippets\n";
        replace(&files.root.join("storage.cfg"), storage)?;
        Ok(files)
    }

    /// Starts the server, as `systemctl start pve-cluster` does; returns when the files are there.
    ///
    /// # Errors
    /// It does not mount them; its words are in the message.
    pub fn start(&mut self) -> Result<()> {
        let mut command = namespace::command(self.init, &program::own("pmxcfs")?.display().to_string());
        command.arg("--data").arg(&self.data).args(["--mount", "/etc/pve"]);
        self.server.start(command, &self.root, &self.data.with_extension("log"))
    }

    /// Stops it in order: nothing is mounted there then.
    ///
    /// # Errors
    /// It does not end by itself.
    pub fn stop(&mut self) -> Result<()> {
        self.server.stop()
    }

    /// Kills it: a mount that nobody answers at stays.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn kill(&mut self) -> Result<()> {
        self.server.kill()
    }

    /// Has it stand still, or go on: whoever looks at its files waits meanwhile.
    ///
    /// # Errors
    /// It does not run.
    pub fn hang(&mut self, hangs: bool) -> Result<()> {
        let server = self.server.process().context("pmxcfs runs")?;
        server.signal(if hangs { Signal::STOP } else { Signal::CONT })
    }

    /// What makes the cluster unwell.
    #[must_use]
    pub fn switch(&self) -> Switch {
        Switch::of(&self.data)
    }

    /// A guest that was made on this node.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn add(&self, vmid: u32, kind: Kind, conf: &Conf) -> Result<()> {
        replace(&self.place(NODE, kind, vmid), &conf.to_string())
    }

    /// Its configuration.
    ///
    /// # Errors
    /// There is no such guest, or its file cannot be read.
    pub fn read(&self, vmid: u32) -> Result<Conf> {
        let (_, _, path) = self.find(vmid)?;
        Ok(Conf::parse(&fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?))
    }

    /// Replaces its configuration.
    ///
    /// # Errors
    /// There is no such guest, or its file cannot be written.
    pub fn write(&self, vmid: u32, conf: &Conf) -> Result<()> {
        replace(&self.find(vmid)?.2, &conf.to_string())
    }

    /// Moves a guest's configuration to a node, as a migration ends.
    ///
    /// # Errors
    /// There is no such guest, or its file cannot be moved.
    pub fn move_to(&self, vmid: u32, node: &str) -> Result<()> {
        let (_, kind, old) = self.find(vmid)?;
        let new = self.place(node, kind, vmid);
        fs::rename(&old, &new).with_context(|| format!("move {} to {}", old.display(), new.display()))
    }

    /// Takes a guest out.
    ///
    /// # Errors
    /// There is no such guest, or its file cannot be removed.
    pub fn remove(&self, vmid: u32) -> Result<()> {
        let (_, _, path) = self.find(vmid)?;
        fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))
    }

    /// The node that a guest is on.
    #[must_use]
    pub fn node(&self, vmid: u32) -> Option<&'static str> {
        self.find(vmid).ok().map(|(node, _, _)| node)
    }

    fn find(&self, vmid: u32) -> Result<(&'static str, Kind, PathBuf)> {
        let places = [NODE, OTHER_NODE].into_iter().flat_map(|node| [(node, Kind::Container), (node, Kind::Machine)]);
        let mut found = places.map(|(node, kind)| (node, kind, self.place(node, kind, vmid)));
        found.find(|(_, _, path)| path.exists()).with_context(|| format!("there is no guest {vmid}"))
    }

    fn place(&self, node: &str, kind: Kind, vmid: u32) -> PathBuf {
        self.root.join("nodes").join(node).join(kind.folder()).join(format!("{vmid}.conf"))
    }
}

/// In one step, as `PVE::Tools::file_set_contents` does.
fn replace(path: &Path, text: &str) -> Result<()> {
    let name = path.file_name().context("a file has a name")?.to_string_lossy();
    let fresh = path.with_file_name(format!("{name}.tmp.{}", std::process::id()));
    fs::write(&fresh, text).and_then(|()| fs::rename(&fresh, path)).with_context(|| format!("write {}", path.display()))
}
