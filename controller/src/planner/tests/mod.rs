//! What operators and the reconciler rely on: when something is ordered, when not, and what is said about it.

mod adopting;
mod decisions;
mod many;
mod patience;
mod plan;
mod presence;
mod renamed;
mod renewals;
mod rollover;
mod rounds;
mod shared_keys;
mod taken_back;
mod turns;
mod windows;

use jiff::tz::TimeZone;
use pinion_proto::{
    bundle::Leaf,
    report::{Held, Incoming, PlacementReport, Progress},
    stage::Stage,
};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

use super::*;

/// A Wednesday.
const NOW: &str = "2026-07-01T12:00:00Z";

const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;

fn at(text: &str) -> Timestamp {
    text.parse().expect(text)
}

fn seconds(seconds: u64) -> std::time::Duration {
    std::time::Duration::from_secs(seconds)
}

fn id(text: &str) -> PlacementId {
    text.parse().expect(text)
}

fn manifest(text: &str) -> Manifest {
    Manifest::parse_in(text.as_bytes(), &TimeZone::UTC).unwrap_or_else(|errors| panic!("{errors}\n{text}"))
}

/// The manifest of one certificate `web` for `a.example` in guest 101, with more fields.
fn web(certificate: &str, placement: &str) -> Manifest {
    manifest(&format!(
        r#"{{"version": 1, "certificates": [{{"name": "web", "common_name": "a.example"{certificate},
            "placements": [{{"guest": 101, "recipe": "nginx"{placement}}}]}}]}}"#
    ))
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a P-256 key")
}

fn params(names: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).expect("names");
    params.distinguished_name = DistinguishedName::new();
    params
}

fn leaf(key: &KeyPair, names: &[&str], from: Timestamp, until: Timestamp) -> Leaf {
    let mut params = params(names);
    (params.not_before, params.not_after) = (from.into(), until.into());
    Leaf::parse(params.self_signed(key).expect("a certificate").der()).expect("a leaf")
}

fn request(key: &KeyPair, names: &[&str]) -> Progress {
    Progress::Requested(params(names).serialize_request(key).expect("a request").der().to_vec())
}

fn request_as(common_name: &str, key: &KeyPair, names: &[&str]) -> Progress {
    let mut params = params(names);
    params.distinguished_name.push(DnType::CommonName, common_name);
    Progress::Requested(params.serialize_request(key).expect("a request").der().to_vec())
}

fn holding(certificate: &str, generation: u64, leaf: Leaf) -> PlacementReport {
    PlacementReport {
        last_generation: generation,
        stage: Stage::Served,
        held: Some(Held {
            generation,
            leaf,
            issuer: "embedded".parse().expect("a name"),
            common_name: Some("a.example".parse().expect("a name")),
            root: None,
            chain_ends: None,
            adopted: false,
        }),
        ..PlacementReport::nothing(certificate.parse().expect("a name"))
    }
}

fn with_incoming(mut report: PlacementReport, generation: u64, progress: Progress) -> PlacementReport {
    report.last_generation = report.last_generation.max(generation);
    report.incoming = Some(Incoming { generation, progress });
    report
}

/// A world with guest 101 linked, which holds a good certificate for `a.example` in generation 3, of which
/// two thirds of 30 days lie ahead.
struct World {
    reports: Reports,
    inventory: Inventory,
    now: Timestamp,
    key: KeyPair,
}

impl World {
    fn empty() -> Self {
        Self { reports: Reports::default(), inventory: Inventory::default(), now: at(NOW), key: key() }
    }

    fn linked() -> Self {
        let mut world = Self::empty();
        world.reports.link_up(id("web@101").guest, world.now);
        world
    }

    fn healthy() -> Self {
        let mut world = Self::linked();
        world.report(world.held());
        world
    }

    fn held(&self) -> PlacementReport {
        self.held_for(&["a.example"], self.now - seconds(10 * DAY), self.now + seconds(20 * DAY))
    }

    /// A report of what is due since nearly a day: 21 of 30 days have passed.
    fn due(&self) -> PlacementReport {
        self.held_for(&["a.example"], self.now - seconds(21 * DAY), self.now + seconds(9 * DAY))
    }

    fn held_for(&self, names: &[&str], from: Timestamp, until: Timestamp) -> PlacementReport {
        holding("web", 3, leaf(&self.key, names, from, until))
    }

    fn report(&mut self, report: PlacementReport) {
        self.reports.report(id("web@101").guest, report, self.now);
    }

    fn pass(&mut self, length: u64) {
        self.now = self.now + seconds(length);
    }

    /// Plans for a manifest of one placement.
    fn one<'m>(&self, manifest: &'m Manifest) -> Planned<'m> {
        self.plan(manifest).placements.pop().expect("one placement")
    }

    fn plan<'m>(&self, manifest: &'m Manifest) -> Plan<'m> {
        plan(manifest, &self.inventory, &self.reports, self.now)
    }

    #[track_caller]
    fn order(&self, manifest: &Manifest) -> Order {
        match self.one(manifest).decision {
            Decision::Order(order) => order,
            other => panic!("no order: {other}"),
        }
    }

    #[track_caller]
    fn keeps(&self, manifest: &Manifest) {
        let decision = self.one(manifest).decision;
        assert_eq!(decision, Decision::Keep, "{decision}");
    }

    #[track_caller]
    fn waits(&self, manifest: &Manifest) -> Trouble {
        match self.one(manifest).decision {
            Decision::Wait(trouble) => trouble,
            other => panic!("does not wait: {other}"),
        }
    }
}
