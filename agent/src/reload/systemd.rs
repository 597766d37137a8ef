//! What systemd says of a unit, by `systemctl show`.
//!
//! Answers: does the unit run, is it starting, does it crash again and again, and how long may it take?
//! Invariant: properties are read as systemd prints them (org.freedesktop.systemd1(5)); one that an older systemd does not
//! have is as good as one that says nothing.

use std::{collections::HashMap, ffi::OsString, path::PathBuf, time::Duration};

use pinion_proto::{id::shown, spec::Unit};
use rustix::time::{ClockId, clock_gettime};

use super::{About, ReloadError, command, program};
use crate::config::Config;

/// What is asked for.
const PROPERTIES: &str = "--property=LoadState,ActiveState,SubState,NRestarts,InactiveExitTimestampMonotonic,\
                          TimeoutStartUSec,TimeoutStopUSec";

/// What a unit does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Phase {
    Running,
    /// By itself, by a person or by Pinion.
    Starting,
    /// It ended while it was to run, and systemd starts it again after its pause (`auto-restart`).
    Crashed,
    Failed,
    /// It is being stopped, perhaps to be started again.
    Stopping,
    /// It does not run, and nobody starts it.
    Off,
    /// There is no such unit: its state, in systemd's word.
    Unknown(String),
}

/// A unit, as systemd has it at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UnitState {
    pub(super) phase: Phase,
    /// How often systemd has started it again by itself since somebody started it.
    pub(super) restarts: u32,
    /// How long ago it was started.
    pub(super) age: Option<Duration>,
    /// How long it may take to start, and to stop; none: for ever.
    start: Option<Duration>,
    stop: Option<Duration>,
}

/// For ever is no longer than this for the agent.
const FOR_EVER: Duration = Duration::from_secs(60 * 60);

/// What `systemctl` itself needs beside the unit.
const MARGIN: Duration = Duration::from_secs(5);

impl UnitState {
    /// From the output of `systemctl show`; `now` is the monotonic clock.
    fn read(output: &str, now: Duration) -> Self {
        let properties: HashMap<&str, &str> = output.lines().filter_map(|line| line.split_once('=')).collect();
        let text = |name| properties.get(name).copied().unwrap_or_default().trim();
        let phase = match (text("ActiveState"), text("SubState")) {
            _ if !matches!(text("LoadState"), "loaded" | "") => Phase::Unknown(shown(text("LoadState"))),
            ("active" | "reloading" | "refreshing", _) => Phase::Running,
            ("activating", sub) if sub.starts_with("auto-restart") => Phase::Crashed,
            ("activating", _) => Phase::Starting,
            ("failed", _) => Phase::Failed,
            ("deactivating", _) => Phase::Stopping,
            ("inactive" | "maintenance", _) => Phase::Off,
            (other, _) => Phase::Unknown(shown(other)),
        };
        let started = text("InactiveExitTimestampMonotonic").parse().ok().filter(|started| *started > 0);
        Self {
            phase,
            restarts: text("NRestarts").parse().unwrap_or(0),
            age: started.map(|started| now.saturating_sub(Duration::from_micros(started))),
            start: span(text("TimeoutStartUSec")),
            stop: span(text("TimeoutStopUSec")),
        }
    }

    /// How long systemd may need to start it again or to reload it, with what is left of its stopping before.
    pub(super) fn patience(&self) -> Duration {
        let limit = |span: Option<Duration>| span.unwrap_or(FOR_EVER).min(FOR_EVER);
        limit(self.start) + limit(self.stop) + MARGIN
    }
}

/// A length of time as systemd prints it: `1min 30s`, or `infinity`, which is none.
fn span(text: &str) -> Option<Duration> {
    humantime::parse_duration(text).ok()
}

/// A systemd that runs.
pub(super) struct Systemctl<'a> {
    config: &'a Config,
    about: &'a About,
    program: PathBuf,
}

