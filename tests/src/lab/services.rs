//! What runs in the lab's guests before Pinion comes: nginx, step-ca, dockerd and the others, each as the field has it.
//!
//! Invariant: each starts without Pinion. It holds a self-signed pair that nobody trusts, in the place where
//! Pinion's certificate will be.

use std::{fs, time::Duration};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{
    container::Container,
    namespace::Namespace,
    proxies,
    snakeoil::pair,
    spec::{Body, Role},
    without_systemd,
};
use crate::{ca, program, wait};

/// The name that the gateway's certificate has.
pub const GATEWAY_NAME: &str = "nginx.internal.example";

/// Where the authority answers.
pub const AUTHORITY: &str = "https://10.0.0.103:9000";

/// Writes the guest's files; it has not run yet.
pub(super) fn prepare(namespace: &Namespace, guest: &Container) -> Result<()> {
    without_systemd::prepare(namespace, guest)?;
    if guest.spec.body == Body::Machine {
        machine_network(namespace, guest)?;
    }
    match guest.spec.role {
        Role::Gateway => gateway(namespace, guest),
        Role::Authority => authority(namespace, guest),
        Role::Docker => docker(namespace, guest, true),
        Role::Manager => docker(namespace, guest, false),
        Role::Traefik => proxies::traefik(namespace, guest),
        Role::Services => proxies::services(namespace, guest),
        Role::Unit => proxies::unit(namespace, guest),
        Role::Empty | Role::Debian12 | Role::Debian13 | Role::Managed => Ok(()),
    }
}

/// Does what can only be done in the running guest, and waits for its service.
pub(super) fn finish(namespace: &Namespace, guest: &Container) -> Result<()> {
    match guest.spec.role {
        Role::Authority => begin_authority(namespace, guest),
        _ => Ok(()),
    }
}

/// Writes what only a machine has to be told: its network, which a container gets from LXC.
fn machine_network(namespace: &Namespace, guest: &Container) -> Result<()> {
    for (index, net) in guest.spec.nets.iter().enumerate() {
        let gateway = if index == 0 { "Gateway=10.0.0.13\n" } else { "" };
        let text = format!("[Match]\nName=eth{index}\n\n[Network]\nAddress={}\n{gateway}", net.address);
        guest.write(namespace, &format!("/etc/systemd/network/eth{index}.network"), 0o644, 0, text.as_bytes())?;
    }
    let wanted = guest.root(namespace).join("etc/systemd/system/multi-user.target.wants/systemd-networkd.service");
    std::os::unix::fs::symlink("/lib/systemd/system/systemd-networkd.service", &wanted)
        .context("enable systemd-networkd")
}

fn gateway(namespace: &Namespace, guest: &Container) -> Result<()> {
    let (certificate, key) = pair()?;
    let (cert_path, key_path) =
        (format!("/etc/nginx/ssl/{GATEWAY_NAME}.crt"), format!("/etc/nginx/ssl/{GATEWAY_NAME}.key"));
    guest.write(namespace, &cert_path, 0o644, WWW_DATA, certificate.as_bytes())?;
    guest.write(namespace, &key_path, 0o640, WWW_DATA, key.as_bytes())?;
    for (end, mode, text) in [("crt", 0o644, &certificate), ("key", 0o640, &key)] {
        guest.write(namespace, &format!("/etc/nginx/ssl/nginx-client.{end}"), mode, WWW_DATA, text.as_bytes())?;
    }
    let site = format!(
        "server {{\n\
         \tlisten 443 ssl;\n\
         \tlisten 8443 ssl;\n\
         \tserver_name {GATEWAY_NAME};\n\
         \tssl_certificate {cert_path};\n\
         \tssl_certificate_key {key_path};\n\
         \tlocation / {{ return 200 \"the lab's gateway\\n\"; }}\n\
         \t# dockerd lets nobody in without a certificate.\n\
         \tlocation = /_ping {{\n\
         \t\tproxy_pass https://10.0.0.111:2376;\n\
         \t\tproxy_ssl_certificate /etc/nginx/ssl/nginx-client.crt;\n\
         \t\tproxy_ssl_certificate_key /etc/nginx/ssl/nginx-client.key;\n\
         \t}}\n\
         }}\n"
    );
    guest.write(namespace, "/etc/nginx/conf.d/gateway.conf", 0o644, 0, site.as_bytes())
}

/// Debian's group `www-data` (base-passwd).
const WWW_DATA: u32 = 33;

