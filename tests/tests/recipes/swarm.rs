//! A Swarm of one node, and a service that has a pair as secrets. Portainer's place is taken by a container that sleeps:
//! what counts is what it sees in `/run/secrets`.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, process::Command};

use anyhow::{Context, Result, ensure};
use pinion_proto::stage::Stage;
use pinion_tests::{
    docker::{self, IMAGE},
    guest::Guest,
    openssl,
    port::Port,
    process::Process,
    program,
    wait::{self, PATIENCE},
};
use serde_json::json;

use crate::fixture::{Place, guest, placement};

/// A dockerd in a network of its own: a Swarm makes bridges and listens where it likes.
struct Swarm {
    _dockerd: Process,
    socket: PathBuf,
}

impl Swarm {
    fn start(guest: &Guest) -> Result<Self> {
        let docker = format!(
            "#!/bin/sh\nprintf '%s ' \"$@\" >>{0}\necho >>{0}\nexec {1} \"$@\"\n",
            guest.path("/var/log/docker-calls").display(),
            program::found("docker")?.display()
        );
        guest.write("usr/bin/docker", &docker)?;
        fs::set_permissions(guest.path("/usr/bin/docker"), fs::Permissions::from_mode(0o755))?;
        guest.write("etc/docker/daemon.json", "{}\n")?;
        let socket = guest.path("/run/docker.sock");
        let flag = |name: &str, inside: &str| format!("--{name}={}", guest.path(inside).display());
        let dockerd = [
            program::found("dockerd")?.display().to_string(),
            flag("config-file", "/etc/docker/daemon.json"),
            flag("data-root", "/var/lib/docker"),
            flag("exec-root", "/run/docker"),
            flag("pidfile", "/run/docker.pid"),
            format!("--host=unix://{}", socket.display()),
            "--iptables=false --ip6tables=false --ip-forward=false --ip-masq=false".into(),
            "--bridge=none --storage-driver=vfs".into(),
        ];
        // As a service manager would: it starts dockerd again when it ends, and ends it when it is ended itself.
        let script = format!(
            "ip link set lo up\ntrap 'kill \"$child\"; wait \"$child\"; exit 0' TERM\n\
             while :; do {} & child=$!; wait \"$child\"; done",
            dockerd.join(" ")
        );
        let pid = guest.path("/run/docker.pid").display().to_string();
        let hook = format!(
            "#!/bin/sh\nold=$(cat {pid}) && kill \"$old\" || exit 1\n\
             until [ -s {pid} ] && [ \"$(cat {pid})\" != \"$old\" ]; do sleep 0.05; done\n"
        );
        guest.write_hook("docker.service", &hook)?;
        let mut command = Command::new(program::found("unshare")?);
        command.args(["--net", "--mount", "--", "/bin/sh", "-c", &script]);
        let mut process = Process::spawn("dockerd", &mut command, &guest.path("/var/log/dockerd.log"))?;
        wait::until("dockerd to answer", PATIENCE, || match process.check_running() {
            Err(ended) => Ok(Err(ended)),
            Ok(()) => docker::cli(&socket, &["info"]).map(|_| Ok(())).map_err(|e| format!("{e:#}")),
        })??;
        Ok(Self { _dockerd: process, socket })
    }

    fn cli(&self, arguments: &[&str]) -> Result<String> {
        docker::cli(&self.socket, arguments)
    }

    /// The file that the service's one container sees.
    fn seen(&self, secret: &str) -> Result<String> {
        let containers =
            self.cli(&["ps", "--quiet", "--filter", "label=com.docker.swarm.service.name=portainer_portainer"])?;
        let container = containers.lines().next().context("no container runs")?;
        self.cli(&["exec", container, "/usr/bin/cat", &format!("/run/secrets/{secret}")])
    }

    fn secrets(&self) -> Result<Vec<String>> {
        let mut names: Vec<_> =
            self.cli(&["secret", "ls", "--format", "{{.Name}}"])?.lines().map(str::to_owned).collect();
        names.sort();
        Ok(names)
    }
}

const CERT: &str = "portainer_tls_cert.pem";
const KEY: &str = "portainer_tls_key.pem";

/// Secrets of the service that are not Pinion's.
const OTHERS: usize = 50;

