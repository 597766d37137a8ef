//! Notifying containers, by the docker command line and fixed arguments.
//!
//! Invariants: it speaks with the guest's own dockerd over its socket, whatever contexts and configurations there are;
//! a container that does not run is not started.

use std::{ffi::OsString, path::PathBuf};

use pinion_proto::containers::{ContainerName, ContainerSignal};
use tokio::net::UnixStream;

use super::{
    About, ReloadError,
    command::{self, Pipes},
    program,
};
use crate::config::Config;

/// A container starts anew.
pub(super) async fn restart(config: &Config, container: &ContainerName, about: &About) -> Result<(), ReloadError> {
    let docker = Docker::find(config, about).await?;
    docker.state(container).await?;
    docker.run(&["restart", container.as_str()]).await.map(drop)
}

/// A container gets a signal.
pub(super) async fn signal(config: &Config, signal: &ContainerSignal, about: &About) -> Result<(), ReloadError> {
    let docker = Docker::find(config, about).await?;
    let container = signal.container.as_str();
    match docker.state(&signal.container).await? {
        State::Running => docker.run(&["kill", "--signal", signal.signal.as_str(), container]).await.map(drop),
        // It starts again and again, perhaps for want of just these files; a signal would meet nobody.
        State::Restarting => docker.run(&["restart", container]).await.map(drop),
    }
}

/// A container that can be notified.
pub(super) enum State {
    Running,
    Restarting,
}

/// A use of a secret takes 200 bytes, or 500 with the longest names: room for hundreds of them (bytes).
const MAX_LISTED: usize = 256 * 1024;

/// The docker command line, and a dockerd that answers.
pub(super) struct Docker<'a> {
    config: &'a Config,
    about: &'a About,
    program: PathBuf,
}

impl<'a> Docker<'a> {
    /// # Errors
    /// There is no docker, or nobody takes connections at dockerd's socket.
    pub(super) async fn find(config: &'a Config, about: &'a About) -> Result<Self, ReloadError> {
        let program = program::find(&config.root, "docker")
            .ok_or_else(|| ReloadError::NotThere { what: "docker".into(), why: "is not installed".into() })?;
        if let Err(error) = UnixStream::connect(&config.docker).await {
            let why = format!("does not answer on {}: {error}", config.docker.display());
            return Err(ReloadError::NotThere { what: "dockerd".into(), why });
        }
        Ok(Self { config, about, program })
    }

    /// What docker answers to these arguments on its standard output.
    pub(super) async fn run(&self, arguments: &[&str]) -> Result<String, ReloadError> {
        self.run_with(arguments, Pipes::default()).await
    }

    /// As [`Self::run`], for an answer that grows with what is asked about.
    pub(super) async fn list(&self, arguments: &[&str]) -> Result<String, ReloadError> {
        self.run_with(arguments, Pipes { keep: MAX_LISTED, ..Pipes::default() }).await
    }

    /// As [`Self::run`], with this as its standard input.
    pub(super) async fn give(&self, arguments: &[&str], input: &[u8]) -> Result<(), ReloadError> {
        self.run_with(arguments, Pipes { input: Some(input), ..Pipes::default() }).await.map(drop)
    }

    async fn run_with(&self, arguments: &[&str], pipes: Pipes<'_>) -> Result<String, ReloadError> {
        let what = format!("docker {}", arguments.join(" "));
        let mut all: Vec<OsString> = vec!["--host".into(), self.host()];
        all.extend(arguments.iter().map(OsString::from));
        let mut environment = self.about.environment(self.config);
        // Nobody's contexts, credentials and plugins.
        environment.push(("DOCKER_CONFIG".into(), self.config.state.join("docker").into()));
        let called = command::call(what, &self.program, &all, &environment, self.config.hook_timeout, pipes).await;
        match called {
            // It goes in this moment, as it does for a certificate of its own: nobody to notify, and nothing that failed.
            Err(ReloadError::Failed { output, .. }) if lost(&output) => {
                Err(ReloadError::NotThere { what: "dockerd".into(), why: format!("went away{output}") })
            }
            called => called,
        }
    }

    fn host(&self) -> OsString {
        let mut host = OsString::from("unix://");
        host.push(&self.config.docker);
        host
    }

    /// What a container does, if it is there and does not rest.
    pub(super) async fn state(&self, container: &ContainerName) -> Result<State, ReloadError> {
        let not_there = |why: String| ReloadError::NotThere { what: format!("the container {container}"), why };
        let asked = self.run(&["container", "inspect", "--format", "{{.State.Status}}", container.as_str()]).await;
        let state = match asked {
            Ok(state) => state,
            // dockerd answers; what it says then is that there is none.
            Err(ReloadError::Failed { output, .. }) => return Err(not_there(format!("cannot be found{output}"))),
            Err(error) => return Err(error),
        };
        match state.trim() {
            "running" => Ok(State::Running),
            "restarting" => Ok(State::Restarting),
            other => Err(not_there(format!("is not running ({})", pinion_proto::id::shown(other)))),
        }
    }
}

/// Whether docker complains of the connection to dockerd and not of what was asked (docker's `client/errors.go` and
/// `client/request.go`).
fn lost(output: &str) -> bool {
    ["Cannot connect to the Docker daemon", "error during connect"].iter().any(|words| output.contains(words))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};

    use super::*;

    #[tokio::test]
    async fn a_dockerd_that_goes_meanwhile_is_waited_for_and_one_that_refuses_is_not() {
        for (said, absent) in [
            (
                "error during connect: Post \"http://%2Frun%2Fdocker.sock/v1.41/containers/web/kill?signal=HUP\": EOF",
                true,
            ),
            ("Cannot connect to the Docker daemon at unix:///run/docker.sock. Is the docker daemon running?", true),
            ("Error response from daemon: Cannot kill container: web: No such container: web", false),
        ] {
            let kept = tempfile::tempdir().expect("a temporary directory");
            let mut config = Config::shipped(kept.path().canonicalize().expect("a real path"));
            config.hook_timeout = Duration::from_secs(30);
            let program = kept.path().join("docker");
            fs::write(&program, format!("#!/bin/sh\ncat >&2 <<'END'\n{said}\nEND\nexit 1\n")).expect("written");
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("executable");
            let about = About::for_test("web");
            let docker = Docker { config: &config, about: &about, program };
            let error = docker.run(&["kill", "web"]).await.expect_err("it fails");
            assert_eq!(error.is_absence(), absent, "{error}");
            assert!(error.to_string().contains(said), "{error}");
        }
    }
}
