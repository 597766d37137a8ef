//! Pinion's controller on the lab's host, where and as whom its packages put it.
//!
//! Invariant: `pinion serve` runs as the user `pinion`, who is in no group but its own; commands are root's.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt as _, chown},
};

use anyhow::{Context, Result};
use serde_json::Value;

use super::Lab;
use crate::{
    process::{self, Finished, Process},
    program,
    status::Status,
    wait::{self, PATIENCE},
};

impl Lab {
    /// Puts the program, the user and the directories in place, and a configuration with guest 103's step-ca.
    ///
    /// # Errors
    /// The program is not built, there is no 103 that runs step-ca, or a file cannot be written.
    pub fn install_controller(&self) -> Result<()> {
        self.install(&program::own("pinion")?, "/usr/bin/pinion")?;
        let useradd =
            ["useradd", "--system", "--user-group", "--no-create-home", "--home-dir=/var/lib/pinion", "pinion"];
        self.namespace.run(&useradd)?;
        let id = self.namespace.run(&["id", "-u", "pinion"])?.stdout.trim().parse().context("the user has a number")?;
        for (directory, mode) in [("/etc/pinion", 0o755), ("/var/lib/pinion", 0o700), ("/run/pinion", 0o755)] {
            let place = self.path(directory);
            fs::create_dir_all(&place)
                .and_then(|()| chown(&place, Some(id), Some(id)))
                .and_then(|()| fs::set_permissions(&place, Permissions::from_mode(mode)))
                .with_context(|| format!("make {directory}"))?;
        }
        let issuer = self.issuer()?;
        let password = self.path(&issuer.password_file.to_string_lossy());
        chown(&password, Some(id), Some(id))
            .and_then(|()| fs::set_permissions(&password, Permissions::from_mode(0o600)))
            .context("give the password to the controller's user")?;
        let text = format!(
            "advertise = [\"10.0.0.13:7443\", \"172.16.100.1:7443\"]\n\n\
             [issuers.step-ca]\ntype = \"step-ca\"\nurl = \"{}\"\nfingerprint = \"{}\"\nprovisioner = \"{}\"\n\
             password_file = \"{}\"\n\n\
             [retry]\ninitial = \"200ms\"\nmax = \"2s\"\n",
            issuer.url,
            issuer.fingerprint,
            issuer.provisioner,
            issuer.password_file.display()
        );
        fs::write(self.path("/etc/pinion/controller.toml"), text).context("write the controller's configuration")
    }

    /// Replaces the manifest in one step.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write_manifest(&self, manifest: &Value) -> Result<()> {
        let place = self.path("/etc/pinion/certificate-manifest.json");
        let fresh = place.with_extension("new");
        fs::write(&fresh, format!("{manifest:#}\n"))
            .and_then(|()| fs::rename(&fresh, &place))
            .with_context(|| format!("write {}", place.display()))
    }

    /// `pinion serve` as its own user, answering. It ends with its value, by its id.
    ///
    /// # Errors
    /// It does not come up; the message has the end of its log.
    pub fn serve(&self) -> Result<Process> {
        let mut command = self.command("setpriv");
        command.args(["--reuid=pinion", "--regid=pinion", "--init-groups", "--", "pinion", "serve"]);
        let mut process = Process::spawn("pinion serve", &mut command, &self.path("/var/log/pinion.log"))?;
        let up = wait::until("the controller to answer", PATIENCE, || {
            process.check_running()?;
            // 5: it can't be reached. Every other code is an answer.
            let asked = self.pinion(&["status", "--json"])?;
            if asked.code() == 5 { Err(anyhow::anyhow!("{asked}")) } else { Ok(()) }
        });
        up.with_context(|| format!("the controller's log ends:\n{}", process.log_tail()))?;
        Ok(process)
    }

    /// Runs `pinion` as root on the lab's host; an exit code is no error.
    ///
    /// # Errors
    /// It cannot be started, or does not end within two minutes.
    pub fn pinion(&self, arguments: &[&str]) -> Result<Finished> {
        self.run(&[&["pinion"], arguments].concat())
    }

    /// `pinion status --json`.
    ///
    /// # Errors
    /// The controller does not answer, or not with the document.
    pub fn status(&self) -> Result<Status> {
        let finished = self.pinion(&["status", "--json"])?;
        serde_json::from_str(&finished.stdout).with_context(|| format!("read the status: {finished}"))
    }

    /// Puts the agent with its unit and its default allow-list into a guest, past every channel; it does not
    /// run yet. A template is made so.
    ///
    /// # Errors
    /// The static agent is not built, there is no such guest, or a file cannot be written.
    pub fn install_agent(&self, vmid: u32) -> Result<()> {
        let agent = program::static_agent()?;
        let bytes = fs::read(&agent).with_context(|| format!("read {}", agent.display()))?;
        self.write(vmid, "/usr/bin/pinion-agent", 0o755, &bytes)?;
        let unit = include_bytes!("../../../packaging/agent/pinion-agent.service");
        self.write(vmid, "/etc/systemd/system/pinion-agent.service", 0o644, unit)?;
        self.write(vmid, "/etc/pinion/agent.toml", 0o644, include_bytes!("../../../packaging/agent/agent.toml"))
    }

    /// Joins a guest by hand, as an operator does who has a shell there, and starts its agent.
    ///
    /// # Errors
    /// The controller gives no token, or the agent does not join.
    pub fn join_by_hand(&self, vmid: u32) -> Result<()> {
        let token = self.pinion(&["token", "create", "--guest", &vmid.to_string()])?.succeeded()?.stdout;
        let mut join = self.guest_command(vmid, "pinion-agent")?;
        process::run(join.arg("join"), token.as_bytes(), PATIENCE)?.succeeded().context("join")?;
        for words in [["systemctl", "daemon-reload"].as_slice(), &["systemctl", "enable", "--now", "pinion-agent"]] {
            self.exec(vmid, words)?.succeeded()?;
        }
        Ok(())
    }
}
