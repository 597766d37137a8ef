//! The way into a container: `pct exec` and `pct push`.
//!
//! What pct does is in pve-container's `PVE/CLI/pct.pm`: `exec` becomes `lxc-attach`, whose exit code is the command's;
//! `push` copies in a task of its own and ends with 0 even when that task failed, so its word counts for nothing.

use std::{path::Path, time::Duration};

use super::{
    package::PackagedFile,
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
    /// The host's `/`.
    pub(super) root: &'a Path,
}

impl Reach for Pct<'_> {
    fn guest(&self) -> Target {
        self.guest
    }

    async fn run(&self, arguments: &[&str], stdin: &[u8], patience: Duration) -> Result<Output, Failure> {
        let vmid = self.guest.vmid.to_string();
        let whole = [&["exec", &vmid, "--"], arguments].concat();
        let bounds = Bounds { patience, most: MOST_OUTPUT };
        let ran = self.tools.run(Tool::Pct, &whole, stdin, bounds).await?;
        let stderr = String::from_utf8_lossy(&ran.stderr).into_owned();
        let mut code = ran.code;
        if code != 0 {
            if let Some(failure) = refusal::meaning(&stderr, self.guest, self.root) {
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

    async fn push(&self, file: &PackagedFile, to: &str) -> Result<(), Failure> {
        let vmid = self.guest.vmid.to_string();
        let from = file.path.as_os_str();
        let arguments = ["push".as_ref(), vmid.as_ref(), from, to.as_ref()];
        let ownership = ["--user", "0", "--group", "0", "--perms", file.mode].map(AsRef::as_ref);
        let whole = [&arguments[..], &ownership[..]].concat();
        let bounds = Bounds { patience: PUSH_TIME, most: MOST_OUTPUT };
        let ran = self.tools.run(Tool::Pct, &whole, b"", bounds).await?;
        let said = [&ran.stderr[..], &ran.stdout[..]].concat();
        let said = String::from_utf8_lossy(&said);
        if ran.code != 0 || said.contains("TASK ERROR") {
            let failure = refusal::meaning(&said, self.guest, self.root);
            return Err(failure.unwrap_or_else(|| refusal::unforeseen("pct push", self.guest, ran.code, &said)));
        }
        Ok(())
    }
}

/// What the steps ask a guest is answered in a few KiB; its agent's status is the longest (bytes).
const MOST_OUTPUT: usize = 4 * 1024 * 1024;

/// A local copy of six megabytes, on a host whose disks are busy with a backup.
const PUSH_TIME: Duration = Duration::from_secs(60);
