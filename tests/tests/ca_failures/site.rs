//! A host that has its certificates from a step-ca, and one guest whose TLS server is served with one.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};
use pinion_proto::{
    bundle::Fingerprint,
    stage::{Halt, Stage},
};
use pinion_tests::{
    ca::{HostileCa, PASSWORD, StepCa},
    guest::{Guest, GuestOptions},
    host::{Host, HostOptions, StepCaIssuer},
    look,
    status::PlacementJson,
    tls_server::TlsServer,
};
use serde_json::{Value, json};

/// The name that the service is asked by; a CA whose policy forbids `*.forbidden.example` is fine with it.
pub(crate) const NAME: &str = "web.internal.example";
pub(crate) const PLACEMENT: &str = "web@1001";
const FILES: [&str; 3] = ["/etc/ssl/web/web.crt", "/etc/ssl/web/web.key", "/etc/ssl/web/root.crt"];

/// The whole; the server ends before its guest does.
pub(crate) struct Site {
    pub(crate) server: TlsServer,
    pub(crate) guest: Guest,
    pub(crate) host: Host,
}

/// What must not change while the CA fails.
#[derive(Debug, PartialEq)]
pub(crate) struct Installed {
    serial: String,
    files: Vec<String>,
}

/// How the controller finds a real CA, through this address, with the password in this file.
pub(crate) fn issuer(url: &str, fingerprint: Fingerprint, password_file: &Path) -> StepCaIssuer {
    StepCaIssuer {
        url: url.to_owned(),
        fingerprint: fingerprint.to_string(),
        provisioner: "admin".into(),
        password_file: password_file.to_owned(),
        revoke_replaced: false,
        roots_every: None,
    }
}

pub(crate) fn issuer_of(ca: &StepCa) -> StepCaIssuer {
    issuer(&ca.url(), ca.fingerprint().expect("a root"), &ca.password_file())
}

/// The same for a lying one; the file lives as long as the value.
pub(crate) fn issuer_of_hostile(ca: &HostileCa) -> (StepCaIssuer, tempfile::NamedTempFile) {
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), PASSWORD).expect("the password is written");
    (issuer(&ca.url(), ca.fingerprint(), file.path()), file)
}

impl Site {
    /// Linked, and ordered; whether it is signed is the CA's affair.
    pub(crate) fn start(issuer: StepCaIssuer) -> Self {
        Self::try_start(issuer, "", json!({})).expect("the site starts")
    }

    /// As [`Self::start`], with more settings of the issuer and more fields of the certificate.
    pub(crate) fn try_start(issuer: StepCaIssuer, settings: &str, fields: Value) -> Result<Self> {
        let mut guest = Guest::prepare("1001", &GuestOptions::default())?;
        let server = TlsServer::install(&guest, FILES[0], FILES[1])?;
        let mut certificate =
            json!({ "name": "web", "common_name": NAME, "placements": [server.placement(&guest, "reload")] });
        for (name, value) in fields.as_object().context("fields")? {
            certificate[name] = value.clone();
        }
        let host = start_host(&HostOptions::step_ca(issuer, &json!([certificate])), settings)?;
        guest.join_with(&host.token("1001")?)?.succeeded()?;
        guest.start()?;
        guest.wait_linked(&host)?;
        Ok(Self { server, guest, host })
    }

    /// As [`Self::start`], up to served.
    pub(crate) fn served(issuer: StepCaIssuer, settings: &str) -> Self {
        let site = Self::try_start(issuer, settings, json!({})).expect("the site starts");
        site.bring_up().expect("the first certificate is served");
        site
    }

    /// Starts the service on its first certificate.
    pub(crate) fn bring_up(&self) -> Result<()> {
        self.host.wait_placement(PLACEMENT, |placement| placement.stage >= Stage::Installed)?;
        self.server.unit().start()?;
        self.host.wait_placement(PLACEMENT, |placement| placement.stage == Stage::Served).map(drop)
    }

    /// What is in the guest's files and served from them.
    pub(crate) fn installed(&self) -> Result<Installed> {
        let files = FILES.iter().map(|file| self.guest.read(file)).collect::<Result<Vec<_>>>()?;
        let leaf = look::served(self.server.address(), NAME, &self.guest.path(FILES[2]))?;
        ensure!(files[0].contains("BEGIN CERTIFICATE"), "no certificate in {}", FILES[0]);
        Ok(Installed { serial: leaf.serial().to_owned(), files })
    }

    /// Asks for a renewal that cannot be had now; nobody waits for it.
    pub(crate) fn ask_in_vain(&self) {
        let asked = self.host.pinion(&["ensure", "web", "--renew", "--timeout", "100ms"]).expect("pinion runs");
        assert_eq!(asked.code(), 3, "it goes on trying: {asked}");
    }

    /// Waits until status says that this holds the placement up.
    pub(crate) fn wait_trouble(&self, halt: Halt, words: &str) -> PlacementJson {
        let held_up = |placement: &PlacementJson| {
            placement.trouble.as_ref().is_some_and(|trouble| trouble.halt == halt && trouble.cause.contains(words))
        };
        let seen = self.host.wait_placement(PLACEMENT, held_up).expect("the trouble is told");
        let trouble = seen.trouble.as_ref().expect("a trouble");
        assert!(trouble.retry_at.is_some() && !trouble.remedy.is_empty(), "{trouble:?}");
        seen
    }

    /// Waits for a later content than this, served.
    pub(crate) fn wait_renewed(&self, before: &Installed) -> Installed {
        let renewed = |placement: &PlacementJson| {
            placement.stage == Stage::Served
                && placement.trouble.is_none()
                && placement.serial.as_ref() != Some(&before.serial)
        };
        let seen = self.host.wait_placement(PLACEMENT, renewed).expect("it heals by itself");
        let serial = seen.serial.expect("something is installed");
        look::wait_served(self.server.address(), NAME, &self.guest.path(FILES[2]), &serial).expect("it is served");
        self.installed().expect("what is installed is served")
    }
}

/// Starts a host whose step-ca has these settings besides the harness's.
pub(crate) fn start_host(options: &HostOptions, settings: &str) -> Result<Host> {
    let mut host = Host::prepare(options)?;
    let path = host.root().join("etc/pinion/controller.toml");
    let text = fs::read_to_string(&path)?.replace("type = \"step-ca\"\n", &format!("type = \"step-ca\"\n{settings}\n"));
    fs::write(&path, text)?;
    host.start_again()?;
    Ok(host)
}
