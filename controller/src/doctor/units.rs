//! This host's units, as systemd tells of them.
//!
//! Invariant: each remedy can be typed as it is written, and mends what it is for, or shows what keeps it from being mended.

use std::{collections::BTreeMap, path::Path, time::Duration};

use pinion_proto::id::Guest;
use rustix::time::{ClockId, clock_gettime};

use super::{
    answers::Answers,
    host::BOUNDS,
    report::{Area, Findings},
};
use crate::{
    config,
    setup::services::{UNITS, are_systemds},
    system_program::run,
};

const AREA: Area = Area::Programs;

/// The unit of the agent that takes care of this host's own services, where there is one.
const AGENT: &str = "pinion-agent.service";

/// A daemon that was restarted so often since it was started by a person does not work.
const MANY_RESTARTS: u32 = 5;

/// One that has run for so long since the last restart does.
const STEADY: Duration = Duration::from_secs(24 * 60 * 60);

/// Where systemd has the units of packages (systemd.unit(5)).
const SHIPPED: [&str; 2] = ["/usr/lib/systemd/system/", "/lib/systemd/system/"];

/// What systemd is asked for (systemctl(1), `show`).
const PROPERTIES: &str = "--property=LoadState,ActiveState,SubState,NRestarts,UnitFileState,FragmentPath,DropInPaths,\
                          NeedDaemonReload,ActiveEnterTimestampMonotonic";

pub(super) async fn check(root: &Path, answers: &Answers, found: &mut Findings) {
    if !are_systemds(root) {
        return found.skipped(AREA, "systemd does not run Pinion here: nobody tells how its daemons are.");
    }
    let is_set_up = config::path(root).exists();
    let is_agent_needed =
        answers.status.as_ref().is_ok_and(|status| status.guests.iter().any(|guest| guest.guest == Guest::Host));
    for unit in UNITS.into_iter().chain([AGENT]) {
        match run("systemctl", &["show", PROPERTIES, unit], BOUNDS).await {
            Ok(text) => {
                let state = State::parse(&text);
                // Where Pinion takes care of guests alone, the host needs no agent.
                if unit == AGENT && state.active != "active" && !is_agent_needed {
                    continue;
                }
                state.judge(unit, is_set_up || unit == AGENT, uptime(), found);
            }
            Err(why) => found.skipped(AREA, format!("{why}.")),
        }
    }
}

/// How long this host has run.
fn uptime() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::from_secs(u64::try_from(now.tv_sec).unwrap_or_default())
}

/// What systemd says of a unit.
struct State<'t> {
    load: &'t str,
    active: &'t str,
    sub: &'t str,
    restarts: u32,
    enabled: &'t str,
    /// The unit's file, and files that change what is in it.
    file: &'t str,
    changes: &'t str,
    is_unread: bool,
    /// Since when it is active, counted from the host's start.
    since: Duration,
}

impl<'t> State<'t> {
    fn parse(text: &'t str) -> Self {
        let said: BTreeMap<&str, &str> = text.lines().filter_map(|line| line.split_once('=')).collect();
        let of = |name: &str| said.get(name).copied().unwrap_or_default();
        Self {
            load: of("LoadState"),
            active: of("ActiveState"),
            sub: of("SubState"),
            restarts: of("NRestarts").parse().unwrap_or_default(),
            enabled: of("UnitFileState"),
            file: of("FragmentPath"),
            changes: of("DropInPaths"),
            is_unread: of("NeedDaemonReload") == "yes",
            since: Duration::from_micros(of("ActiveEnterTimestampMonotonic").parse().unwrap_or_default()),
        }
    }

    fn judge(&self, unit: &str, is_set_up: bool, uptime: Duration, found: &mut Findings) {
        match self.load {
            "not-found" => {
                let package = if unit == AGENT { "pinion-agent" } else { "pinion" };
                let remedy = format!("install the package {package}");
                return found.problem(AREA, format!("There is no unit {unit}."), remedy);
            }
            "masked" => {
                let remedy = format!("run `systemctl unmask {unit}` and `systemctl enable --now {unit}`");
                return found.problem(AREA, format!("{unit} is masked, so it cannot be started."), remedy);
            }
            "loaded" => {}
            other => {
                let remedy = format!(
                    "`systemctl status {unit}` shows what is wrong in it; `systemctl revert {unit}` goes back to the \
                     packaged unit"
                );
                return found.problem(AREA, format!("systemd cannot load {unit}: it is {other}."), remedy);
            }
        }
        self.changed(unit, found);
        let is_disabled = self.enabled == "disabled";
        if self.active != "active" {
            let (state, sub) = (self.active, self.sub);
            let remedy = match (state, is_disabled) {
                _ if !is_set_up => "run `pinion setup`".to_owned(),
                // systemd starts it again by itself, and again.
                ("activating" | "deactivating" | "reloading", _) => {
                    format!("`journalctl -u {unit} -n 50` shows why it does not stay up")
                }
                (_, true) => {
                    format!("run `systemctl enable --now {unit}`; `journalctl -u {unit} -n 50` shows why it ended")
                }
                (_, false) => format!("run `systemctl start {unit}`; `journalctl -u {unit} -n 50` shows why it ended"),
            };
            return found.problem(AREA, format!("{unit} does not run: it is {state} ({sub})."), remedy);
        }
        if self.restarts >= MANY_RESTARTS && uptime.saturating_sub(self.since) < STEADY {
            let remedy = format!("`journalctl -u {unit}` shows why it ended each time");
            return found.problem(AREA, format!("{unit} runs, and was restarted {} times.", self.restarts), remedy);
        }
        if is_disabled {
            let message = format!("{unit} runs, but does not start with this host.");
            return found.problem(AREA, message, format!("run `systemctl enable {unit}`"));
        }
        found.good(AREA, format!("{unit} runs."));
    }

