//! The small TLS server `tls-server` as a guest's `tls-server.service`: for machines without nginx.

use std::net::SocketAddr;

use anyhow::Result;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    guest::Guest,
    port::Port,
    program,
    unit::{ReloadBy, Unit, UnitSpec},
};

/// A TLS server in a guest. It reads its pair when it starts and on SIGHUP.
#[derive(Debug)]
pub struct TlsServer {
    files: (String, String),
    unit: Unit,
    port: Port,
}

impl TlsServer {
    /// Writes its hook for a chain and key at paths inside the guest; starts nothing.
    ///
    /// # Errors
    /// The program is not built, or the hook cannot be written.
    pub fn install(guest: &Guest, fullchain: &str, key: &str) -> Result<Self> {
        Self::install_as(guest, "tls-server.service", fullchain, key)
    }

    /// The same under another unit's name, in the place of a service that the machine does not have.
    ///
    /// # Errors
    /// As [`Self::install`].
    pub fn install_as(guest: &Guest, unit: &str, fullchain: &str, key: &str) -> Result<Self> {
        let port = Port::reserve()?;
        let command = vec![
            program::own("tls-server")?.display().to_string(),
            "--listen".into(),
            port.address().to_string(),
            "--fullchain".into(),
            guest.path(fullchain).display().to_string(),
            "--key".into(),
            guest.path(key).display().to_string(),
        ];
        let spec =
            UnitSpec { name: unit.into(), command, reload: ReloadBy::Signal(Signal::HUP), listens: port.address() };
        let files = (fullchain.to_owned(), key.to_owned());
        Ok(Self { unit: Unit::install(guest, spec)?, port, files })
    }

    /// The manifest's placement for it. The unit is reloaded or restarted, as `tell` says; the issuer's
    /// root goes beside the chain as `root.crt`, for clients.
    #[must_use]
    pub fn placement(&self, guest: &Guest, tell: &str) -> Value {
        let (fullchain, key) = &self.files;
        json!({
            "guest": guest.manifest_name(),
            "files": {
                "fullchain": { "path": fullchain },
                "key": { "path": key },
                "ca": { "path": self.ca() },
            },
            "reload": { tell: "tls-server.service" },
            "probe": { "connect": self.address() },
        })
    }

    /// Where the placement puts the issuer's root, inside the guest.
    #[must_use]
    pub fn ca(&self) -> String {
        let directory = self.files.0.rsplit_once('/').map_or("", |(directory, _)| directory);
        format!("{directory}/root.crt")
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// The unit: start, stop, count reloads.
    #[must_use]
    pub fn unit(&self) -> &Unit {
        &self.unit
    }
}
