//! pmxcfs as a service: started, stopped and killed, as pve-cluster's unit is.

use std::{fs, path::Path, process::Command};

use anyhow::Result;

use crate::{
    process::Process,
    wait::{self, PATIENCE},
};

/// The server, where it runs.
#[derive(Debug, Default)]
pub struct Service(Option<Process>);

impl Service {
    /// Starts `command`, which runs pmxcfs, for the node `pve1` of two; returns when its files are there. `seen` is where its
    /// mount point is reached from here.
    ///
    /// # Errors
    /// It does not mount them; its words are in the message.
    pub fn start(&mut self, mut command: Command, seen: &Path, log: &Path) -> Result<()> {
        command.args(["--node", "pve1", "--peer", "pve1=10.0.0.13", "--peer", "pve2=10.0.0.14"]);
        let mut server = Process::spawn("pmxcfs", &mut command, log)?;
        let file = seen.join(".version");
        let up = wait::until("pmxcfs to mount", PATIENCE, || {
            server.check_running().map_err(|error| format!("{error:#}"))?;
            fs::read(&file).map(drop).map_err(|error| error.to_string())
        });
        self.0 = Some(server);
        up
    }

    /// Stops it in order: the mount goes with it.
    ///
    /// # Errors
    /// It does not end by itself.
    pub fn stop(&mut self) -> Result<()> {
        self.0.take().map_or(Ok(()), |mut server| server.stop().map(drop))
    }

    /// Kills it: a mount that nobody answers at stays.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn kill(&mut self) -> Result<()> {
        self.0.take().map_or(Ok(()), |mut server| server.kill9().map(drop))
    }

    /// The process, where it runs.
    pub fn process(&mut self) -> Option<&mut Process> {
        self.0.as_mut()
    }
}
