//! Bringing the packaged agent in, and putting the former one back.
//!
//! Invariants: a file is complete, checked by its SHA-256 and has its mode before it gets its name; until then what was
//! there works on. Each step is safe to repeat, and all of them together.

use std::{collections::BTreeMap, iter, time::Duration};

use super::{
    look::{AGENT, OPENRC, SYSTEMD, architecture, init, there},
    package::{Package, PackagedFile},
    protocol::{Cause, Failure, Init},
    reach::{Reach, SHORT, lacks, must, push},
};

/// The agent that the last install replaced.
pub(super) const PREVIOUS: &str = "/usr/bin/pinion-agent.previous";

/// The guest's own word on what the agent may do: brought in once, never replaced.
pub(super) const CONFIGURATION: &str = "/etc/pinion/agent.toml";

pub(super) const CONFIGURATION_DIRECTORY: &str = "/etc/pinion";
pub(super) const UNIT: &str = "/etc/systemd/system/pinion-agent.service";
pub(super) const OPENRC_SCRIPT: &str = "/etc/init.d/pinion-agent";
pub(super) const START_SCRIPT: &str = "/etc/pinion/start-agent";

/// A file that is not complete yet has this at its end.
pub(super) const PENDING: &str = ".pinion-new";

/// Until the service manager has stopped one agent, which finishes its work first, and started the other.
const RESTART_TIME: Duration = Duration::from_secs(90);

/// Brings in what is packaged for this guest, and starts it. `replacing` is called before an agent gives way to another one.
pub(super) async fn install(reach: &impl Reach, package: &Package, replacing: impl Fn()) -> Result<(), Failure> {
    let binary = package.binary(&architecture(reach).await?)?;
    let found = there(reach, &[SYSTEMD, OPENRC, CONFIGURATION, AGENT]).await?;
    let init = init(&found);
    let mut files = Vec::new();
    if !found.contains(&CONFIGURATION) {
        files.push(Place { file: package.configuration()?, to: CONFIGURATION });
    }
    files.push(match init {
        Init::Systemd => Place { file: package.unit()?, to: UNIT },
        Init::OpenRc => Place { file: package.open_rc()?, to: OPENRC_SCRIPT },
        Init::Other => Place { file: package.start_script()?, to: START_SCRIPT },
    });
    // The program is the last: all that it needs is there when it gets its name.
    files.push(Place { file: binary, to: AGENT });
    let there = sums(reach, files.iter().map(|place| place.to)).await?;
    files.retain(|place| there.get(place.to) != Some(&place.file.sha256));
    if !files.is_empty() {
        bring(reach, &files).await?;
    }
    for place in &files {
        if place.to == AGENT && found.contains(&AGENT) {
            copy(reach, AGENT, PREVIOUS).await?;
            replacing();
        }
        rename(reach, &place.pending(), place.to).await?;
    }
    // Also when nothing was new: an interrupted try may not have come so far.
    start(reach, init).await
}

/// A file and its name in the guest.
pub(super) struct Place {
    pub(super) file: PackagedFile,
    pub(super) to: &'static str,
}

impl Place {
    /// Its name until it is complete.
    pub(super) fn pending(&self) -> String {
        format!("{}{PENDING}", self.to)
    }
}

/// Puts the agent back that was there before the last install, and starts it.
pub(super) async fn restore(reach: &impl Reach) -> Result<(), Failure> {
    if there(reach, &[PREVIOUS]).await?.is_empty() {
        let text = format!("{} has no earlier agent at {PREVIOUS} to restore", reach.guest());
        return Err(Failure::new(Cause::Refused, text));
    }
    // A copy, so that a second try finds it still.
    copy(reach, PREVIOUS, AGENT).await?;
    let init = init(&there(reach, &[SYSTEMD, OPENRC]).await?);
    start(reach, init).await
}

/// Starts the agent that is there now, in place of one that runs.
async fn start(reach: &impl Reach, init: Init) -> Result<(), Failure> {
    match init {
        Init::Systemd => {
            must(reach, "reload systemd's units", &["systemctl", "daemon-reload"], b"", SHORT).await?;
            let enable = ["systemctl", "enable", "pinion-agent.service"];
            must(reach, "enable pinion-agent.service", &enable, b"", SHORT).await?;
            let restart = ["systemctl", "restart", "pinion-agent.service"];
            must(reach, "start pinion-agent.service", &restart, b"", RESTART_TIME).await?;
        }
        Init::OpenRc => {
            // It says so and succeeds when the service is in the runlevel already.
            let add = ["rc-update", "add", "pinion-agent", "default"];
            must(reach, "add pinion-agent to the default runlevel", &add, b"", SHORT).await?;
            let restart = ["rc-service", "pinion-agent", "restart"];
            must(reach, "start pinion-agent", &restart, b"", RESTART_TIME).await?;
        }
        Init::Other => {
            must(reach, "start the agent", &[START_SCRIPT], b"", RESTART_TIME).await?;
        }
    }
    Ok(())
}

