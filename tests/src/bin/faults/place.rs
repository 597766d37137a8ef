//! A guest with nginx in it whose pair Pinion keeps, and its host.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, ensure};
use pinion_proto::{spec::Layout, stage::Stage};
use pinion_tests::{
    guest::{Guest, GuestOptions},
    host::{Host, HostOptions},
    look,
    nginx::Nginx,
    site,
    status::PlacementJson,
};
use serde_json::json;

use crate::disk::Disk;

/// Everything runs, and the certificate is served.
pub(crate) struct Place {
    /// A small disk in the guest. It goes first, so that the guest's directory can be removed.
    pub(crate) disk: Option<Disk>,
    /// Ends before its guest does.
    pub(crate) nginx: Nginx,
    pub(crate) guest: Guest,
    pub(crate) host: Host,
    pub(crate) layout: Layout,
    /// The issuer's root, for clients, outside of what is attacked.
    pub(crate) root: PathBuf,
}

impl Place {
    /// What is asked for by clients.
    pub(crate) const NAME: &str = "web.internal.example";
    /// The placement, as the status calls it.
    pub(crate) const PLACEMENT: &str = "web@1001";
    /// Where its files are in the guest.
    pub(crate) const DIRECTORY: &str = "/etc/nginx/ssl";
    /// What the agent knows.
    pub(crate) const STATE: &str = "/var/lib/pinion-agent";

    /// With a small disk over one of the guest's directories, if one is named.
    pub(crate) fn served(layout: Layout, disk: Option<&str>) -> Result<Self> {
        let guest = Guest::prepare("1001", &GuestOptions::default())?;
        let disk = disk.map(|inside| Disk::mount(&guest.path(inside))).transpose()?;
        let (chain, key, ca) = (path("crt"), path("key"), format!("{}/root.crt", Self::DIRECTORY));
        let nginx = Nginx::install(&guest, &chain, &key)?;
        Nginx::place_snakeoil(&guest, &chain, &key)?;
        let host = Host::start(&HostOptions::embedded(&json!([])))?;
        let root = host.root().join("root.crt");
        let mut place = Self { disk, nginx, guest, host, layout, root };
        place.nginx.unit().start()?;
        place.guest.join_with(&place.host.token(place.guest.name())?)?.succeeded()?;
        place.guest.start()?;
        place.guest.wait_linked(&place.host)?;
        let mut placement = place.nginx.placement(&place.guest);
        placement["layout"] = json!(layout.to_string());
        placement["files"] = json!({ "ca": { "path": ca } });
        let certificate = json!({ "name": "web", "common_name": Self::NAME, "placements": [placement] });
        place.host.write_manifest(&site::manifest(json!([certificate])))?;
        place.host.ensure(&[], "served").with_context(|| place.guest.log_tail())?;
        fs::copy(place.guest.path(&ca), &place.root).context("keep the root for clients")?;
        // Once more, so that there is a generation before the one in use.
        place.host.renew(&[], "served").with_context(|| place.guest.log_tail())?;
        place.is_served(&place.serial()?)?;
        Ok(place)
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.guest.path(&path("key"))
    }

    pub(crate) fn chain(&self) -> PathBuf {
        self.guest.path(&path("crt"))
    }

    /// The link to the generation in use.
    pub(crate) fn current(&self) -> PathBuf {
        self.guest.path(Self::DIRECTORY).join(".pinion/web/current")
    }

    /// The serial number that the status tells.
    pub(crate) fn serial(&self) -> Result<String> {
        let status = self.host.status()?;
        let placement = status.placement(Self::PLACEMENT).context("the status knows the placement")?;
        placement.serial.clone().context("something is installed")
    }

    /// Waits until it is served without trouble, by itself, and as `wanted` says; its serial number.
    pub(crate) fn comes_to_be_served(&self, wanted: impl Fn(&PlacementJson) -> bool) -> Result<String> {
        let seen = self.host.wait_placement(Self::PLACEMENT, |placement| {
            placement.stage == Stage::Served && placement.trouble.is_none() && wanted(placement)
        });
        let serial = seen.with_context(|| self.guest.log_tail())?.serial.context("what is served has a serial")?;
        self.is_served(&serial)?;
        Ok(serial)
    }

    /// Clients that trust the root see this certificate.
    pub(crate) fn is_served(&self, serial: &str) -> Result<()> {
        let seen = look::wait_served(self.nginx.address(), Self::NAME, &self.root, serial)?;
        ensure!(seen.serial() == serial, "clients see {}", seen.serial());
        Ok(())
    }
}

fn path(end: &str) -> String {
    format!("{}/{}.{end}", Place::DIRECTORY, Place::NAME)
}
