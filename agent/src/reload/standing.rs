//! What becomes of a service that was notified, as its manager says: systemd of a unit, docker of a container.
//!
//! Answers: is it worth waiting for a service that does not answer? Invariant: a manager that cannot be asked says nothing,
//! and then the clock decides.

use std::time::Duration;

use super::{
    About, ReloadError,
    docker::{Docker, State},
    systemd::{Phase, Systemctl},
    unit::CrashWatch,
};
use crate::{config::Config, recipe::ReloadAction};

/// What the manager of a service says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It has none that could be asked.
    Unknown,
    /// It is starting; its manager says when that has taken too long.
    Starting,
    /// It runs, and was started so long ago, if the manager says so.
    Up(Option<Duration>),
    /// It will not come back by itself: why, to be put after its name.
    Down(String),
}

/// Asks the manager of one service, again and again.
pub struct Manager<'a> {
    config: &'a Config,
    about: &'a About,
    action: Option<&'a ReloadAction>,
    watch: CrashWatch,
}

impl<'a> Manager<'a> {
    /// The manager of the service that this action notifies.
    #[must_use]
    pub fn of(config: &'a Config, about: &'a About, action: Option<&'a ReloadAction>) -> Self {
        Self { config, about, action, watch: CrashWatch::default() }
    }

    /// What it says now.
    pub async fn ask(&mut self) -> Standing {
        match self.action {
            Some(ReloadAction::Reload(unit) | ReloadAction::Restart(unit)) => {
                let Ok(Some(systemctl)) = Systemctl::find(self.config, self.about) else { return Standing::Unknown };
                let Ok(state) = systemctl.state(unit).await else { return Standing::Unknown };
                if let Some(why) = self.watch.crashed(&state) {
                    return Standing::Down(format!("{unit} {why}"));
                }
                match state.phase {
                    Phase::Running => Standing::Up(state.age),
                    Phase::Starting | Phase::Stopping => Standing::Starting,
                    Phase::Failed | Phase::Crashed => Standing::Down(format!("{unit} has failed")),
                    Phase::Off => Standing::Down(format!("{unit} is not running")),
                    Phase::Unknown(_) => Standing::Unknown,
                }
            }
            Some(ReloadAction::RestartContainer(container)) => {
                let Ok(docker) = Docker::find(self.config, self.about).await else { return Standing::Unknown };
                match docker.state(container).await {
                    Ok(State::Running) => Standing::Up(None),
                    Ok(State::Restarting) => Standing::Down(format!("the container {container} ends again and again")),
                    // It is the container that is not there, and not dockerd.
                    Err(ReloadError::NotThere { what, why }) if what != "dockerd" => {
                        Standing::Down(format!("{what} {why}"))
                    }
                    Err(_) => Standing::Unknown,
                }
            }
            _ => Standing::Unknown,
        }
    }
}
