//! The services of a whole installation beside those that every lab has: Traefik, HAProxy, Caddy, PostgreSQL, and one under
//! a unit of its own.
//!
//! Invariant: as in [`services`](super::services), each starts without Pinion, on a self-signed pair.

use std::os::unix::fs::symlink;

use anyhow::{Context, Result};
use serde_json::json;

use super::{
    container::Container,
    namespace::Namespace,
    snakeoil::{pair, snakeoil},
    spec::RESTARTS,
};
use crate::program;

/// Its server pair and the one that it shows to the dockerd in 1002.
pub(super) fn traefik(namespace: &Namespace, guest: &Container) -> Result<()> {
    guest.bring(namespace, &program::found("traefik")?)?;
    let certs = "/etc/traefik/certs";
    let (certificate, key) =
        (format!("{certs}/traefik.internal.example.crt"), format!("{certs}/traefik.internal.example.key"));
    let client = (format!("{certs}/client-cert.pem"), format!("{certs}/client-key.pem"));
    snakeoil(namespace, guest, (&certificate, &key), 0o600, 0)?;
    snakeoil(namespace, guest, (&client.0, &client.1), 0o600, 0)?;
    guest.write(namespace, &format!("{certs}/ca.pem"), 0o644, 0, pair()?.0.as_bytes())?;
    let tls = json!({ "ca": format!("{certs}/ca.pem"), "cert": client.0, "key": client.1 });
    let fixed = json!({
        "global": { "checkNewVersion": false, "sendAnonymousUsage": false },
        "log": { "level": "DEBUG", "noColor": true },
        "entryPoints": { "web": { "address": ":443", "http": { "tls": {} } } },
        "providers": {
            "file": { "directory": "/etc/traefik/dynamic", "watch": true },
            "docker": { "endpoint": "tcp://10.0.0.102:2376", "tls": tls },
        },
    });
    guest.write(namespace, "/etc/traefik/traefik.yml", 0o644, 0, format!("{fixed:#}\n").as_bytes())?;
    let dynamic = json!({ "tls": { "certificates": [{ "certFile": certificate, "keyFile": key }] } });
    guest.write(namespace, "/etc/traefik/dynamic/tls.yml", 0o644, 0, format!("{dynamic:#}\n").as_bytes())?;
    let unit = "[Unit]\nDescription=Traefik\n\n[Service]\n\
                ExecStart=/usr/local/bin/traefik --configFile=/etc/traefik/traefik.yml\n\
                Restart=always\n\n[Install]\nWantedBy=multi-user.target\n";
    guest.enable(namespace, "traefik.service", unit)?;
    without_nginx(namespace, guest)
}

/// HAProxy, Caddy and PostgreSQL, as Debian has them, with a pair each.
pub(super) fn services(namespace: &Namespace, guest: &Container) -> Result<()> {
    let (chain, secret) = pair()?;
    let combined = format!("{chain}{secret}");
    guest.write(namespace, "/etc/haproxy/certs/haproxy.internal.example.pem", 0o600, 0, combined.as_bytes())?;
    let config = "global\n\tuser haproxy\n\tgroup haproxy\n\n\
                  defaults\n\tmode http\n\ttimeout connect 5s\n\ttimeout client 30s\n\ttimeout server 30s\n\n\
                  frontend web\n\tbind :443 ssl crt /etc/haproxy/certs/haproxy.internal.example.pem\n\
                  \thttp-request return status 200 content-type text/plain string haproxy\n";
    guest.write(namespace, "/etc/haproxy/haproxy.cfg", 0o644, 0, config.as_bytes())?;

    let of = |directory: &str, name: &str, end: &str| format!("{directory}/{name}.internal.example.{end}");
    let caddy = (of("/etc/caddy/certs", "caddy", "crt"), of("/etc/caddy/certs", "caddy", "key"));
    snakeoil(namespace, guest, (&caddy.0, &caddy.1), 0o640, guest.group(namespace, "caddy")?)?;
    let config = format!(
        "{{\n\tauto_https off\n}}\nhttps://caddy.internal.example:8443 {{\n\ttls {} {}\n\trespond caddy\n}}\n",
        caddy.0, caddy.1
    );
    guest.write(namespace, "/etc/caddy/Caddyfile", 0o644, 0, config.as_bytes())?;

    let postgresql = (of("/etc/postgresql/tls", "postgresql", "crt"), of("/etc/postgresql/tls", "postgresql", "key"));
    snakeoil(namespace, guest, (&postgresql.0, &postgresql.1), 0o640, guest.group(namespace, "postgres")?)?;
    let config = format!("ssl = on\nssl_cert_file = '{}'\nssl_key_file = '{}'\n", postgresql.0, postgresql.1);
    // bookworm's version.
    guest.write(namespace, "/etc/postgresql/15/main/conf.d/tls.conf", 0o644, 0, config.as_bytes())
}

/// A service that Pinion knows nothing of, and that the guest's own configuration allows to be restarted.
pub(super) fn unit(namespace: &Namespace, guest: &Container) -> Result<()> {
    guest.bring(namespace, &program::own("tls-server")?)?;
    snakeoil(namespace, guest, ("/etc/ssl/vllm/vllm.crt", "/etc/ssl/vllm/vllm.key"), 0o600, 0)?;
    let unit = "[Unit]\nDescription=In vLLM's place\n\n[Service]\n\
                ExecStart=/usr/local/bin/tls-server --listen 0.0.0.0:8000 --fullchain /etc/ssl/vllm/vllm.crt --key /etc/ssl/vllm/vllm.key\n\
                Restart=always\n\n[Install]\nWantedBy=multi-user.target\n";
    guest.enable(namespace, "vllm.service", unit)?;
    let allowed = format!("{RESTARTS}\n[allow]\nunits = [\"vllm.service\"]\n");
    guest.write(namespace, "/etc/pinion/agent.toml", 0o644, 0, allowed.as_bytes())?;
    without_nginx(namespace, guest)
}

/// Its tree has one.
fn without_nginx(namespace: &Namespace, guest: &Container) -> Result<()> {
    let place = guest.root(namespace).join("etc/systemd/system/nginx.service");
    symlink("/dev/null", &place).with_context(|| format!("mask nginx in guest {}", guest.spec.vmid))
}
