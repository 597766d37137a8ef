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
    /// The docker command line's restarts; while this file is there, each of them fails; and while this one is, the
    /// next, which removes it.
    calls: PathBuf,
    refuses: PathBuf,
    refuses_once: PathBuf,
    certificates: PathBuf,
}

impl InContainer {
    /// Nothing runs yet. Whatever the agent has docker do goes through a script that counts.
    pub(super) fn of(guest: &Guest, docker: Docker) -> Result<Self> {
        let [calls, refuses, refuses_once] =
            ["calls", "refuses", "refuses-once"].map(|what| guest.path(&format!("/run/docker-{what}")));
        let script = format!(
            "#!/bin/sh\n\
             case \" $* \" in *' restart '*)\n\
             \techo \"$*\" >>'{calls}'\n\
             \tif [ -e '{refuses}' ] || rm '{refuses_once}' 2>/dev/null; then\n\
             \t\techo 'the test wants this to fail' >&2\n\
             \t\texit 1\n\
             \tfi\n\
             esac\n\
             exec '{docker}' \"$@\"\n",
            calls = calls.display(),
            refuses = refuses.display(),
            refuses_once = refuses_once.display(),
            docker = program::found("docker")?.display(),
        );
        let link = guest.path("/usr/bin/docker");
        fs::remove_file(&link).context("replace the guest's docker")?;
        // Made as a hook is, so that it can be run at once.
        guest.write_hook("docker-command", &script)?;
        fs::rename(guest.hook_path("docker-command"), &link).context("replace the guest's docker")?;
        let certificates = guest.path("/etc/portainer/certs");
        Ok(Self { docker, port: Port::reserve()?, calls, refuses, refuses_once, certificates })
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
        if refuses { fs::write(&self.refuses, "") } else { fs::remove_file(&self.refuses) }
            .context("have docker say no")
    }

    fn refuse_once(&self) -> Result<bool> {
        fs::write(&self.refuses_once, "").context("have docker say no once")?;
        Ok(true)
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
