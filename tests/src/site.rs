//! The smallest whole: a host, a guest, and one TLS service in it that is served.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::{
    guest::{Guest, GuestOptions},
    host::{Host, HostOptions},
    journal, look, openssl,
    tls_server::TlsServer,
};

/// A host with one guest, 1001, whose `tls-server.service` has the certificate `web`.
#[derive(Debug)]
pub struct Site {
    /// Ends before its guest does.
    pub server: TlsServer,
    /// The guest; its agent runs.
    pub guest: Guest,
    /// The host; its controller runs.
    pub host: Host,
}

impl Site {
    /// The placement that everything is about.
    pub const PLACEMENT: &str = "web@1001";

    /// The name that the service is asked by.
    pub const NAME: &str = "web.internal.example";

    /// Where the chain lies in the guest.
    pub const FULLCHAIN: &str = "/etc/ssl/web/web.crt";

    /// Where the key lies in the guest.
    pub const KEY: &str = "/etc/ssl/web/web.key";

    /// Everything up, and the certificate served.
    ///
    /// # Errors
    /// Something does not start, or the certificate is not served.
    pub fn served() -> Result<Self> {
        Self::served_on(Host::prepare(&HostOptions::embedded(&json!([])))?)
    }

    /// As [`Self::served`], on this host; its controller is started if it does not run.
    ///
    /// # Errors
    /// As [`Self::served`].
    pub fn served_on(mut host: Host) -> Result<Self> {
        let guest = Guest::prepare("1001", &GuestOptions::default())?;
        let server = TlsServer::install(&guest, Self::FULLCHAIN, Self::KEY)?;
        if host.controller().is_none() {
            host.start_again()?;
        }
        let mut site = Self { server, guest, host };
        site.guest.join_with(&site.host.token(site.guest.name())?)?.succeeded()?;
        site.guest.start()?;
        site.guest.wait_linked(&site.host)?;
        site.host.write_manifest(&site.manifest())?;
        site.host.ensure(&[], "installed")?;
        site.server.unit().start()?;
        site.host.ensure(&[], "served")?;
        Ok(site)
    }

    /// The manifest in force: this one certificate in this one place.
    #[must_use]
    pub fn manifest(&self) -> Value {
        manifest(json!([self.certificate()]))
    }

    /// The manifest's entry.
    #[must_use]
    pub fn certificate(&self) -> Value {
        json!({ "name": "web", "common_name": Self::NAME, "placements": [self.placement()] })
    }

    /// The manifest's placement.
    #[must_use]
    pub fn placement(&self) -> Value {
        self.server.placement(&self.guest, "reload")
    }

    /// Where the issuer's root lies for clients.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.guest.path(&self.server.ca())
    }

    /// The serial number that status, file and service agree on.
    ///
    /// # Errors
    /// They do not agree, or one cannot be asked.
    pub fn serial(&self) -> Result<String> {
        let status = self.host.status()?;
        let placement = status.placement(Self::PLACEMENT).context("the status knows the placement")?;
        let told = placement.serial.clone().context("something is installed")?;
        let written = openssl::serial(&self.guest.read(Self::FULLCHAIN)?)?;
        let shown = look::served(self.server.address(), Self::NAME, &self.root())?;
        ensure!(told == written && told == shown.serial(), "status {told}, file {written}, service {}", shown.serial());
        ensure!(
            openssl::is_pair(&self.guest.path(Self::FULLCHAIN), &self.guest.path(Self::KEY))?,
            "certificate and key are no pair"
        );
        Ok(told)
    }

    /// How many certificates were ever signed for the placement.
    ///
    /// # Errors
    /// The events cannot be read.
    pub fn issued(&self) -> Result<usize> {
        Ok(journal::issued(&self.host, Self::PLACEMENT)?.len())
    }
}

/// A manifest with these certificates, signed by the embedded CA.
#[must_use]
pub fn manifest(certificates: Value) -> Value {
    json!({ "version": 1, "defaults": { "issuer": "embedded" }, "certificates": certificates })
}
