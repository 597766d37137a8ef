//! A whole installation: every shipped recipe at work at once, in seven guests and on the host.
//!
//! Answers: which certificates has it, and what runs there that can only be set up while it runs? Invariant: what stands in
//! for a program that cannot be had (Portainer, vLLM, Proxmox's web interface) is the small TLS server, and only that.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{Lab, installation::Installation, spec::RESTARTS};
use crate::{
    process::Process,
    program,
    wait::{self, PATIENCE},
};

/// Its manifest, for the guests of [`Spec::whole`](super::Spec::whole).
#[must_use]
pub fn manifest() -> Value {
    let one = |name: &str, common_name: &str, placement: Value| json!({ "name": name, "common_name": format!("{common_name}.internal.example"), "placements": [placement] });
    let by = |guest: u32, recipe: &str| json!({ "guest": guest, "recipe": recipe });
    let files = |directory: &str| {
        json!({ "fullchain": { "path": format!("{directory}/archive.crt") },
                "key": { "path": format!("{directory}/archive.key"), "mode": "0600" },
                "ca": { "path": format!("{directory}/ca.crt") } })
    };
    json!({ "version": 1, "defaults": { "issuer": "step-ca", "duration": "30d" }, "certificates": [
        { "name": "gateway", "common_name": "nginx.internal.example", "sans": ["*.internal.example"],
          "placements": [by(101, "nginx")] },
        one("gateway-client", "gateway-client", by(101, "nginx-client")),
        one("traefik", "traefik", by(102, "traefik")),
        one("traefik-client", "traefik-client", by(102, "traefik-client")),
        one("ca-host", "step-ca", by(103, "files")),
        one("haproxy", "haproxy", by(107, "haproxy")),
        one("caddy", "caddy", json!({ "guest": 107, "recipe": "caddy", "probe": { "connect": "127.0.0.1:8443" } })),
        one("postgresql", "postgresql", by(107, "postgresql")),
        one("vllm", "vllm", json!({ "guest": 801, "recipe": "systemd-unit", "reload": { "restart": "vllm.service" },
            "files": { "fullchain": { "path": "/etc/ssl/vllm/vllm.crt" },
                       "key": { "path": "/etc/ssl/vllm/vllm.key", "mode": "0600" } },
            "probe": { "connect": "127.0.0.1:8000" } })),
        { "name": "docker", "common_name": "docker.internal.example", "placements": [
            { "guest": 1001, "recipe": "docker", "sans": ["10.0.0.111", "127.0.0.1"] },
            { "guest": 1002, "recipe": "docker", "sans": ["10.0.0.102", "127.0.0.1"] } ] },
        one("docker-client", "docker-client", by(1001, "docker-client")),
        one(CONTEXT, "docker-context", by(1001, "docker-context")),
        one("portainer", "portainer", by(1001, "portainer-swarm")),
        one("portainer-agent", "portainer-agent", by(1002, "portainer")),
        one("web", "web", json!({ "guest": 1002, "recipe": "docker-container",
            "reload": { "signal": { "container": "web", "signal": "HUP" } }, "probe": { "connect": "127.0.0.1:8444" } })),
        one("pve", "pve1", json!({ "host": true, "recipe": "pveproxy" })),
        one("archive", "archive", json!({ "host": true, "recipe": "files", "files": files(SHARE) })),
    ] })
}

/// Which of 1001's contexts of docker is replaced; it is called as its certificate.
const CONTEXT: &str = "docker-context";

/// What the host's own store of roots is made of.
const STORE: &str = "/usr/local/share/ca-certificates";

/// What old consumers on the host read.
const SHARE: &str = "/var/lib/archive";

/// Brings the small TLS server and an image without anything into a guest's dockerd: `pinion-lab:1`, which uses the guest's
/// own `/usr`.
///
/// # Errors
/// docker refuses something, with what it said.
pub fn import_image(lab: &Lab, vmid: u32) -> Result<()> {
    // A Swarm asks a registry for its image at each update; that nobody is there is known at once and not after a
    // resolver's patience.
    lab.sh(vmid, "echo nameserver 127.0.0.1 >/etc/resolv.conf")?;
    lab.guest(vmid)?.bring(&lab.namespace, &program::own("tls-server")?)?;
    let image = "mkdir -p /var/lib/image/usr /var/lib/image/tmp /var/lib/image/certs && cd /var/lib/image \
                 && ln -s usr/bin bin && ln -s usr/sbin sbin && ln -s usr/lib lib && ln -s usr/lib64 lib64 \
                 && tar -cf - . | docker import - pinion-lab:1";
    lab.sh(vmid, image).map(drop)
}

