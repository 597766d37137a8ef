//! The way into a container: `pct exec`.
//!
//! What pct does is in pve-container's `PVE/CLI/pct.pm`: `exec` becomes `lxc-attach`, whose exit code, standard input and
//! complaints are the command's. Files go in that way too, and not by `pct push`: that makes a task in Proxmox's log each
//! time, ends with 0 when the task has failed, and keeps the reason to itself.

use std::time::Duration;

use super::{
    guests::Known,
    protocol::{Failure, Target},
    reach::{NOT_FOUND, Output, Reach},
    refusal,
    tool::{Bounds, Tool, Tools},
};

/// A container.
#[derive(Debug)]
pub(super) struct Pct<'a> {
    pub(super) tools: &'a Tools,
    pub(super) guest: Target,
    /// What is known of all guests.
    pub(super) known: Known,
}

impl Reach for Pct<'_> {
    fn guest(&self) -> Target {
        self.guest
    }

    async fn run(&self, arguments: &[&str], stdin: &[u8], patience: Duration) -> Result<Output, Failure> {
        let vmid = self.guest.vmid.to_string();
        let whole = [&["exec", &vmid, "--"], arguments].concat();
        let bounds = Bounds { patience, max: MAX_OUTPUT };
        let ran = self.tools.run(Tool::Pct, &whole, stdin, bounds).await?;
        let stderr = String::from_utf8_lossy(&ran.stderr).into_owned();
        let mut code = ran.code;
        if code != 0 {
            if let Some(failure) = refusal::meaning(&stderr, self.guest, &self.known) {
                return Err(failure);
            }
            if stderr.starts_with("lxc-attach: ") {
                // Before LXC 4 it ended with 255 for a program that is not there.
                if stderr.contains("ailed to exec") {
                    code = if matches!(code, 126 | NOT_FOUND) { code } else { NOT_FOUND };
                } else {
                    return Err(refusal::unforeseen("pct exec", self.guest, code, &stderr));
                }
            }
        }
        Ok(Output { code, stdout: String::from_utf8_lossy(&ran.stdout).into_owned(), stderr })
    }

    fn piece(&self) -> usize {
        usize::MAX
    }

    fn configured_architecture(&self) -> Option<String> {
        self.known.guest(self.guest.vmid).ok()??.arch.clone()
    }
}

/// What the steps ask a guest is answered in a few KiB; its agent's status is the longest (bytes).
const MAX_OUTPUT: usize = 4 * 1024 * 1024;
