//! A container in Portainer's place: told by the docker command line, which the test can have say no.

use std::{fs, net::SocketAddr, path::PathBuf};

use anyhow::{Context, Result};
use pinion_tests::{
    docker::{self, Docker},
    guest::Guest,
    port::Port,
    program,
};

use super::subject::Subject;
use crate::containers::run;

const NAME: &str = "portainer";

pub(super) struct InContainer {
    docker: Docker,
    port: Port,
    /// The docker command line's calls, and how many of its restarts fail from now on.
    calls: PathBuf,
    refusals: PathBuf,
    certificates: PathBuf,
}

impl InContainer {
    /// Nothing runs yet. Whatever the agent has docker do goes through a script that counts.
    pub(super) fn of(guest: &Guest, docker: Docker) -> Result<Self> {
        let [calls, refusals] = ["/run/docker-calls", "/run/docker-refusals"].map(|inside| guest.path(inside));
        let script = format!(
            "#!/bin/sh\n\
             case \" $* \" in *' restart '*)\n\
             \techo \"$*\" >>'{calls}'\n\
             \tleft=$(cat '{refusals}' 2>/dev/null || echo 0)\n\
             \tif [ \"$left\" -gt 0 ]; then\n\
             \t\techo $((left - 1)) >'{refusals}'\n\
             \t\techo 'the test wants this to fail' >&2\n\
             \t\texit 1\n\
             \tfi\n\
             esac\n\
             exec '{docker}' \"$@\"\n",
            calls = calls.display(),
            refusals = refusals.display(),
            docker = program::found("docker")?.display(),
        );
        let link = guest.path("/usr/bin/docker");
        fs::remove_file(&link).context("replace the guest's docker")?;
        // Made as a hook is, so that it can be run at once.
        guest.write_hook("docker-command", &script)?;
        fs::rename(guest.hook_path("docker-command"), &link).context("replace the guest's docker")?;
        let certificates = guest.path("/etc/portainer/certs");
        Ok(Self { docker, port: Port::reserve()?, calls, refusals, certificates })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.port.address()
    }

    fn run_with(&self, directory: &str) -> Result<()> {
        run(&self.docker, directory.as_ref(), NAME, &self.port, ("cert.pem", "key.pem"))
    }

    fn exchange(&self, directory: &str) -> Result<()> {
        self.docker.cli(&["rm", "--force", NAME])?;
        self.run_with(directory)
    }

    fn refuse_next(&self, requests: u32) -> Result<()> {
        let fresh = self.refusals.with_extension("new");
        let written = fs::write(&fresh, requests.to_string()).and_then(|()| fs::rename(&fresh, &self.refusals));
        written.context("have docker say no")
    }
}

impl Subject for InContainer {
    fn prepare(&self) -> Result<()> {
        self.docker.unit().start()
    }

    fn begin(&self, guest: &Guest) -> Result<()> {
        docker::import_image(guest, self.docker.socket())?;
        self.run_with(&self.certificates.display().to_string())
    }

    fn start(&self) -> Result<()> {
        self.docker.cli(&["start", NAME]).map(drop)
    }

    fn stop(&self) -> Result<()> {
        self.docker.cli(&["stop", NAME]).map(drop)
    }

    fn told(&self) -> usize {
        fs::read_to_string(&self.calls).unwrap_or_default().lines().count()
    }

    fn told_firmly(&self) -> usize {
        self.told()
    }

    fn refuse(&self, refuses: bool) -> Result<()> {
        self.refuse_next(if refuses { 1_000_000 } else { 0 })
    }

    fn refuse_once(&self) -> Result<bool> {
        self.refuse_next(1).map(|()| true)
    }

    fn replace(&self, _: &str, to: &str) -> Result<()> {
        self.exchange(to)
    }

    fn put_back(&self, from: &str, _: &str) -> Result<()> {
        self.exchange(from)
    }
}

impl Drop for InContainer {
    fn drop(&mut self) {
        // It may not be there, which is as well.
        drop(self.docker.cli(&["rm", "--force", NAME]));
    }
}