/// Starts what runs in the two dockerds, a Swarm in one of them, on pairs that nobody trusts.
///
/// # Errors
/// docker refuses something, with what it said.
pub fn set_up(lab: &Lab) -> Result<()> {
    for vmid in [1001, 1002] {
        import_image(lab, vmid)?;
    }
    let runs = "pinion-lab:1 /usr/local/bin/tls-server --listen";
    lab.sh(
        1001,
        &format!(
            "docker swarm init --advertise-addr 10.0.0.111 \
             && docker secret create portainer_tls_cert.pem /etc/docker/tls/cert.pem \
             && docker secret create portainer_tls_key.pem /etc/docker/tls/key.pem \
             && docker service create --quiet --detach --no-resolve-image --name portainer_portainer --network host \
                --stop-grace-period 1s --restart-delay 1s --update-monitor 1s --mount type=bind,src=/usr,dst=/usr,ro \
                --secret portainer_tls_cert.pem --secret portainer_tls_key.pem {runs} 0.0.0.0:9443 \
                --fullchain /run/secrets/portainer_tls_cert.pem --key /run/secrets/portainer_tls_key.pem \
             && cd /etc/docker/tls && docker context create {CONTEXT} \
                --docker host=tcp://10.0.0.111:2376,ca=ca.pem,cert=cert.pem,key=key.pem"
        ),
    )?;
    let allowed = format!("{RESTARTS}\n[allow]\ncontainers = [\"portainer\", \"web\"]\n");
    lab.write(1002, "/etc/pinion/agent.toml", 0o644, allowed.as_bytes())?;
    let containers = [
        ("portainer", "/etc/portainer/certs", "9443", "cert.pem", "key.pem"),
        ("web", "/etc/pinion/certs", "8444", "web.internal.example.crt", "web.internal.example.key"),
    ];
    for (name, directory, port, certificate, key) in containers {
        let run = format!(
            "mkdir -p {directory} && cp /etc/docker/tls/cert.pem {directory}/{certificate} \
             && cp /etc/docker/tls/key.pem {directory}/{key} && docker run --detach --restart always --name {name} \
                --network host --volume {directory}:/certs:ro --volume /usr:/usr:ro \
                --label 'traefik.http.routers.{name}.rule=Host(`{name}.internal.example`)' \
                --label traefik.http.services.{name}.loadbalancer.server.port={port} \
                {runs} 0.0.0.0:{port} --fullchain /certs/{certificate} --key /certs/{key}"
        );
        lab.sh(1002, &run)?;
    }
    Ok(())
}

/// Pinion at work there: the controller and its root process, the host's own agent, and what stands in for Proxmox's web
/// interface.
#[derive(Debug)]
pub struct Whole {
    /// The controller and the root process.
    pub installation: Installation,
    own: Process,
    pveproxy: Process,
    logs: tempfile::TempDir,
}

impl Whole {
    /// Installs and starts all of it; the guests are brought their agents from now on.
    ///
    /// # Errors
    /// One of them does not come up.
    pub fn start(lab: &Lab) -> Result<Self> {
        Self::start_with(lab, &manifest())
    }

    /// As [`Self::start`], with another manifest.
    ///
    /// # Errors
    /// One of them does not come up.
    pub fn start_with(lab: &Lab, manifest: &Value) -> Result<Self> {
        let logs = tempfile::Builder::new().prefix("pinion-whole-").tempdir().context("make a directory for logs")?;
        let mut installation = Installation::install(lab, manifest, "")?;
        installation.start(lab)?;
        prepare_host(lab)?;
        let pveproxy = start_pveproxy(lab, logs.path())?;
        let own = start_agent(lab, logs.path())?;
        Ok(Self { installation, own, pveproxy, logs })
    }

    /// Stops the host's own agent in order and starts it again.
    ///
    /// # Errors
    /// It does not end by itself, or cannot be started.
    pub fn restart_agent(&mut self, lab: &Lab) -> Result<()> {
        self.own.stop()?;
        self.own = start_agent(lab, self.logs.path())?;
        Ok(())
    }

    /// What the host's own agent and its service have logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.own.log() + &self.pveproxy.log()
    }
}

/// Joins the host's own agent, as docs/proxmox.md says, and sees to it that the web interface has a pair.
fn prepare_host(lab: &Lab) -> Result<()> {
    lab.install(&program::static_agent()?, "/usr/bin/pinion-agent")?;
    lab.install(&program::own("tls-server")?, "/usr/local/bin/tls-server")?;
    // No systemd runs on the lab's host; the agent's hook of the unit's name does what its ExecReload would.
    let files = format!(
        "set -e\nmkdir -p {SHARE} /etc/pinion/hooks.d\n\
             cat >/etc/pinion/agent.toml <<'END'\n{RESTARTS}\n[allow]\ndirectories = [\"/etc/pve/local\", \"{SHARE}\", \"{STORE}\"]\n\
             units = [\"pveproxy.service\"]\nEND\n\
             cat >/etc/pinion/hooks.d/pveproxy.service <<'END'\n#!/bin/sh\n\
             [ \"$1\" = reload ] && kill -HUP \"$(cat /run/pveproxy.pid)\"\nEND\n\
             chmod 0755 /etc/pinion/hooks.d/pveproxy.service\ncd /etc/pve/local\n\
             openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=snakeoil.invalid \
             -keyout pveproxy-ssl.key -out pveproxy-ssl.pem 2>/dev/null\n\
             pinion token create --guest host | pinion-agent join\n"
    );
    lab.run(&["sh", "-c", &files])?.succeeded().context("join the host's own agent")?;
    Ok(())
}

fn start_agent(lab: &Lab, logs: &Path) -> Result<Process> {
    Process::spawn("pinion-agent", lab.command("pinion-agent").arg("run"), &logs.join("agent.log"))
}

fn start_pveproxy(lab: &Lab, logs: &Path) -> Result<Process> {
    let mut command = lab.command("/usr/local/bin/tls-server");
    command.args(["--listen", "0.0.0.0:8006", "--fullchain", "/etc/pve/local/pveproxy-ssl.pem"]);
    command.args(["--key", "/etc/pve/local/pveproxy-ssl.key"]);
    let mut pveproxy = Process::spawn("pveproxy", &mut command, &logs.join("pveproxy.log"))?;
    let pid = lab.path("/run/pveproxy.pid");
    fs::write(&pid, pveproxy.id().to_string()).with_context(|| format!("write {}", pid.display()))?;
    wait::until("the web interface to listen", PATIENCE, || {
        pveproxy.check_running().map_err(|error| format!("{error:#}"))?;
        // The port is its first line.
        if pveproxy.log().contains("8006") { Ok(()) } else { Err("not yet".to_owned()) }
    })?;
    Ok(pveproxy)
}
