//! Who follows a document in the lab, command by command.
//!
//! Answers: what becomes of the lab when somebody types what a document says? Invariant: every command runs as it is
//! written, in the shell of the place that the document names, and has to succeed. Only what the lab's host does not have
//! is done in the command's stead: a systemd of its own (`systemctl`), Pinion's packages (`apt install`), and a person at
//! the keyboard (`pinion setup` asks, and the token of one command is pasted into the next).

use std::{fs, process::Command};

use anyhow::{Context, Result, anyhow, bail, ensure};

use super::{AUTHORITY, Lab, installation::Installation};
use crate::{
    ca, process,
    process::Finished,
    steps::{self, Place},
    terminal,
    wait::PATIENCE,
};

/// A person with a document.
#[derive(Debug)]
pub struct Operator<'l> {
    lab: &'l Lab,
    installation: &'l mut Installation,
    document: &'static str,
    values: Vec<(&'static str, String)>,
    /// What the last command printed.
    said: String,
}

impl<'l> Operator<'l> {
    /// One who reads a document of `docs`, and puts these values in place of its words in capitals.
    pub fn with(
        lab: &'l Lab,
        installation: &'l mut Installation,
        document: &'static str,
        values: &[(&'static str, &str)],
    ) -> Self {
        let values = values.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Self { lab, installation, document, values, said: String::new() }
    }

    /// Types what is below a heading at these places, in its order.
    ///
    /// # Errors
    /// There is nothing to type, or a command fails; the message has what it said.
    pub fn follow(&mut self, heading: &str, places: &[Place]) -> Result<()> {
        let blocks = steps::section(self.document, heading)?;
        ensure!(blocks.iter().any(|block| places.contains(&block.place)), "`{heading}` has no commands for {places:?}");
        for block in blocks.into_iter().filter(|block| places.contains(&block.place)) {
            for line in &block.lines {
                self.type_line(block.place, line).with_context(|| format!("follow `{heading}`: {line}"))?;
            }
        }
        Ok(())
    }

    fn type_line(&mut self, place: Place, line: &str) -> Result<()> {
        let values: Vec<_> = self.values.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let line = steps::filled(line, &values)?;
        let words: Vec<&str> = line.split_whitespace().collect();
        match (place, words.as_slice()) {
            (Place::Host | Place::NewHost, ["systemctl", verb, units @ ..]) => self.systemctl(verb, units),
            (Place::Host | Place::NewHost, ["apt", "install", "./pinion_*.deb"]) => {
                // What the package brings beside its programs, which are there.
                fs::create_dir_all(self.lab.path("/etc/pinion")).context("make /etc/pinion")
            }
            (Place::Host | Place::NewHost, ["pinion", "setup", ..]) => self.set_up(&line),
            (Place::Host | Place::NewHost, _) => {
                let done = self.lab.run(&["sh", "-c", &line])?;
                // Its code tells how all placements are, not whether it could say so.
                let done = if words == ["pinion", "status"] { done } else { done.succeeded()? };
                self.said = done.stdout;
                Ok(())
            }
            (Place::Guest, _) => {
                let vmid = values.iter().find(|(name, _)| *name == "GUEST").map(|(_, value)| value.parse());
                let vmid = vmid.context("it is said which guest is meant")?.context("a guest has a number")?;
                let pasted = std::mem::take(&mut self.said);
                let mut command = self.lab.guest_command(vmid, "sh")?;
                process::run(command.args(["-c", &line]), pasted.as_bytes(), PATIENCE)?.succeeded().map(drop)
            }
        }
    }

    /// As systemd does with the shipped units.
    fn systemctl(&mut self, verb: &str, units: &[&str]) -> Result<()> {
        let now = units.contains(&"--now");
        let has = |name| units.contains(&name);
        let (serve, channel) = (has("pinion"), has("pinion-channel"));
        ensure!(serve, "the controller is meant by `{verb} {units:?}`");
        match verb {
            "stop" | "disable" if channel && (now || verb == "stop") => self.installation.stop(),
            "start" | "enable" if channel && (now || verb == "start") => self.installation.start(self.lab),
            "restart" if !channel => {
                self.installation.stop_serve()?;
                self.installation.start_serve(self.lab)
            }
            _ => bail!("the lab's host has no systemd, and nobody says what `systemctl {verb} {units:?}` does"),
        }
    }

    /// Answers what it asks.
    fn set_up(&self, line: &str) -> Result<()> {
        let mut command: Command = self.lab.command("sh");
        let address = self.values.iter().find(|(name, _)| *name == "NEW-ADDRESS").map(|(_, value)| value.as_str());
        let address = format!("{}:7443", address.context("it is said which address the host has")?);
        let answers = [
            ("Enter takes all", address.as_str()),
            ("Who signs", "step-ca"),
            ("URL of your step-ca", AUTHORITY),
            ("Is it the same?", "yes"),
            ("JWK provisioner", "admin"),
            ("Password of the provisioner", ca::PASSWORD),
        ];
        let done = terminal::converse(command.args(["-c", line]), &answers, PATIENCE)?;
        done.succeeded().map(drop).map_err(|error| anyhow!("{error:#}"))
    }
}

/// What the guest's services were started with and have as their workers: another one for each restart and reload.
///
/// # Errors
/// There is no such guest.
pub fn workers(lab: &Lab, vmid: u32, service: &str) -> Result<Vec<String>> {
    let found: Finished = lab.exec(vmid, &["pgrep", "-x", service])?.succeeded()?;
    Ok(found.stdout.lines().map(ToOwned::to_owned).collect())
}
