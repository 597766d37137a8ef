//! Bringing the packaged agent in, and putting the former one back.
//!
//! Invariants: a file is complete, checked by its SHA-256 and has its mode before it gets its name; until then what was
//! there works on. Each step is safe to repeat, and all of them together.

use std::time::Duration;

use super::{
    look::{AGENT, architecture, ask_init, there},
    package::{Package, PackagedFile},
    protocol::{Cause, Failure, Init},
    reach::{Output, Reach, SHORT, must},
};

/// The agent that the last install replaced.
const PREVIOUS: &str = "/usr/bin/pinion-agent.previous";

/// The guest's own word on what the agent may do: brought in once, never replaced.
const CONFIGURATION: &str = "/etc/pinion/agent.toml";

const CONFIGURATION_DIRECTORY: &str = "/etc/pinion";
const UNIT: &str = "/etc/systemd/system/pinion-agent.service";
const OPENRC_SCRIPT: &str = "/etc/init.d/pinion-agent";
const START_SCRIPT: &str = "/etc/pinion/start-agent";

/// A file that is not complete yet has this at its end.
const PENDING: &str = ".pinion-new";

/// Until the service manager has stopped one agent, which finishes its work first, and started the other.
const RESTART_TIME: Duration = Duration::from_secs(90);

/// Brings in what is packaged for this guest, and starts it.
pub(super) async fn install(reach: &impl Reach, package: &Package) -> Result<(), Failure> {
    let binary = package.binary(&architecture(reach).await?)?;
    let init = ask_init(reach).await?;
    let (service, place_of_service) = match init {
        Init::Systemd => (package.unit()?, UNIT),
        Init::OpenRc => (package.open_rc()?, OPENRC_SCRIPT),
        Init::Other => (package.start_script()?, START_SCRIPT),
    };
    must(reach, "make /etc/pinion", &["mkdir", "-p", CONFIGURATION_DIRECTORY], b"", SHORT).await?;
    if there(reach, &[CONFIGURATION]).await?.is_empty() {
        put(reach, &package.configuration()?, CONFIGURATION).await?;
    }
    if !is_there(reach, &service, place_of_service).await? {
        put(reach, &service, place_of_service).await?;
    }
    // The program is the last: all that it needs is there when it gets its name.
    if !is_there(reach, &binary, AGENT).await? {
        bring(reach, &binary, AGENT).await?;
        if !there(reach, &[AGENT]).await?.is_empty() {
            copy(reach, AGENT, PREVIOUS).await?;
        }
        name(reach, AGENT).await?;
    }
    start(reach, init).await
}

/// Puts the agent back that was there before the last install, and starts it.
pub(super) async fn restore(reach: &impl Reach) -> Result<(), Failure> {
    if there(reach, &[PREVIOUS]).await?.is_empty() {
        let text = format!("{} keeps no former agent at {PREVIOUS}: nothing to put back", reach.guest());
        return Err(Failure::new(Cause::Refused, text));
    }
    // A copy, so that a second try finds it still.
    copy(reach, PREVIOUS, AGENT).await?;
    let init = ask_init(reach).await?;
    start(reach, init).await
}

/// Starts the agent that is there now, in place of one that runs.
async fn start(reach: &impl Reach, init: Init) -> Result<(), Failure> {
    match init {
        Init::Systemd => {
            must(reach, "read the units anew", &["systemctl", "daemon-reload"], b"", SHORT).await?;
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

/// A whole file under its name.
async fn put(reach: &impl Reach, file: &PackagedFile, to: &str) -> Result<(), Failure> {
    bring(reach, file, to).await?;
    name(reach, to).await
}

/// A whole file beside its name.
async fn bring(reach: &impl Reach, file: &PackagedFile, to: &str) -> Result<(), Failure> {
    let pending = format!("{to}{PENDING}");
    // What an interrupted try left may still be written to by it; a new file is not.
    must(reach, &format!("remove {pending}"), &["rm", "-f", &pending], b"", SHORT).await?;
    reach.push(file, &pending).await?;
    if is_there(reach, file, &pending).await? {
        return Ok(());
    }
    let full = is_disk_full(reach, &pending).await;
    // What did arrive is of no use, and takes the room that the next try needs.
    drop(reach.run(&["rm", "-f", &pending], b"", SHORT).await);
    let (cause, why) = if full { (Cause::NoSpace, ": its disk is full") } else { (Cause::Unexpected, "") };
    let text = format!("{to} did not arrive whole in {}{why}; what was there is untouched", reach.guest());
    Err(Failure::new(cause, text))
}

/// Gives a whole file its name, in one step.
async fn name(reach: &impl Reach, to: &str) -> Result<(), Failure> {
    let pending = format!("{to}{PENDING}");
    must(reach, &format!("put {to} in place"), &["mv", "-f", &pending, to], b"", SHORT).await.map(drop)
}

/// Copies a file within the guest so that the name has the old one or the whole new one.
async fn copy(reach: &impl Reach, from: &str, to: &str) -> Result<(), Failure> {
    let pending = format!("{to}{COPYING}");
    must(reach, &format!("copy {from}"), &["cp", "-f", "-p", from, &pending], b"", SHORT).await?;
    must(reach, &format!("put {to} in place"), &["mv", "-f", &pending, to], b"", SHORT).await.map(drop)
}

/// Not [`PENDING`]: a copy is made while the new binary waits under that.
const COPYING: &str = ".pinion-copy";

/// Whether the guest has exactly these bytes there.
async fn is_there(reach: &impl Reach, file: &PackagedFile, at: &str) -> Result<bool, Failure> {
    let output: Output = reach.run(&["sha256sum", at], b"", SUM_TIME).await?;
    // `…  /path`; a file that is missing has no line.
    Ok(output.succeeded() && output.stdout.split_ascii_whitespace().next() == Some(file.sha256.as_str()))
}

/// Reading six megabytes on a busy disk.
const SUM_TIME: Duration = Duration::from_secs(60);

/// Whether nothing is free where a file was cut off: `pct push` does not say so.
async fn is_disk_full(reach: &impl Reach, at: &str) -> bool {
    let asked = reach.run(&["df", "-P", "-k", at], b"", SHORT).await;
    // A line of titles, and then: file system, size, used, available (POSIX df -P).
    let available = asked
        .ok()
        .and_then(|output| output.stdout.lines().nth(1)?.split_ascii_whitespace().nth(3)?.parse::<u64>().ok());
    available.is_some_and(|kib| kib < 64)
}
