//! Taking the agent out of a guest: its program, its unit, its identity and what it remembers.
//!
//! Answers: what of Pinion's own is in this guest, and is it gone?
//! Invariants: the paths are constants, none of them has a certificate or key of a service below it, and nothing is removed
//! that a person wrote or that was there before Pinion. The agent is stopped first, so that it writes nothing any more, and
//! its identity is removed next. Each step is safe to repeat; what a try that was cut off has left, the next one removes.

use std::time::Duration;

use super::{
    install::{
        CONFIGURATION, CONFIGURATION_DIRECTORY, COPYING, OPENRC_SCRIPT, PENDING, PREVIOUS, Place, START_SCRIPT, UNIT,
        bring, rename, sums,
    },
    look::{AGENT, IDENTITY, OPENRC, SYSTEMD, init, there},
    package::Package,
    protocol::{Cause, Failure, Init, Removed},
    reach::{Reach, SHORT, must},
};

/// What dpkg knows of the agent, where it was installed as a Debian package.
const DPKG_LIST: &str = "/var/lib/dpkg/info/pinion-agent.list";

/// The agent's own directory, where its configuration does not put it elsewhere.
const STATE: &str = "/var/lib/pinion-agent";

/// Files that were in the place of Pinion's before: the guest's, not Pinion's.
const REPLACED: &str = "/var/lib/pinion-agent/replaced";

/// Everything else in the agent's directory; the identity goes first.
const REMEMBERED: [&str; 8] = [
    "/var/lib/pinion-agent/links",
    "/var/lib/pinion-agent/.links.pinion-new",
    "/var/lib/pinion-agent/controllers.json",
    "/var/lib/pinion-agent/.controllers.json.pinion-new",
    "/var/lib/pinion-agent/restarts.json",
    "/var/lib/pinion-agent/.restarts.json.pinion-new",
    "/var/lib/pinion-agent/placements",
    "/var/lib/pinion-agent/lock",
];

/// Where the agent listened; where systemd or OpenRC stops it, they remove it.
const RUNTIME: &str = "/run/pinion-agent";

/// Written by [`START_SCRIPT`].
const PID_FILE: &str = "/run/pinion-agent.pid";

/// What the agent said, where no journal has it.
const LOG: &str = "/var/log/pinion-agent.log";

/// Until the service manager has stopped the agent, which finishes its work first.
const STOP_TIME: Duration = Duration::from_secs(90);

/// Stops the agent, and removes what Pinion brought into the guest for itself.
pub(super) async fn remove(reach: &impl Reach, package: &Package) -> Result<Removed, Failure> {
    let ours = ours();
    let paths: Vec<&str> = ours.iter().map(String::as_str).collect();
    let asked = [&[SYSTEMD, OPENRC, DPKG_LIST, CONFIGURATION, REPLACED, IDENTITY], paths.as_slice()].concat();
    let found = there(reach, &asked).await?;
    if found.contains(&DPKG_LIST) {
        let text = format!(
            "the agent in {} is the Debian package pinion-agent, which Pinion does not remove from outside",
            reach.guest()
        );
        return Err(Failure::new(Cause::Packaged, text));
    }
    let was_there = [AGENT, UNIT, OPENRC_SCRIPT, START_SCRIPT, IDENTITY].iter().any(|path| found.contains(path));
    let init = init(&found);
    stop(reach, init, &found, package).await?;
    let identity = [IDENTITY, "/var/lib/pinion-agent/.identity.json.pinion-new"];
    gone(reach, "remove the agent's identity", &["-f"], &identity).await?;
    gone(reach, "remove the agent", &["-f"], &paths.iter().copied().filter(|path| *path != STATE).collect::<Vec<_>>())
        .await?;
    let state: &[&str] = if found.contains(&REPLACED) { &REMEMBERED } else { &[STATE] };
    gone(reach, "remove the agent's state", &["-r", "-f"], &[state, &[RUNTIME, PID_FILE]].concat()).await?;
    if as_packaged(reach, package, &found).await? {
        gone(reach, "remove the agent's configuration", &["-f"], &[CONFIGURATION]).await?;
    }
    // It stays where a person has put something into it.
    drop(reach.run(&["rmdir", CONFIGURATION_DIRECTORY], b"", SHORT).await?);
    if init == Init::Systemd {
        must(reach, "reload systemd's units", &["systemctl", "daemon-reload"], b"", SHORT).await?;
        // systemd remembers a unit that has failed, also without its file.
        drop(reach.run(&["systemctl", "reset-failed", "pinion-agent.service"], b"", SHORT).await?);
    }
    let left =
        there(reach, &[paths.as_slice(), &[REPLACED, CONFIGURATION, CONFIGURATION_DIRECTORY, LOG]].concat()).await?;
    if let Some(path) = left.iter().find(|path| paths.contains(path) && **path != STATE) {
        let text = format!("{path} is in {} again after it was removed: something there puts it back", reach.guest());
        return Err(Failure::new(Cause::Unexpected, text));
    }
    Ok(Removed { was_there, kept: kept(&left) })
}

