//! dockerd itself, its containers while it restarts, and the certificates of its command line.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result};
use pinion_proto::stage::Stage;
use pinion_tests::{
    docker::{self, Docker, IMAGE},
    guest::Guest,
    process, program,
    wait::PATIENCE,
};
use serde_json::{Value, json};

use crate::fixture::{Place, guest, placement};

/// Containers outlive a dockerd with live-restore: they end with the test.
struct Containers<'d>(&'d Docker);

impl Drop for Containers<'_> {
    fn drop(&mut self) {
        let all = self.0.cli(&["ps", "--all", "--quiet"]).unwrap_or_default();
        for container in all.lines() {
            drop(self.0.cli(&["rm", "--force", container]));
        }
    }
}

fn started_at(docker: &Docker, container: &str) -> Result<String> {
    docker.cli(&[
        "container",
        "inspect",
        "--format",
        "{{.State.Running}} {{.State.Pid}} {{.State.StartedAt}}",
        container,
    ])
}

/// `docker version` with the client's files in root's own directory.
fn version(guest: &Guest, more: &[&str], environment: &[(&str, &str)]) -> Result<String> {
    let mut command = Command::new(program::found("docker")?);
    command.env_clear().env("PATH", "/usr/bin:/bin").env("DOCKER_CONFIG", guest.path("/root/.docker"));
    command.envs(environment.iter().copied()).args(more).args(["version", "--format", "{{.Server.Version}}"]);
    Ok(process::run(&mut command, b"", PATIENCE)?.succeeded()?.stdout)
}

fn install(guest: &Guest, daemon: &str) -> (Docker, Value) {
    let docker = Docker::install(guest, "/etc/docker/tls").expect("docker.io is installed, and this is root");
    guest.write("etc/docker/daemon.json", daemon).expect("written");
    let server = docker.placement(guest);
    (docker, server)
}

#[test]
fn containers_live_on_under_live_restore_and_clients_have_the_new_pairs() {
    let guest = guest().expect("a guest");
    let (docker, server) = install(&guest, "{\"live-restore\": true}\n");
    let client = placement("docker-client", json!({}));
    let context = placement("docker-context", json!({}));
    let place = Place::join(guest, docker).expect("a place");
    let docker = &place.service;
    place.order(&[("docker", &server), ("client", &client), ("remote", &context)]).expect("a manifest");
    place.host.ensure(&[], "installed").expect("installed");
    place.waiting("docker", "not there").expect("dockerd does not run yet");
    docker.unit().start().unwrap_or_else(|error| panic!("{error:#}"));
    let containers = Containers(docker);
    place.comes_to("docker", Stage::Served).unwrap_or_else(|error| panic!("{error:#}\n{}", docker.unit().log()));

    docker::import_image(&place.guest, docker.socket()).expect("an image");
    let mounts = docker::machine_mounts().expect("built");
    let mut run = vec!["run", "--detach", "--name", "web", "--network", "host"];
    run.extend(mounts.iter().map(String::as_str));
    run.extend([IMAGE, "/usr/bin/sleep", "600"]);
    docker.cli(&run).unwrap_or_else(|error| panic!("{error:#}\n{}", docker.unit().log()));
    let before = started_at(docker, "web").expect("it runs");
    let restarts = docker.unit().restarts();
    place.renew("docker", "served").unwrap_or_else(|error| panic!("{error:#}\n{}", docker.unit().log()));
    assert!(docker.unit().restarts() > restarts);
    assert_eq!(started_at(docker, "web").expect("it runs"), before, "the container did not live on");
    let log = fs::read_to_string(place.guest.path("/var/log/pinion-agent.log")).expect("the agent's log");
    assert!(log.contains("Containers live on"), "{log}");

    // The command line with root's certificate, and with a context that was made once and has the copies replaced since.
    let address = docker.address().to_string();
    let host = format!("tcp://{address}");
    let environment = [("DOCKER_HOST", host.as_str()), ("DOCKER_TLS_VERIFY", "1")];
    let pair = place.guest.path("/root/.docker");
    let verified = environment.iter().copied().chain([("DOCKER_CERT_PATH", pair.to_str().expect("text"))]);
    let verified: Vec<_> = verified.collect();
    version(&place.guest, &[], &verified).expect("the client's pair is accepted");
    place.renew("client", "reloaded").expect("renewed");
    version(&place.guest, &[], &verified).expect("the renewed pair is accepted");

    make_context(&place.guest, "remote", &host, &pair).expect("a context");
    place.comes_to("remote", Stage::Reloaded).expect("put right");
    let renewed = place.renew("remote", "reloaded").expect("renewed");
    version(&place.guest, &["--context", "remote"], &[]).expect("the context's pair is accepted");
    let copies = fs::read_dir(place.guest.path("/root/.docker/contexts/tls")).expect("contexts");
    let copies: Vec<_> = copies.map(|entry| entry.expect("an entry").path().join("docker/cert.pem")).collect();
    let [copy] = copies.as_slice() else { panic!("docker keeps its copies elsewhere: {copies:?}") };
    let text = fs::read_to_string(copy).expect("a certificate");
    assert_eq!(pinion_tests::openssl::serial(&text).expect("a certificate"), renewed);
    drop(containers);
}

fn make_context(guest: &Guest, name: &str, host: &str, pair: &Path) -> Result<()> {
    let file = |name: &str| pair.join(name).display().to_string();
    let endpoint = format!("host={host},ca={},cert={},key={}", file("ca.pem"), file("cert.pem"), file("key.pem"));
    let mut command = Command::new(program::found("docker")?);
    command.env_clear().env("PATH", "/usr/bin:/bin").env("DOCKER_CONFIG", guest.path("/root/.docker"));
    command.args(["context", "create", name, "--docker", &endpoint]);
    process::run(&mut command, b"", PATIENCE)?.succeeded().map(drop).context("make a context")
}
