//! This host's units, versions and clock, as its own programs tell them.

use std::{collections::BTreeMap, path::Path, time::Duration};

use super::{
    answers::Answers,
    report::{Area, Findings, few},
};
use crate::{
    setup::services::{UNITS, are_systemds},
    system_program::{Bounds, find, run},
};

/// Such programs answer in milliseconds, unless the disk is at its end.
pub(crate) const BOUNDS: Bounds = Bounds { patience: Duration::from_secs(10), max: 64 * 1024 };

/// A daemon that was restarted so often since it was started by a person does not work.
const MANY_RESTARTS: u32 = 5;

pub(super) async fn units(root: &Path, found: &mut Findings) {
    const AREA: Area = Area::Programs;
    if !are_systemds(root) {
        return found.skipped(AREA, "systemd does not run Pinion here: nobody tells how its daemons are.");
    }
    for unit in UNITS {
        let properties = "--property=LoadState,ActiveState,SubState,NRestarts,UnitFileState";
        match run("systemctl", &["show", properties, unit], BOUNDS).await {
            Ok(text) => unit_state(unit, &text, found),
            Err(why) => found.skipped(AREA, format!("{why}.")),
        }
    }
}

/// What `systemctl show` says of a unit.
fn unit_state(unit: &str, text: &str, found: &mut Findings) {
    const AREA: Area = Area::Programs;
    let said: BTreeMap<&str, &str> = text.lines().filter_map(|line| line.split_once('=')).collect();
    let of = |name: &str| said.get(name).copied().unwrap_or_default();
    let restarts: u32 = of("NRestarts").parse().unwrap_or(0);
    if of("LoadState") == "not-found" {
        return found.problem(AREA, format!("There is no unit {unit}."), "install the package pinion again");
    }
    if of("ActiveState") != "active" {
        let (state, sub) = (of("ActiveState"), of("SubState"));
        let remedy = format!("run `systemctl start {unit}`; `journalctl -u {unit} -n 50` shows why it ended");
        return found.problem(AREA, format!("{unit} does not run: it is {state} ({sub})."), remedy);
    }
    if restarts >= MANY_RESTARTS {
        let remedy = format!("`journalctl -u {unit}` shows why it ended each time");
        return found.problem(AREA, format!("{unit} runs, and was restarted {restarts} times."), remedy);
    }
    match of("UnitFileState") {
        "disabled" => {
            let message = format!("{unit} runs, but does not start with this host.");
            found.problem(AREA, message, format!("run `systemctl enable {unit}`"));
        }
        "masked" => found.problem(AREA, format!("{unit} is masked."), format!("run `systemctl unmask {unit}`")),
        _ => found.good(AREA, format!("{unit} runs.")),
    }
}

pub(super) async fn versions(root: &Path, answers: &Answers, found: &mut Findings) {
    const AREA: Area = Area::Programs;
    let own = env!("CARGO_PKG_VERSION");
    let mut told = format!("This command is pinion {own}");
    if root == Path::new("/") && find("dpkg-query").is_some() {
        let packages = ["--show", "--showformat=${Package} ${Version} ${db:Status-Status}\\n", "pinion*"];
        let listed = run("dpkg-query", &packages, BOUNDS).await.unwrap_or_default();
        let installed: Vec<_> = listed.lines().filter_map(|line| line.strip_suffix(" installed")).collect();
        told += &match installed.as_slice() {
            [] => "; no package of Pinion is installed".to_owned(),
            packages => format!("; the packages are {}", packages.join(", ")),
        };
    }
    found.good(AREA, told + ".");
    let Ok(status) = &answers.status else { return };
    if status.version != own {
        let message = format!("The controller that runs is pinion {}, and this command is {own}.", status.version);
        found.problem(AREA, message, "run `systemctl restart pinion-channel pinion`");
    }
    let mut others: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for guest in &status.guests {
        if let Some(version) = guest.agent_version.as_deref().filter(|version| *version != own) {
            others.entry(version).or_default().push(guest.guest.to_string());
        }
    }
    for (version, guests) in others {
        let message = format!("Agents of version {version} run in {}.", few(&guests));
        let remedy =
            "on Proxmox, Pinion upgrades them by itself, one guest first; elsewhere, upgrade the package there";
        found.note(AREA, message, remedy.to_owned());
    }
}

pub(super) async fn clock(root: &Path, found: &mut Findings) {
    const AREA: Area = Area::Clock;
    if !are_systemds(root) {
        return found.skipped(AREA, "systemd does not run here: nobody tells whether the clock is synchronised.");
    }
    match run("timedatectl", &["show", "--property=NTPSynchronized", "--value"], BOUNDS).await.as_deref().map(str::trim)
    {
        Ok("yes") => found.good(AREA, "The clock is synchronised."),
        Ok(_) => {
            let remedy = "install chrony, or look at `chronyc tracking`: certificates are not valid yet for those whose \
                          clock is behind";
            found.problem(AREA, "The clock is not synchronised.", remedy);
        }
        Err(why) => found.skipped(AREA, format!("{why}.")),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::report::Level, *};

    fn told(text: &str) -> (Level, String) {
        let mut found = Findings::default();
        unit_state("pinion.service", text, &mut found);
        let finding = found.0.pop().expect("a finding");
        (finding.level, format!("{} {}", finding.message, finding.remedy.unwrap_or_default()))
    }

    #[test]
    fn a_unit_is_good_only_if_it_runs_stays_and_comes_back() {
        let good = "LoadState=loaded\nActiveState=active\nSubState=running\nNRestarts=0\nUnitFileState=enabled\n";
        assert_eq!(told(good).0, Level::Good);
        for (from, to, says) in [
            ("LoadState=loaded", "LoadState=not-found", "install the package"),
            (
                "ActiveState=active",
                "ActiveState=failed",
                "it is failed (running). run `systemctl start pinion.service`",
            ),
            ("NRestarts=0", "NRestarts=5", "was restarted 5 times"),
            ("=enabled", "=disabled", "systemctl enable"),
            ("=enabled", "=masked", "systemctl unmask"),
        ] {
            let (level, text) = told(&good.replace(from, to));
            assert!(level == Level::Problem && text.contains(says), "{to}: {text}");
        }
        assert_eq!(told(&good.replace("NRestarts=0", "NRestarts=4")).0, Level::Good);
    }
}
