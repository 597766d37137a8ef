//! What a restart of dockerd means for what runs under it.
//!
//! Answers: do the containers live on, and is this node back in its Swarm?
//! Invariant: it is logged and waited for, and holds nothing up: whether dockerd has the new certificate is for the
//! probe to say.

use serde::Deserialize;
use tokio::time::{Duration, Instant, sleep};

use super::{About, docker::Docker};
use crate::config::Config;

/// dockerd's unit, wherever docker is packaged.
pub(super) const UNIT: &str = "docker.service";

/// Between two looks: a node finds its Swarm again within seconds.
const PAUSE: Duration = Duration::from_millis(250);

/// The part of `docker info` that matters (Docker Engine API, `SystemInfo`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Info {
    live_restore_enabled: bool,
    containers_running: u64,
    swarm: Swarm,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Swarm {
    local_node_state: String,
    #[serde(default)]
    control_available: bool,
}

/// What runs under dockerd now, which is logged; none when it cannot be asked.
pub(super) async fn look(config: &Config, about: &About) -> Option<Info> {
    let info = info(config, about).await?;
    let (certificate, running) = (&about.certificate, info.containers_running);
    if running == 0 {
        tracing::info!(%certificate, "No container runs while dockerd restarts");
    } else if info.live_restore_enabled {
        tracing::info!(%certificate, running, "Containers live on while dockerd restarts: live-restore is on");
    } else {
        tracing::warn!(%certificate, running, "Containers stop while dockerd restarts: live-restore is off");
    }
    Some(info)
}

/// Waits until a node that was in a Swarm is back in it.
pub(super) async fn wait(config: &Config, about: &About, before: Option<Info>) {
    let Some(before) = before.filter(|info| info.swarm.local_node_state == "active") else { return };
    let deadline = Instant::now() + config.hook_timeout;
    while Instant::now() < deadline {
        if info(config, about).await.is_some_and(|now| is_back(&before, &now)) {
            tracing::info!(certificate = %about.certificate, "The Swarm is back after dockerd's restart");
            return;
        }
        sleep(PAUSE).await;
    }
    let seconds = config.hook_timeout.as_secs();
    tracing::warn!(certificate = %about.certificate, seconds, "The Swarm is not back after dockerd's restart; look at `docker node ls`");
}

fn is_back(before: &Info, now: &Info) -> bool {
    now.swarm.local_node_state == "active" && (now.swarm.control_available || !before.swarm.control_available)
}

async fn info(config: &Config, about: &About) -> Option<Info> {
    let docker = Docker::find(config, about).await.ok()?;
    // The whole document is long; these fields are not.
    const FORMAT: &str = "{\"LiveRestoreEnabled\":{{json .LiveRestoreEnabled}},\"ContainersRunning\":{{json .ContainersRunning}},\
                          \"Swarm\":{\"LocalNodeState\":{{json .Swarm.LocalNodeState}},\"ControlAvailable\":{{json .Swarm.ControlAvailable}}}}";
    let said = docker.run(&["info", "--format", FORMAT]).await.ok()?;
    serde_json::from_str(said.trim()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manager_is_back_when_it_manages_again() {
        let info = |state: &str, manages: bool| -> Info {
            let text = format!(
                "{{\"LiveRestoreEnabled\":false,\"ContainersRunning\":3,\
                 \"Swarm\":{{\"LocalNodeState\":\"{state}\",\"ControlAvailable\":{manages}}}}}"
            );
            serde_json::from_str(&text).expect("docker's own form")
        };
        let (manager, worker) = (info("active", true), info("active", false));
        assert!(is_back(&manager, &manager) && is_back(&worker, &worker));
        assert!(!is_back(&manager, &worker) && !is_back(&worker, &info("pending", false)));
    }
}
