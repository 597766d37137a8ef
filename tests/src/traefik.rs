//! A real Traefik as a guest's `traefik.service`, on a loopback port, with the files that the recipes write.
//!
//! Invariant: it asks nobody outside for news of itself and reports nothing.

use std::net::SocketAddr;

use anyhow::Result;
use serde_json::{Value, json};

use crate::{
    guest::Guest,
    port::Port,
    program,
    unit::{ReloadBy, Unit, UnitSpec},
};

/// Traefik in a guest.
#[derive(Debug)]
pub struct Traefik {
    unit: Unit,
    port: Port,
}

impl Traefik {
    /// Writes its static configuration, which watches [`DYNAMIC`], with `providers` beside that one; starts nothing.
    ///
    /// # Errors
    /// Traefik is not built, or a file cannot be written.
    pub fn install(guest: &Guest, providers: &Value) -> Result<Self> {
        let port = Port::reserve()?;
        let mut configuration = json!({
            "global": { "checkNewVersion": false, "sendAnonymousUsage": false },
            "log": { "level": "DEBUG" },
            "entryPoints": { "web": { "address": port.address(), "http": { "tls": {} } } },
            "providers": { "file": { "directory": guest.path(DYNAMIC), "watch": true } },
        });
        if let (Some(all), Some(more)) = (configuration["providers"].as_object_mut(), providers.as_object()) {
            all.extend(more.clone());
        }
        // JSON is YAML, which is what Traefik reads.
        guest.write("etc/traefik/traefik.yml", &format!("{configuration:#}\n"))?;
        guest.write(&format!("{DYNAMIC}/routes.yml"), ROUTES)?;
        let command = vec![
            program::found("traefik")?.display().to_string(),
            format!("--configFile={}", guest.path("/etc/traefik/traefik.yml").display()),
        ];
        let spec =
            UnitSpec { name: "traefik.service".into(), command, reload: ReloadBy::Nothing, listens: port.address() };
        Ok(Self { unit: Unit::install(guest, spec)?, port })
    }

    /// Names a server pair, at paths inside the guest, in its dynamic configuration.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn serve_pair(guest: &Guest, certificate: &str, key: &str) -> Result<()> {
        let pair = json!({ "certFile": guest.path(certificate), "keyFile": guest.path(key) });
        let text = json!({ "tls": { "certificates": [pair] } });
        guest.write(&format!("{DYNAMIC}/tls.yml"), &format!("{text:#}\n"))
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// The unit: start, stop, count restarts.
    #[must_use]
    pub fn unit(&self) -> &Unit {
        &self.unit
    }
}

/// The directory of its dynamic configuration, inside the guest.
pub const DYNAMIC: &str = "/etc/traefik/dynamic";

/// Something to have behind the TLS.
const ROUTES: &str = "http:\n  routers:\n    all:\n      rule: PathPrefix(`/`)\n      service: noop@internal\n";
