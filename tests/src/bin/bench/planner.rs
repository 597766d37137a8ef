//! The planner over a hundred thousand placements.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use pinion_controller::{
    inventory::Inventory,
    manifest::Manifest,
    planner::{Decision, plan},
    store::{Area, Store},
    world::Reports,
};
use pinion_proto::{
    bundle::Leaf,
    clock::Timestamp,
    id::Guest,
    report::{Held, PlacementReport},
    stage::Stage,
};
use rcgen::{CertificateParams, KeyPair};
use serde_json::json;

use crate::table::{Bound, Row};

const CERTIFICATES: u32 = 100;
const GUESTS: u32 = 1000;
const RUNS: usize = 20;

/// The median time of a plan in which everything is as it should be: what the loop does all day.
pub(crate) fn measure() -> Result<Row> {
    let median = Fleet::new(GUESTS, CERTIFICATES)?.plan()?.as_secs_f64() * 1000.0;
    Ok(Row::new("planner_100k_ms", "planner, 100,000 placements", median, Bound::AtMostMs(100.0)))
}

/// What is wanted, and what all guests say they have, which is the same.
pub(crate) struct Fleet {
    manifest: Manifest,
    reports: Reports,
    now: Timestamp,
}

impl Fleet {
    /// Each of so many guests has so many certificates.
    pub(crate) fn new(guests: u32, certificates: u32) -> Result<Self> {
        let text = json!({ "version": 1, "certificates": (0..certificates).map(|certificate| json!({
            "name": format!("c{certificate}"), "common_name": format!("c{certificate}.internal.example"),
            "placements": (0..guests).map(|guest| json!({
                "guest": 1000 + guest, "files": {
                    "cert": { "path": format!("/etc/ssl/{certificate}.crt") },
                    "key": { "path": format!("/etc/ssl/{certificate}.key") } } })).collect::<Vec<_>>(),
        })).collect::<Vec<_>>() });
        let text = serde_json::to_vec(&text).context("write JSON")?;
        let manifest = Manifest::parse(&text).context("parse the manifest")?;
        let now = Timestamp::from(std::time::SystemTime::now());
        let mut reports = Reports::default();
        let key = KeyPair::generate().context("make a key")?;
        for certificate in &manifest.certificates {
            let common_name = &certificate.content.leaf().context("a certificate")?.common_name;
            let names = vec![common_name.plain()];
            let mut params = CertificateParams::new(names).context("name a certificate")?;
            (params.not_before, params.not_after) = (now.into(), (now + Duration::from_secs(30 * 86_400)).into());
            let signed = params.self_signed(&key).context("sign a certificate")?;
            let held = Held {
                generation: 1,
                leaf: Leaf::parse(signed.der()).context("read a certificate")?,
                issuer: certificate.issuer.clone().context("it names its issuer")?,
                common_name: Some(common_name.clone()),
                root: None,
                chain_ends: None,
                adopted: false,
            };
            for guest in 0..guests {
                let guest = Guest::Vmid((1000 + guest).try_into().context("a VMID")?);
                reports.link_up(guest, now);
                let report = PlacementReport {
                    last_generation: 1,
                    stage: Stage::Served,
                    held: Some(held.clone()),
                    ..PlacementReport::nothing(certificate.name.clone())
                };
                reports.report(guest, report, now);
            }
        }
        Ok(Self { manifest, reports, now })
    }

    /// The median time of a plan.
    pub(crate) fn plan(&self) -> Result<Duration> {
        let inventory = Inventory::default();
        let mut times = Vec::with_capacity(RUNS);
        for _ in 0..RUNS {
            let started = Instant::now();
            let plan = plan(&self.manifest, &inventory, &self.reports, self.now);
            times.push(started.elapsed());
            ensure!(plan.placements.iter().all(|planned| planned.decision == Decision::Keep), "all is well");
        }
        times.sort_unstable();
        times.get(RUNS / 2).copied().context("a median")
    }

    /// Writes what is known of each guest.
    pub(crate) fn write(&self, store: &Store) -> Result<()> {
        for (guest, _) in self.reports.guests() {
            let record = self.reports.record(guest, self.now).context("a guest that is known")?;
            store.write(Area::Local, &format!("reports/{guest}"), &record)?;
        }
        Ok(())
    }
}
