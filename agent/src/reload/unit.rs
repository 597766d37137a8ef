//! Reloading and restarting a systemd unit, or running its hook where systemd does not run.
//!
//! Invariants: a unit that does not run is not started, and one that is starting is waited for; one that has failed is
//! restarted, because it may have missed just these files. How long that takes is the unit's own matter: its timeouts decide.

use std::time::{Duration, UNIX_EPOCH};

use pinion_proto::spec::Unit;
use tokio::time::sleep;

use super::{
    About, ReloadError, command,
    hooks::Hook,
    journal,
    systemd::{Phase, Systemctl, UnitState},
};
use crate::config::Config;

/// Between two looks at a unit that is starting.
const PAUSE: Duration = Duration::from_millis(500);

/// Reloads or restarts a unit; with which verb that was done.
pub(super) async fn notify(
    config: &Config,
    verb: &'static str,
    unit: &Unit,
    about: &About,
) -> Result<&'static str, ReloadError> {
    let Some(systemctl) = Systemctl::find(config, about)? else {
        let hook = Hook::find(config, unit.as_str())?;
        return hook.run(config, format!("{unit} {verb}"), &[verb.into()], about).await.map(|()| verb);
    };
    let not_there = |why: String| Err(ReloadError::NotThere { what: unit.to_string(), why });
    let state = match systemctl.state(unit).await {
        Ok(state) => state,
        // The service has refused nothing.
        Err(error) => return not_there(format!("cannot be looked up: {error}")),
    };
    let verb = match &state.phase {
        Phase::Running => verb,
        // A service that could not start may have missed just these files.
        Phase::Failed | Phase::Crashed if verb == "restart" || about.may_restart => "restart",
        Phase::Failed | Phase::Crashed => {
            return not_there("has failed, and was restarted as often as allowed in an hour".into());
        }
        Phase::Starting => return Err(ReloadError::Starting(unit.clone())),
        Phase::Off | Phase::Stopping => return not_there("is not running".into()),
        Phase::Unknown(word) => return not_there(format!("is not known to systemd ({word})")),
    };
    let began = UNIX_EPOCH.elapsed().unwrap_or_default();
    let patience = state.patience().max(config.hook_timeout);
    let done = tokio::select! {
        done = systemctl.run(verb, unit, patience) => done,
        // systemctl waits on while systemd tries again and again.
        error = crash(&systemctl, unit), if verb == "restart" => Err(error),
    };
    match done {
        // Its own words are that it failed, and where to look.
        Err(ReloadError::Failed { what, status, output }) => {
            let output =
                journal::said(config, unit, began, about).await.map_or(output, |said| command::appended(&said));
            Err(ReloadError::Failed { what, status, output })
        }
        done => done.map(|()| verb),
    }
}

/// How long ago a unit that runs was started, where systemd has it.
pub(super) async fn age(config: &Config, unit: &Unit, about: &About) -> Result<Option<Duration>, ReloadError> {
    let Some(systemctl) = Systemctl::find(config, about)? else { return Ok(None) };
    let state = systemctl.state(unit).await?;
    Ok(state.age.filter(|_| state.phase == Phase::Running))
}

/// Ends once systemd has to start the unit again that it was to start.
async fn crash(systemctl: &Systemctl<'_>, unit: &Unit) -> ReloadError {
    let mut watch = CrashWatch::default();
    loop {
        sleep(PAUSE).await;
        // One that cannot be asked now is asked again.
        if let Ok(state) = systemctl.state(unit).await
            && let Some(why) = watch.crashed(&state)
        {
            let status = format!("the unit in a crash loop: it {why}");
            return ReloadError::Failed { what: format!("systemctl restart {unit}"), status, output: String::new() };
        }
    }
}

/// Tells from one look to the next whether a unit crashes.
#[derive(Debug, Default)]
pub(super) struct CrashWatch {
    restarts: Option<u32>,
}

impl CrashWatch {
    /// What became of a unit that does not stay up.
    pub(super) fn crashed(&mut self, state: &UnitState) -> Option<&'static str> {
        // A restart that somebody asked for sets the count back to 0.
        let grew = self.restarts.replace(state.restarts).is_some_and(|before| state.restarts > before);
        match state.phase {
            Phase::Crashed => Some("ended, and systemd is about to start it again"),
            Phase::Running | Phase::Starting if grew => Some("ended, and systemd has started it again"),
            _ => None,
        }
    }
}
