//! Having systemd start both daemons.
//!
//! Invariant: `systemctl` gets fixed arguments, no shell, and a limited time.

use std::{path::Path, process::Stdio, time::Duration};

use pinion_proto::{
    printable::line,
    process::{self, Ending, Keep, Output, end_group},
};

/// Both units, in the order in which they start.
pub const UNITS: [&str; 2] = ["pinion-channel.service", "pinion.service"];

/// There as long as systemd runs (sd_booted(3)).
const BOOTED: &str = "/run/systemd/system";

/// Where it is.
const PROGRAMS: [&str; 2] = ["/usr/bin/systemctl", "/bin/systemctl"];

/// Both units notify systemd when they are ready; a slow start has 90 s (DefaultTimeoutStartSec= of systemd-system.conf(5)).
const PATIENCE: Duration = Duration::from_secs(200);

/// What systemctl complains is a few lines.
const MAX_OUTPUT: usize = 64 * 1024;

/// The longest complaint that is shown (characters).
const MAX_SHOWN: usize = 600;

/// Whether the units of this root are systemd's, which runs.
#[must_use]
pub fn are_systemds(root: &Path) -> bool {
    root == Path::new("/") && Path::new(BOOTED).is_dir()
}

/// Has both units started now and at each boot. With `anew`, a daemon that runs already is started again, because it does not
/// know the new settings.
///
/// # Errors
/// systemd does not; in words.
pub async fn start(anew: bool) -> Result<(), String> {
    systemctl(&[&["enable"], UNITS.as_slice()].concat()).await?;
    systemctl(&[&[if anew { "restart" } else { "start" }], UNITS.as_slice()].concat()).await
}

async fn systemctl(arguments: &[&str]) -> Result<(), String> {
    let what = format!("`systemctl {}`", arguments.join(" "));
    let program = PROGRAMS.iter().map(Path::new).find(|program| program.is_file());
    let program = program.ok_or_else(|| format!("{what}: there is no systemctl"))?;
    let environment = [("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), ("LC_ALL", "C")];
    let spawned = process::spawn(program, arguments, environment, Stdio::null()).await;
    let mut child = spawned.map_err(|error| format!("cannot start {what}: {error}"))?;
    let (mut out, mut err) = (Output::new(Keep::First(MAX_OUTPUT)), Output::new(Keep::First(MAX_OUTPUT)));
    match process::talk(&mut child, b"", [&mut out, &mut err], PATIENCE, end_group).await {
        Ok(Ending::Exited(status)) if status.success() => Ok(()),
        Ok(Ending::Exited(status)) => {
            let complaint = String::from_utf8_lossy(&err.into_bytes()).trim().replace('\n', " / ");
            Err(format!("{what} failed ({status}): {}", line(&complaint, MAX_SHOWN)))
        }
        Ok(Ending::TimedOut | Ending::TooMuch) => Err(format!("{what} did not end within {} s", PATIENCE.as_secs())),
        Err(error) => Err(format!("cannot wait for {what}: {error}")),
    }
}
