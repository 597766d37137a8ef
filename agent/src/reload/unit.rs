//! Reloading and restarting a systemd unit, or running its hook where systemd does not run.
//!
//! Invariant: a unit that does not run is not started; one that has failed is restarted, because it may have missed just
//! these files.

use std::{ffi::OsString, time::UNIX_EPOCH};

use pinion_proto::{id::shown, spec::Unit};

use super::{About, ReloadError, command, hooks::Hook, journal, program};
use crate::config::Config;

/// Reloads or restarts a unit; with which verb that was done.
pub(super) async fn notify(
    config: &Config,
    verb: &'static str,
    unit: &Unit,
    about: &About,
) -> Result<&'static str, ReloadError> {
    // The test that sd_booted(3) makes.
    if !config.root.join("run/systemd/system").is_dir() {
        let hook = Hook::find(config, unit.as_str())?;
        return hook.run(config, format!("{unit} {verb}"), &[verb.into()], about).await.map(|()| verb);
    }
    let systemctl = program::find(&config.root, "systemctl").ok_or_else(|| ReloadError::NotThere {
        what: "systemctl".into(),
        why: "is not installed, although systemd runs".into(),
    })?;
    let call = |verb: &str| -> Vec<OsString> { vec!["--no-ask-password".into(), verb.into(), unit.as_str().into()] };
    let state = command::run(&systemctl, &call("is-active"), &about.environment(config), config.hook_timeout).await;
    let state = state.map_err(|source| ReloadError::Spawn { what: format!("systemctl is-active {unit}"), source })?;
    let verb = match state.output.trim() {
        "active" | "reloading" | "refreshing" => verb,
        // A service that could not start may have missed just these files; one that is starting may not know them.
        "failed" | "activating" if verb == "restart" || about.may_restart => "restart",
        "failed" | "activating" => {
            return Err(ReloadError::NotThere {
                what: unit.to_string(),
                why: "has failed or is starting, and was restarted as often as allowed in an hour".into(),
            });
        }
        "inactive" | "deactivating" | "maintenance" => {
            return Err(ReloadError::NotThere { what: unit.to_string(), why: "is not running".into() });
        }
        other => {
            let why = format!("is not known to systemd ({})", shown(other));
            return Err(ReloadError::NotThere { what: unit.to_string(), why });
        }
    };
    let began = UNIX_EPOCH.elapsed().unwrap_or_default();
    match program::run(config, format!("systemctl {verb} {unit}"), &systemctl, &call(verb), about).await {
        // Its own words are that it failed, and where to look.
        Err(ReloadError::Failed { what, status, output }) => {
            let output =
                journal::said(config, unit, began, about).await.map_or(output, |said| command::appended(&said));
            Err(ReloadError::Failed { what, status, output })
        }
        done => done.map(|()| verb),
    }
}