fn docker(namespace: &Namespace, guest: &Container, live_restore: bool) -> Result<()> {
    let (certificate, key) = pair()?;
    for (name, mode, text) in
        [("cert.pem", 0o644, &certificate), ("key.pem", 0o600, &key), ("ca.pem", 0o644, &certificate)]
    {
        guest.write(namespace, &format!("/etc/docker/tls/{name}"), mode, 0, text.as_bytes())?;
    }
    let mut daemon = json!({
        "hosts": ["unix:///run/docker.sock", "tcp://0.0.0.0:2376"],
        "tlsverify": true,
        "tlscacert": "/etc/docker/tls/ca.pem",
        "tlscert": "/etc/docker/tls/cert.pem",
        "tlskey": "/etc/docker/tls/key.pem",
        "live-restore": live_restore,
    });
    if guest.spec.body == Body::Machine {
        // No container ever runs in it, and an emulated processor spends a minute on the rules for them.
        daemon["bridge"] = json!("none");
        daemon["iptables"] = json!(false);
        daemon["ip6tables"] = json!(false);
    }
    guest.write(namespace, "/etc/docker/daemon.json", 0o644, 0, format!("{daemon:#}\n").as_bytes())?;
    // Debian's unit names a host of its own, which daemon.json may not do as well.
    let hosts = "[Service]\nExecStart=\nExecStart=/usr/sbin/dockerd\n";
    guest.write(namespace, "/etc/systemd/system/docker.service.d/hosts.conf", 0o644, 0, hosts.as_bytes())?;
    if guest.spec.body == Body::Machine {
        // Debian's unit is started by the virtio device that it waits for.
        return Ok(());
    }
    guest.enable(namespace, GUEST_AGENT_UNIT, GUEST_AGENT)
}

/// Debian's name of the guest agent's unit.
pub const GUEST_AGENT_UNIT: &str = "qemu-guest-agent.service";

/// What takes the place of Debian's unit, which a virtio device starts: there is no such device in a container. This is the
/// same agent at the same place.
pub const GUEST_AGENT: &str = "[Unit]\nDescription=QEMU Guest Agent\n\n[Service]\n\
    ExecStart=/usr/sbin/qemu-ga -m unix-listen -p /dev/virtio-ports/org.qemu.guest_agent.0\n\
    Restart=always\n\n[Install]\nWantedBy=multi-user.target\n";

fn authority(namespace: &Namespace, guest: &Container) -> Result<()> {
    guest.write(namespace, "/etc/step-ca/password", 0o600, 0, ca::PASSWORD.as_bytes())?;
    let unit = "[Unit]\nDescription=step-ca\nConditionPathExists=/etc/step-ca/config/ca.json\n\n[Service]\n\
                Environment=STEPPATH=/etc/step-ca HOME=/etc/step-ca\n\
                ExecStart=/usr/local/bin/step-ca /etc/step-ca/config/ca.json --password-file /etc/step-ca/password\n\
                Restart=always\n\n[Install]\nWantedBy=multi-user.target\n";
    guest.enable(namespace, "step-ca.service", unit)?;
    ["step", "step-ca"].iter().try_for_each(|name| guest.bring(namespace, &program::found(name)?))
}

/// Makes the authority in its guest, as its operator would, and waits until it is healthy.
fn begin_authority(namespace: &Namespace, guest: &Container) -> Result<()> {
    let steppath = ["env", "STEPPATH=/etc/step-ca", "HOME=/etc/step-ca"];
    let init = [
        "step",
        "ca",
        "init",
        "--deployment-type=standalone",
        "--name=Lab",
        "--dns=10.0.0.103",
        "--dns=ca.internal.example",
        "--provisioner=admin",
        "--address=:9000",
        "--password-file=/etc/step-ca/password",
        "--provisioner-password-file=/etc/step-ca/password",
    ];
    guest.exec(namespace, &[steppath.as_slice(), &init].concat())?.succeeded().context("make the authority")?;
    let path = guest.root(namespace).join("etc/step-ca/config/ca.json");
    let text = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
    let mut config: Value = serde_json::from_slice(&text).context("parse ca.json")?;
    // Thirty days, which is what its users plan for; left alone it allows one.
    config["authority"]["provisioners"][0]["claims"] = json!({ "maxTLSCertDuration": "720h" });
    fs::write(&path, format!("{config:#}\n")).with_context(|| format!("write {}", path.display()))?;
    guest.exec(namespace, &["systemctl", "start", "step-ca.service"])?.succeeded()?;
    let health = ["step", "ca", "health", "--ca-url=https://10.0.0.103:9000", "--root=/etc/step-ca/certs/root_ca.crt"];
    wait::until("step-ca to be healthy", Duration::from_secs(60), || {
        let asked = guest.exec(namespace, &[steppath.as_slice(), &health].concat());
        asked.and_then(|finished| finished.succeeded()).map(drop).map_err(|error| format!("{error:#}"))
    })
}