#[test]
fn each_generation_is_a_version_of_its_own_and_the_service_sees_a_pair() {
    // Before what listens on it, and so dropped after that.
    let port = Port::reserve().expect("a port");
    let guest = guest().expect("a guest");
    let swarm = Swarm::start(&guest).expect("docker.io is installed, and this is root");
    let portainer = placement("portainer-swarm", json!({ "probe": "nothing" }));
    let place = Place::join(guest, swarm).expect("a place");
    let swarm = &place.service;
    place.order(&[("ui", &portainer)]).expect("a manifest");
    place.host.ensure(&["ui"], "installed").expect("installed");
    place.waiting("ui", "cannot be found").expect("there is no Swarm yet");

    let listen = port.address().to_string();
    swarm.cli(&["swarm", "init", "--advertise-addr", "127.0.0.1", "--listen-addr", &listen]).expect("a Swarm");
    docker::import_image(&place.guest, &swarm.socket).expect("an image");
    // As an operator made it by hand before: with a secret under the plain name.
    let by_hand = place.guest.path("/etc/pinion/by-hand");
    place.guest.write("etc/pinion/by-hand", "by hand\n").expect("written");
    swarm.cli(&["secret", "create", KEY, by_hand.to_str().expect("text")]).expect("a secret");
    let secret = format!("source={KEY},target={KEY},mode=0400");
    let named = ["service", "create", "--quiet", "--no-resolve-image", "--name", "portainer_portainer"];
    let with = ["--network", "host", "--stop-grace-period", "100ms", "--secret", &secret];
    let runs = ["--mount", "type=bind,src=/usr,dst=/usr,ro", IMAGE, "/usr/bin/sleep", "600"];
    // So many that what docker says of them is long.
    let others: Vec<String> = (0..OTHERS).map(|number| format!("{number:0>60}")).collect();
    for other in &others {
        swarm.cli(&["secret", "create", other, by_hand.to_str().expect("text")]).expect("a secret");
    }
    let others: Vec<&str> = others.iter().flat_map(|other| ["--secret", other]).collect();
    let service = [named.as_slice(), &with, &others, &runs];
    swarm.cli(&service.concat()).expect("a service");
    place.comes_to("ui", Stage::Reloaded).expect("told by itself");

    let check = |expected: &str| -> Result<()> {
        let generation = place.host.status()?.placement("ui@1001").and_then(|ui| ui.generation).context("installed")?;
        let (cert, key) = (swarm.seen(CERT)?, swarm.seen(KEY)?);
        ensure!(openssl::serial(&cert)? == expected, "the service does not see {expected}");
        place.guest.write("tmp/seen.crt", &cert)?;
        place.guest.write("tmp/seen.key", &key)?;
        ensure!(openssl::is_pair(&place.guest.path("/tmp/seen.crt"), &place.guest.path("/tmp/seen.key"))?, "no pair");
        // The one by hand is not Pinion's to remove; of its own, what nobody uses is gone.
        let own = ["ca", "cert", "key"].map(|part| format!("portainer_tls_{part}.pem-{generation}"));
        let expected = [own.as_slice(), &[KEY.to_owned()]].concat();
        let (mut expected, mut found) = (expected, swarm.secrets()?);
        ensure!(found.iter().filter(|name| name.starts_with('0')).count() == OTHERS, "others were removed: {found:?}");
        found.retain(|name| !name.starts_with('0'));
        expected.sort();
        ensure!(found == expected, "{found:?} instead of {expected:?}");
        Ok(())
    };
    check(&place.serial("ui").expect("installed")).expect("the first");
    let renewed = place.renew("ui", "reloaded").expect("renewed");
    check(&renewed).expect("the second");
    // `docker stack deploy` puts the secret of its file back: that is noticed, and undone.
    let generation = place.host.status().expect("a status").placement("ui@1001").and_then(|ui| ui.generation);
    let (ours, theirs) =
        (format!("{KEY}-{}", generation.expect("installed")), format!("source={KEY},target={KEY},mode=0400"));
    let update = ["service", "update", "--quiet", "--detach", "--secret-rm", &ours, "--secret-add", &theirs];
    swarm.cli(&[update.as_slice(), &["portainer_portainer"]].concat()).expect("as a deployment does");
    place.host.ensure(&["ui"], "reloaded").expect("it is looked at, and has its secrets again");
    check(&renewed).expect("the second again");

    let how = swarm.cli(&[
        "service",
        "inspect",
        "--format",
        "{{json .Spec.TaskTemplate.ContainerSpec.Secrets}}",
        "portainer_portainer",
    ]);
    assert!(how.expect("a service").contains("\"Mode\":256"), "the mode that it had stays");

    // A secret is given as bytes: no file is opened by its path as root, which its owner could have exchanged.
    let calls = fs::read_to_string(place.guest.path("/var/log/docker-calls")).expect("docker was asked");
    let made: Vec<&str> = calls.lines().filter(|call| call.contains(" secret create ")).collect();
    let root = place.guest.root().display().to_string();
    let named =
        |call: &&str| call.split_whitespace().skip(2).any(|word| word.contains(&root)) || !call.ends_with(" - ");
    assert!(made.len() == 6 && !made.iter().any(named), "{made:#?}");

    // dockerd is restarted for a certificate of its own, and this node is waited for until it manages the Swarm again.
    let dockerd = placement("docker", json!({ "probe": "nothing" }));
    place.order(&[("ui", &portainer), ("docker", &dockerd)]).expect("a manifest");
    place.host.ensure(&["docker"], "reloaded").expect("restarted");
    let nodes = swarm.cli(&["node", "ls", "--format", "{{.Status}} {{.ManagerStatus}}"]).expect("a manager");
    assert_eq!(nodes.trim(), "Ready Leader");
    let log = fs::read_to_string(place.guest.path("/var/log/pinion-agent.log")).expect("the agent's log");
    assert!(log.contains("The Swarm is back") && log.contains("live-restore is off"), "{log}");

    swarm.cli(&["service", "rm", "portainer_portainer"]).expect("removed");
    place.host.renew(&["ui"], "installed").expect("installed");
    place.waiting("ui", "cannot be found").expect("it is waited for");
    swarm.cli(&service.concat()).expect("a service");
    place.comes_to("ui", Stage::Reloaded).expect("by itself");
    check(&place.serial("ui").expect("installed")).expect("the third");
    swarm.cli(&["service", "rm", "portainer_portainer"]).expect("removed");
}