/// All that an install may have put into a guest, but for the configuration.
fn ours() -> Vec<String> {
    let places = [UNIT, OPENRC_SCRIPT, START_SCRIPT, AGENT, PREVIOUS, CONFIGURATION];
    let unfinished = places.iter().flat_map(|place| [format!("{place}{PENDING}"), format!("{place}{COPYING}")]);
    let places = places.iter().filter(|place| **place != CONFIGURATION).map(|place| (*place).to_owned());
    places.chain(unfinished).chain([STATE.to_owned()]).collect()
}

/// Of what is left, the outermost that a person may want to look at.
fn kept(left: &[&str]) -> Vec<String> {
    let outer = |path: &&&str| match **path {
        STATE => !left.contains(&REPLACED),
        CONFIGURATION_DIRECTORY => !left.contains(&CONFIGURATION),
        _ => true,
    };
    left.iter().filter(outer).map(|path| (*path).to_owned()).collect()
}

/// Has the agent stopped, and not started again at the next boot.
async fn stop(reach: &impl Reach, init: Init, found: &[&str], package: &Package) -> Result<(), Failure> {
    match init {
        Init::Systemd if found.contains(&UNIT) => {
            let disable = ["systemctl", "disable", "--now", "pinion-agent.service"];
            must(reach, "stop pinion-agent.service", &disable, b"", STOP_TIME).await?;
        }
        // Its file may be gone since an earlier try, and the agent still run.
        Init::Systemd => {
            drop(reach.run(&["systemctl", "stop", "pinion-agent.service"], b"", STOP_TIME).await?);
        }
        Init::OpenRc if found.contains(&OPENRC_SCRIPT) => {
            let stop = ["rc-service", "pinion-agent", "stop"];
            must(reach, "stop pinion-agent", &stop, b"", STOP_TIME).await?;
            // It fails when the service is in no runlevel.
            drop(reach.run(&["rc-update", "del", "pinion-agent", "default"], b"", SHORT).await?);
        }
        Init::Other if found.contains(&AGENT) => {
            // The script of an earlier version would start the agent.
            let script = [Place { file: package.start_script()?, to: START_SCRIPT }];
            bring(reach, &script).await?;
            for place in &script {
                rename(reach, &place.pending(), place.to).await?;
            }
            must(reach, "stop the agent", &[START_SCRIPT, "stop"], b"", STOP_TIME).await?;
        }
        Init::OpenRc | Init::Other => {}
    }
    Ok(())
}

/// Removes these, which may be gone already.
async fn gone(reach: &impl Reach, attempt: &str, how: &[&str], paths: &[&str]) -> Result<(), Failure> {
    let arguments = [&["rm"], how, paths].concat();
    must(reach, attempt, &arguments, b"", SHORT).await.map(drop)
}

/// Whether the guest's configuration says what the package's does: then nobody has written anything into it. Without a
/// package, nobody knows.
async fn as_packaged(reach: &impl Reach, package: &Package, found: &[&str]) -> Result<bool, Failure> {
    let (true, Ok(packaged)) = (found.contains(&CONFIGURATION), package.configuration()) else { return Ok(false) };
    Ok(sums(reach, [CONFIGURATION].into_iter()).await?.get(CONFIGURATION) == Some(&packaged.sha256))
}
