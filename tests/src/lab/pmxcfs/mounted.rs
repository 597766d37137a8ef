//! A server with a mount point of its own, in a mount namespace of its own.
//!
//! Invariant: the mount is in no other namespace and goes with it; the processes end with the value, or with the thread that
//! made it.

use std::{
    fs, io,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result};
use tempfile::TempDir;

use super::{service::Service, trouble::Switch};
use crate::{
    program,
    wait::{self, PATIENCE},
};

/// One node's `/etc/pve`, mounted or not.
#[derive(Debug)]
pub struct Mounted {
    server: Service,
    holder: Child,
    directory: TempDir,
}

impl Mounted {
    /// A node's files from nothing, mounted.
    ///
    /// # Errors
    /// Not root, or the server does not come up.
    pub fn begin() -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("pinion-pmxcfs-").tempdir().context("make a directory")?;
        fs::create_dir(directory.path().join("pve")).context("make the mount point")?;
        let holder = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "--", "cat"])
            // It ends when this process does.
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .context("make a mount namespace with unshare")?;
        let mut mounted = Self { server: Service::default(), holder, directory };
        let comm = format!("/proc/{}/comm", mounted.holder.id());
        wait::until("the mount namespace", PATIENCE, || match fs::read_to_string(&comm) {
            Ok(name) if name.trim() == "cat" => Ok(()),
            found => Err(format!("{found:?}")),
        })?;
        mounted.start()?;
        Ok(mounted)
    }

    /// Starts the server, as `systemctl start pve-cluster` does.
    ///
    /// # Errors
    /// It does not mount; its words are in the message.
    pub fn start(&mut self) -> Result<()> {
        let mut command = self.command(&program::own("pmxcfs")?.display().to_string());
        command.arg("--data").arg(self.data()).arg("--mount").arg(self.place());
        command.arg("--with-parent");
        self.server.start(command, &self.path(""), &self.directory.path().join("log"))
    }

    /// Stops the server in order: the mount goes with it.
    ///
    /// # Errors
    /// It does not end by itself.
    pub fn stop(&mut self) -> Result<()> {
        self.server.stop()
    }

    /// Kills the server: the mount stays, dead.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn kill(&mut self) -> Result<()> {
        self.server.kill()
    }

    /// A file of it, as it is reached from outside.
    #[must_use]
    pub fn path(&self, inside: &str) -> PathBuf {
        let place = self.place();
        let relative = place.strip_prefix("/").unwrap_or(&place);
        PathBuf::from(format!("/proc/{}/root", self.holder.id())).join(relative).join(inside)
    }

    /// The mount point's path, for programs that run in the namespace.
    #[must_use]
    pub fn place(&self) -> PathBuf {
        self.directory.path().join("pve")
    }

    /// A command in the namespace; not started yet.
    #[must_use]
    pub fn command(&self, name: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.holder.id().to_string(), "--mount", "--", name]);
        command
    }

    /// What makes its cluster unwell.
    #[must_use]
    pub fn switch(&self) -> Switch {
        Switch::of(&self.data())
    }

    /// What the server has logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// Whether something is mounted there.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn is_mounted(&self) -> io::Result<bool> {
        let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", self.holder.id()))?;
        let place = format!(" {} ", self.place().display());
        Ok(mounts.lines().any(|line| line.contains(&place)))
    }

    /// The server's directory.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        drop(std::mem::take(&mut self.server));
        if self.holder.kill().and_then(|()| self.holder.wait()).is_err() {
            // It had ended already.
        }
    }
}
