//! A guest with services in it, and a host that orders their certificates.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use pinion_proto::stage::{Halt, Stage, Trouble};
use pinion_tests::{
    guest::{Guest, GuestOptions},
    host::{Host, HostOptions},
    look, openssl, site,
    unit::Unit,
    wait::{self, PATIENCE},
};
use serde_json::{Value, json};

/// A guest whose agent runs with a service of some kind, and its host.
pub(crate) struct Place<S> {
    /// Ends before its guest does.
    pub(crate) service: S,
    pub(crate) guest: Guest,
    pub(crate) host: Host,
}

impl<S> Place<S> {
    /// A prepared guest joins; nothing is ordered yet.
    pub(crate) fn join(mut guest: Guest, service: S) -> Result<Self> {
        let host = Host::start(&HostOptions::embedded(&json!([])))?;
        guest.join_with(&host.token(guest.name())?)?.succeeded()?;
        guest.start()?;
        guest.wait_linked(&host)?;
        Ok(Self { service, guest, host })
    }

    /// Writes a manifest with these certificates: each a name and its placement. Common names are `NAME.internal.example`.
    pub(crate) fn order(&self, placements: &[(&str, &Value)]) -> Result<()> {
        let certificate = |(name, placement): &(&str, &Value)| json!({ "name": name, "common_name": common_name(name), "sans": ["127.0.0.1"], "placements": [placement] });
        let all: Vec<Value> = placements.iter().map(certificate).collect();
        self.host.write_manifest(&site::manifest(json!(all)))
    }

    /// The placement's serial number, as the status has it.
    pub(crate) fn serial(&self, name: &str) -> Result<String> {
        let status = self.host.status()?;
        let placement = status.placement(&self.id(name)).context("the status knows the placement")?;
        placement.serial.clone().context("something is installed")
    }

    /// The serial number of the certificate in a file of the guest's.
    pub(crate) fn written(&self, path: &str) -> Result<String> {
        openssl::serial(&self.guest.read(path)?)
    }

    /// Waits until the placement waits for something, by itself and with a cause that has this in it.
    pub(crate) fn waiting(&self, name: &str, cause: &str) -> Result<Trouble> {
        let id = self.id(name);
        wait::until(&format!("{id} to wait for {cause:?}"), PATIENCE, || {
            let status = self.host.status().map_err(|e| format!("{e:#}"))?;
            let placement = status.placement(&id).ok_or("there is no such placement")?;
            match &placement.trouble {
                Some(trouble) if trouble.halt == Halt::Waiting && trouble.cause.contains(cause) => Ok(trouble.clone()),
                other => Err(format!("{:?}, {other:?}", placement.stage)),
            }
        })
    }

    /// Waits until the placement is at this stage without trouble; nobody asks for it.
    pub(crate) fn comes_to(&self, name: &str, stage: Stage) -> Result<()> {
        let id = self.id(name);
        wait::until(&format!("{id} to come to {stage} by itself"), PATIENCE, || {
            let status = self.host.status().map_err(|e| format!("{e:#}"))?;
            match status.placement(&id) {
                Some(placement) if placement.stage == stage && placement.trouble.is_none() => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
    }

    /// Renews, and another certificate than before is in place.
    pub(crate) fn renew(&self, name: &str, until: &str) -> Result<String> {
        let before = self.serial(name)?;
        self.host.renew(&[name], until).map(drop).with_context(|| self.guest.log_tail())?;
        let after = self.serial(name)?;
        ensure!(before != after, "it is still {before}");
        Ok(after)
    }

    pub(crate) fn id(&self, name: &str) -> String {
        format!("{name}@{}", self.guest.name())
    }
}

/// What every TLS service under a unit has to go through: it comes up after its certificate, a renewal is served, and
/// while it is stopped the renewed certificate waits for it. `ca` is the issuer's root in the guest.
pub(crate) fn goes_round<S>(place: &Place<S>, name: &str, unit: &Unit, address: SocketAddr, ca: &str) -> Result<()> {
    let ca = place.guest.path(ca);
    let asked = common_name(name);
    unit.start()?;
    place.host.ensure(&[name], "served").with_context(|| format!("{}\n{}", place.guest.log_tail(), unit.log()))?;
    look::wait_served(address, &asked, &ca, &place.serial(name)?)?;

    let renewed = place.renew(name, "served").with_context(|| unit.log())?;
    look::wait_served(address, &asked, &ca, &renewed)?;

    unit.stop()?;
    let before = place.serial(name)?;
    place.host.renew(&[name], "installed").map(drop)?;
    place.waiting(name, "")?;
    ensure!(place.serial(name)? != before, "the files do not wait for the service");
    unit.start()?;
    place.comes_to(name, Stage::Served)?;
    look::wait_served(address, &asked, &ca, &place.serial(name)?).map(drop)
}

/// A guest of the usual kind, with nothing in it yet.
pub(crate) fn guest() -> Result<Guest> {
    Guest::prepare("1001", &GuestOptions::default())
}

/// A placement in the guest 1001 by a recipe, with these fields more.
pub(crate) fn placement(recipe: &str, more: Value) -> Value {
    let mut placement = json!({ "guest": 1001, "recipe": recipe });
    if let (Some(fields), Value::Object(more)) = (placement.as_object_mut(), more) {
        fields.extend(more);
    }
    placement
}

pub(crate) fn common_name(name: &str) -> String {
    format!("{name}.internal.example")
}