impl<'a> Systemctl<'a> {
    /// None where systemd does not run: the test that `sd_booted(3)` makes.
    ///
    /// # Errors
    /// It runs, and `systemctl` is not there.
    pub(super) fn find(config: &'a Config, about: &'a About) -> Result<Option<Self>, ReloadError> {
        if !config.root.join("run/systemd/system").is_dir() {
            return Ok(None);
        }
        let program = program::find(&config.root, "systemctl").ok_or_else(|| ReloadError::NotThere {
            what: "systemctl".into(),
            why: "is not installed, although systemd runs".into(),
        })?;
        Ok(Some(Self { config, about, program }))
    }

    /// What it says of a unit now.
    ///
    /// # Errors
    /// It cannot be asked.
    pub(super) async fn state(&self, unit: &Unit) -> Result<UnitState, ReloadError> {
        let what = format!("systemctl show {unit}");
        let arguments = ["show".into(), PROPERTIES.into(), unit.as_str().into()];
        let output = self.call(what, &arguments, self.config.hook_timeout).await?;
        let now = clock_gettime(ClockId::Monotonic);
        let now = Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0));
        Ok(UnitState::read(&output, now))
    }

    /// Has it do something with a unit, and waits until that is done.
    ///
    /// # Errors
    /// It fails, or takes longer than `patience`.
    pub(super) async fn run(&self, verb: &str, unit: &Unit, patience: Duration) -> Result<(), ReloadError> {
        let what = format!("systemctl {verb} {unit}");
        self.call(what, &["--no-ask-password".into(), verb.into(), unit.as_str().into()], patience).await.map(drop)
    }

    async fn call(&self, what: String, arguments: &[OsString], patience: Duration) -> Result<String, ReloadError> {
        let environment = self.about.environment(self.config);
        command::call(what, &self.program, arguments, &environment, patience, command::Pipes::default()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(output: &str) -> UnitState {
        UnitState::read(output, Duration::from_secs(100))
    }

    #[test]
    fn a_units_state_is_told_by_three_words() {
        for (load, active, sub, phase) in [
            ("loaded", "active", "running", Phase::Running),
            ("loaded", "reloading", "reload", Phase::Running),
            ("loaded", "activating", "start-pre", Phase::Starting),
            ("loaded", "activating", "start", Phase::Starting),
            ("loaded", "activating", "start-post", Phase::Starting),
            ("loaded", "activating", "auto-restart", Phase::Crashed),
            ("loaded", "activating", "auto-restart-queued", Phase::Crashed),
            ("loaded", "failed", "failed", Phase::Failed),
            ("loaded", "inactive", "dead", Phase::Off),
            ("loaded", "deactivating", "stop-sigterm", Phase::Stopping),
            ("not-found", "inactive", "dead", Phase::Unknown("not-found".into())),
            ("masked", "inactive", "dead", Phase::Unknown("masked".into())),
            ("", "", "", Phase::Unknown(String::new())),
        ] {
            let state = read(&format!("LoadState={load}\nActiveState={active}\nSubState={sub}\n"));
            assert_eq!(state.phase, phase, "{load} {active} {sub}");
        }
    }

    #[test]
    fn the_units_own_limits_decide_and_for_ever_is_an_hour() {
        let state = read(
            "ActiveState=active\nNRestarts=3\nInactiveExitTimestampMonotonic=90000000\nTimeoutStartUSec=1min 30s\n\
             TimeoutStopUSec=10s\n",
        );
        assert_eq!((state.restarts, state.age), (3, Some(Duration::from_secs(10))));
        assert_eq!(state.patience(), Duration::from_secs(90 + 10) + MARGIN);
        let state = read(
            "ActiveState=active\nInactiveExitTimestampMonotonic=0\nTimeoutStartUSec=infinity\nTimeoutStopUSec=1s\n",
        );
        assert_eq!((state.restarts, state.age), (0, None));
        assert_eq!(state.patience(), FOR_EVER + Duration::from_secs(1) + MARGIN);
    }
}