/// Whole files beside their names.
pub(super) async fn bring(reach: &impl Reach, files: &[Place]) -> Result<(), Failure> {
    let pending: Vec<String> = files.iter().map(Place::pending).collect();
    let remove = ["rm", "-f"].into_iter().chain(pending.iter().map(String::as_str)).collect::<Vec<_>>();
    must(reach, "make /etc/pinion", &["mkdir", "-p", CONFIGURATION_DIRECTORY], b"", SHORT).await?;
    // What an interrupted try left may still be written to by it; a new file is not.
    must(reach, "remove what an interrupted install left", &remove, b"", SHORT).await?;
    for (place, pending) in files.iter().zip(&pending) {
        if let Err(failure) = push(reach, &place.file, pending).await {
            // What did arrive is of no use, and takes the room that the next try needs.
            drop(reach.run(&remove, b"", SHORT).await);
            return Err(match failure.cause {
                Cause::NoSpace => {
                    Failure::new(Cause::NoSpace, format!("{failure}; the existing agent was not changed"))
                }
                _ => failure,
            });
        }
    }
    let arrived = sums(reach, pending.iter().map(String::as_str)).await?;
    let broken = files.iter().zip(&pending).find(|(place, pending)| arrived.get(*pending) != Some(&place.file.sha256));
    let Some((Place { to, .. }, pending)) = broken else { return Ok(()) };
    let full = is_disk_full(reach, pending).await;
    drop(reach.run(&remove, b"", SHORT).await);
    let (cause, why) = if full { (Cause::NoSpace, ": its disk is full") } else { (Cause::Unexpected, "") };
    let text = format!("{to} did not arrive complete in {}{why}; the existing agent was not changed", reach.guest());
    Err(Failure::new(cause, text))
}

/// Copies a file within the guest so that the name has the old one or the whole new one.
async fn copy(reach: &impl Reach, from: &str, to: &str) -> Result<(), Failure> {
    let pending = format!("{to}{COPYING}");
    must(reach, &format!("copy {from}"), &["cp", "-f", "-p", from, &pending], b"", SHORT).await?;
    rename(reach, &pending, to).await
}

/// Gives a whole file its name, in one step.
pub(super) async fn rename(reach: &impl Reach, from: &str, to: &str) -> Result<(), Failure> {
    must(reach, &format!("put {to} in place"), &["mv", "-f", from, to], b"", SHORT).await.map(drop)
}

/// Not [`PENDING`]: a copy is made while the new binary waits under that.
pub(super) const COPYING: &str = ".pinion-copy";

/// The SHA-256 of each of these files that there is.
pub(super) async fn sums<'p>(
    reach: &impl Reach,
    paths: impl Iterator<Item = &'p str>,
) -> Result<BTreeMap<String, String>, Failure> {
    let arguments: Vec<&str> = iter::once("sha256sum").chain(paths).collect();
    let output = reach.run(&arguments, b"", SUM_TIME).await?;
    if output.is_missing() {
        return Err(lacks(reach.guest(), &arguments));
    }
    // It fails when one is missing, and has a line for each of the others: the sum, two spaces, the path.
    let line = |line: &str| line.split_once("  ").map(|(sum, path)| (path.to_owned(), sum.to_owned()));
    Ok(output.stdout.lines().filter_map(line).collect())
}

/// Reading six megabytes on a busy disk.
const SUM_TIME: Duration = Duration::from_secs(60);

/// Whether nothing is free where a file was cut off, of which nobody has said why.
async fn is_disk_full(reach: &impl Reach, at: &str) -> bool {
    let asked = reach.run(&["df", "-P", "-k", at], b"", SHORT).await;
    // A line of titles, and then: file system, size, used, available (POSIX df -P).
    let available = asked
        .ok()
        .and_then(|output| output.stdout.lines().nth(1)?.split_ascii_whitespace().nth(3)?.parse::<u64>().ok());
    available.is_some_and(|kib| kib < 64)
}