    /// What is not as the package has it.
    fn changed(&self, unit: &str, found: &mut Findings) {
        if self.is_unread {
            let message = format!("{unit} was changed on disk, and systemd still uses what it was before.");
            found.problem(AREA, message, format!("run `systemctl daemon-reload` and `systemctl restart {unit}`"));
        }
        let is_shipped = SHIPPED.iter().any(|directory| self.file.starts_with(directory));
        if !is_shipped && !self.file.is_empty() {
            let message =
                format!("{} is in force instead of the packaged unit, and upgrades do not change it.", self.file);
            found.note(AREA, message, format!("`systemctl revert {unit}` goes back to the packaged unit"));
        }
        if !self.changes.is_empty() {
            let files = self.changes.split_whitespace().collect::<Vec<_>>().join(", ");
            found.note(AREA, format!("{unit} has settings of this host's own: {files}."), None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::report::Level, *};

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn told(text: &str, is_set_up: bool) -> Vec<(Level, String)> {
        let mut found = Findings::default();
        State::parse(text).judge("pinion.service", is_set_up, DAY * 3, &mut found);
        let words = |remedy: Option<String>| remedy.unwrap_or_default();
        found.0.into_iter().map(|one| (one.level, format!("{} {}", one.message, words(one.remedy)))).collect()
    }

    #[test]
    fn a_unit_is_good_only_if_it_runs_stays_and_comes_back() {
        let good = "LoadState=loaded\nActiveState=active\nSubState=running\nNRestarts=0\nUnitFileState=enabled\n\
                    FragmentPath=/lib/systemd/system/pinion.service\nDropInPaths=\nNeedDaemonReload=no\n\
                    ActiveEnterTimestampMonotonic=172800000001\n";
        assert_eq!(told(good, true), [(Level::Good, "pinion.service runs. ".to_owned())]);
        for (from, to, says) in [
            ("LoadState=loaded", "LoadState=not-found", "install the package pinion"),
            // systemd says of a masked unit that it is inactive, too.
            ("=loaded\nActiveState=active", "=masked\nActiveState=inactive", "systemctl unmask"),
            ("LoadState=loaded", "LoadState=bad-setting", "systemctl revert pinion.service"),
            ("=active", "=failed", "it is failed (running). run `systemctl start pinion.service`"),
            ("=active", "=activating", "shows why it does not stay up"),
            ("NRestarts=0", "NRestarts=5", "was restarted 5 times"),
            ("=enabled", "=disabled", "run `systemctl enable pinion.service`"),
            ("NeedDaemonReload=no", "NeedDaemonReload=yes", "run `systemctl daemon-reload` and `systemctl restart"),
        ] {
            let said = told(&good.replace(from, to), true);
            assert!(said[0].0 == Level::Problem && said[0].1.contains(says), "{to}: {said:?}");
        }
        let stopped = good.replace("=active", "=inactive");
        assert!(told(&stopped, false)[0].1.ends_with("run `pinion setup`"));
        assert!(told(&stopped.replace("=enabled", "=disabled"), true)[0].1.contains("systemctl enable --now"));
        // Few restarts, or many of them days ago.
        let often = good.replace("NRestarts=0", "NRestarts=4");
        assert_eq!(told(&often, true)[0].0, Level::Good);
        let once = good.replace("NRestarts=0", "NRestarts=9").replace("=172800000001", "=172800000000");
        assert_eq!(told(&once, true)[0].0, Level::Good);
    }

    #[test]
    fn what_is_not_as_packaged_is_a_note() {
        let changed = "LoadState=loaded\nActiveState=active\nUnitFileState=enabled\n\
                       FragmentPath=/etc/systemd/system/pinion.service\n\
                       DropInPaths=/etc/systemd/system/pinion.service.d/a.conf /run/systemd/system/pinion.service.d/b.conf\n";
        let said = told(changed, true);
        let levels: Vec<_> = said.iter().map(|(level, _)| *level).collect();
        assert_eq!(levels, [Level::Note, Level::Note, Level::Good], "{said:?}");
        assert!(said[0].1.contains("`systemctl revert pinion.service`"), "{said:?}");
        assert!(said[1].1.contains("a.conf, /run/systemd/system/pinion.service.d/b.conf."), "{said:?}");
    }
}
