//! Containers that are restarted or sent a signal: Portainer's place is taken by the small TLS server in a container.

use std::path::Path;

use anyhow::Result;
use pinion_proto::stage::{Halt, Stage};
use pinion_tests::{
    docker::{self, Docker, IMAGE},
    guest::Guest,
    look,
    port::Port,
    wait::{self, PATIENCE},
};
use serde_json::json;

use crate::fixture::{Place, common_name, guest, placement};

fn install(guest: &Guest) -> Docker {
    Docker::install(guest, "/etc/docker/tls").expect("docker.io is installed, and this is root")
}

/// Starts the small TLS server in a container, with the directory that has its pair.
pub(crate) fn run(docker: &Docker, directory: &Path, name: &str, port: &Port, pair: (&str, &str)) -> Result<()> {
    let mounts = docker::machine_mounts()?;
    let certificates = format!("{}:/certs:ro", directory.display());
    let (address, fullchain, key) =
        (port.address().to_string(), format!("/certs/{}", pair.0), format!("/certs/{}", pair.1));
    let mut words = vec!["run", "--detach", "--name", name, "--network", "host", "--volume", &certificates];
    words.extend(mounts.iter().map(String::as_str));
    words.extend([IMAGE, "/pinion/tls-server", "--listen", &address, "--fullchain", &fullchain, "--key", &key]);
    docker.cli(&words).map(drop)
}

fn process_of(docker: &Docker, name: &str) -> String {
    docker.cli(&["container", "inspect", "--format", "{{.State.Pid}}", name]).expect("the container is there")
}

#[test]
fn a_container_is_restarted_or_sent_a_signal_and_waited_for() {
    let guest = guest().expect("a guest");
    let docker = install(&guest);
    let (ui, web) = (Port::reserve().expect("a port"), Port::reserve().expect("a port"));
    let server = docker.placement(&guest);
    let portainer = placement("portainer", json!({ "probe": { "connect": ui.address() } }));
    let signalled = placement(
        "docker-container",
        json!({
            "reload": { "signal": { "container": "web", "signal": "HUP" } }, "probe": { "connect": web.address() },
        }),
    );
    let place = Place::join(guest, docker).expect("a place");
    let docker = &place.service;
    place.order(&[("docker", &server), ("ui", &portainer), ("web", &signalled)]).expect("a manifest");
    place.host.ensure(&[], "installed").expect("installed");
    place.waiting("ui", "does not answer on").expect("dockerd does not run yet");
    docker.unit().start().unwrap_or_else(|error| panic!("{error:#}"));
    // Until then the agent may restart dockerd, which would cut the import off.
    place.comes_to("docker", Stage::Served).unwrap_or_else(|error| panic!("{error:#}\n{}", docker.unit().log()));
    docker::import_image(&place.guest, docker.socket()).expect("an image");
    place.waiting("ui", "cannot be found").expect("there is no container yet");

    run(docker, &place.guest.path("/etc/portainer/certs"), "portainer", &ui, ("cert.pem", "key.pem")).expect("started");
    let pair = ("web.internal.example.crt", "web.internal.example.key");
    run(docker, &place.guest.path("/etc/pinion/certs"), "web", &web, pair).expect("started");
    place.comes_to("ui", Stage::Served).expect("served by itself");
    place.comes_to("web", Stage::Served).expect("served by itself");

    let (ui_ca, web_ca) = (
        place.guest.path("/etc/portainer/certs/ca.pem"),
        place.guest.path("/etc/pinion/certs/web.internal.example.ca.crt"),
    );
    let (ui_process, web_process) = (process_of(docker, "portainer"), process_of(docker, "web"));
    let renewed = place.renew("ui", "served").expect("renewed");
    look::wait_served(ui.address(), &common_name("ui"), &ui_ca, &renewed).expect("served");
    assert_ne!(process_of(docker, "portainer"), ui_process, "it was to be restarted");
    let renewed = place.renew("web", "served").expect("renewed");
    look::wait_served(web.address(), &common_name("web"), &web_ca, &renewed).expect("served");
    assert_eq!(process_of(docker, "web"), web_process, "a signal is enough");

    docker.cli(&["stop", "portainer"]).expect("stopped");
    place.host.renew(&["ui"], "installed").expect("installed");
    place.waiting("ui", "is not running").expect("it is waited for");
    docker.cli(&["start", "portainer"]).expect("started");
    place.comes_to("ui", Stage::Served).expect("by itself");
    let serial = place.serial("ui").expect("installed");
    look::wait_served(ui.address(), &common_name("ui"), &ui_ca, &serial).expect("served");

    // What the guest does not allow is not told.
    let other = placement("docker-container", json!({ "reload": { "container": "registry" }, "probe": "nothing" }));
    place.order(&[("docker", &server), ("other", &other)]).expect("a manifest");
    wait::until("the placement to be blocked", PATIENCE, || {
        let status = place.host.status().map_err(|e| format!("{e:#}"))?;
        match status.placement("other@1001").and_then(|placement| placement.trouble.clone()) {
            Some(trouble) if trouble.halt == Halt::Blocked && trouble.remedy.contains("extra_containers") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .expect("blocked");
    for name in ["portainer", "web"] {
        docker.cli(&["rm", "--force", name]).expect("removed");
    }
}
