//! Having systemd start both daemons.
//!
//! Invariant: `systemctl` gets fixed arguments.

use std::{path::Path, time::Duration};

use crate::system_program::{Bounds, run};

/// Both units, in the order in which they start.
pub const UNITS: [&str; 2] = ["pinion-channel.service", "pinion.service"];

/// There as long as systemd runs (sd_booted(3)).
const BOOTED: &str = "/run/systemd/system";

/// Both units notify systemd when they are ready; a slow start has 90 s (DefaultTimeoutStartSec= of systemd-system.conf(5)).
const PATIENCE: Duration = Duration::from_secs(200);

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
    run("systemctl", arguments, Bounds { patience: PATIENCE, max: 0 }).await.map(drop)
}
