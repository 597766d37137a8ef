//! This host's clock: is it synchronised, and if not, which program should do that?

use std::{collections::BTreeMap, path::Path};

use super::{
    host::BOUNDS,
    report::{Area, Findings},
};
use crate::{setup::services::are_systemds, system_program::run};

const AREA: Area = Area::Clock;

/// The units that synchronise a clock, each with the command that shows how it fares. Proxmox VE has chrony.
const KEEPERS: [(&str, &str); 5] = [
    ("chrony.service", "chronyc sources"),
    ("systemd-timesyncd.service", "timedatectl timesync-status"),
    ("ntpsec.service", "ntpq -p"),
    ("openntpd.service", "ntpctl -s all"),
    ("chronyd.service", "chronyc sources"),
];

const WHY: &str = "for machines whose clock is behind, new certificates are not valid yet";

pub(super) async fn check(root: &Path, found: &mut Findings) {
    if !are_systemds(root) {
        return found.skipped(AREA, "systemd does not run here: nobody tells whether the clock is synchronised.");
    }
    match run("timedatectl", &["show", "--property=NTPSynchronized", "--value"], BOUNDS).await.as_deref().map(str::trim)
    {
        Ok("yes") => found.good(AREA, "The clock is synchronised."),
        Ok(_) => {
            let units = KEEPERS.map(|(unit, _)| unit);
            let asked = [&["show", "--property=Id,LoadState,ActiveState"], units.as_slice()].concat();
            let told = run("systemctl", &asked, BOUNDS).await.unwrap_or_default();
            found.problem(AREA, "The clock is not synchronised.", remedy(&told));
        }
        Err(why) => found.skipped(AREA, format!("{why}.")),
    }
}

/// What to do, by what `systemctl show` says of the units that could synchronise the clock.
fn remedy(told: &str) -> String {
    let mut loaded = Vec::new();
    for block in told.split("\n\n") {
        let said: BTreeMap<&str, &str> = block.lines().filter_map(|line| line.split_once('=')).collect();
        let of = |name: &str| said.get(name).copied().unwrap_or_default();
        if of("LoadState") == "loaded" {
            loaded.push((of("Id"), of("ActiveState") == "active"));
        }
    }
    // Of several, one that runs; Debian lets only one be installed.
    loaded.sort_by_key(|(_, is_active)| !is_active);
    match loaded.first() {
        Some((unit, true)) => {
            let command = KEEPERS.iter().find(|(name, _)| name == unit).map_or("timedatectl", |(_, command)| command);
            format!("{unit} runs; `{command}` shows which servers answer it: {WHY}")
        }
        Some((unit, false)) => format!("run `systemctl enable --now {unit}`: {WHY}"),
        None => format!("run `apt install chrony`: {WHY}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remedy_fits_the_program_that_is_installed() {
        let unit =
            |id: &str, load: &str, active: &str| format!("Id={id}.service\nLoadState={load}\nActiveState={active}\n");
        let all = |units: &[String]| remedy(&units.join("\n"));
        let absent = unit("chrony", "not-found", "inactive");
        assert!(all(&[absent.clone(), unit("ntpsec", "masked", "inactive")]).starts_with("run `apt install chrony`"));
        let stopped = unit("systemd-timesyncd", "loaded", "failed");
        let told = all(&[absent, stopped.clone()]);
        assert!(told.starts_with("run `systemctl enable --now systemd-timesyncd.service`:"), "{told}");
        let told = all(&[stopped, unit("chrony", "loaded", "active")]);
        assert!(told.starts_with("chrony.service runs; `chronyc sources` shows"), "{told}");
        assert!(remedy("").starts_with("run `apt install chrony`"));
    }
}
