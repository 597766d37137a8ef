//! What an operator relies on: the design's example is read as it is meant, and every mistake is named,
//! at its place, all of them at once.

mod agreement;
mod defaults;
mod files;
mod mistakes;
mod trust;
mod watch;
mod windows;

use std::time::Duration;

use jiff::tz::TimeZone;
use pinion_proto::{
    id::Guest,
    key::{KeyAlgorithm, KeyPolicy},
    names::{SubjectName, SubjectNames},
    spec::{Part, Probe, Reload, TlsProbe},
};

use super::*;

/// The example of the documentation.
pub(super) const EXAMPLE: &str = r#"{
  "version": 1,
  "defaults": { "issuer": "step-ca", "duration": "30d" },
  "certificates": [
    { "name": "gateway",
      "common_name": "nginx.internal.example", "sans": ["*.internal.example"],
      "placements": [ { "guest": 101, "recipe": "nginx" } ] },
    { "name": "docker",
      "common_name": "docker.internal.example", "sans": ["10.0.0.111", "127.0.0.1"],
      "key": { "algorithm": "ecdsa-p384", "rotation": "always" },
      "placements": [ { "guest": 1001, "recipe": "docker" },
                      { "guest": "Worker", "recipe": "docker", "sans": ["10.0.0.102", "127.0.0.1"],
                        "window": { "days": ["sat", "sun"], "from": "02:00", "to": "04:00" } } ] },
    { "name": "vllm", "common_name": "vllm.internal.example",
      "placements": [ { "guest": 801,
        "files": { "fullchain": { "path": "/etc/ssl/vllm/vllm.crt", "mode": "0644" },
                   "key":       { "path": "/etc/ssl/vllm/vllm.key", "mode": "0600", "owner": "vllm", "group": "vllm" } },
        "validate": { "hook": "vllm-check" },
        "reload": { "restart": "vllm.service" },
        "probe":  { "connect": "127.0.0.1:8000", "server_name": "vllm.internal.example" } } ] },
    { "name": "archive", "common_name": "archive.internal.example", "shared": true,
      "duration": "12h", "renew_before": "4h", "issuer": "embedded",
      "placements": [ { "host": true,
        "files": { "cert": { "path": "/mnt/pve/nfs/archive/cert.pem" }, "key": { "path": "/mnt/pve/nfs/archive/key.pem", "mode": "0640" } },
        "reload": "nothing", "probe": "nothing", "purge": true } ] }
  ]
}
"#;

pub(super) fn parse(text: &str) -> Result<Manifest, ManifestErrors> {
    Manifest::parse_in(text.as_bytes(), &TimeZone::UTC)
}

fn names(texts: &[&str]) -> SubjectNames {
    let names: Vec<SubjectName> = texts.iter().map(|text| text.parse().expect(text)).collect();
    names.try_into().expect("names")
}

fn leaf(certificate: &Certificate) -> &LeafPolicy {
    certificate.content.leaf().expect("a certificate")
}

#[test]
fn the_example_is_read_as_it_is_meant() {
    let manifest = parse(EXAMPLE).unwrap_or_else(|errors| panic!("{errors}"));
    let [gateway, docker, vllm, archive] = manifest.certificates.as_slice() else { panic!("four certificates") };

    assert_eq!(gateway.issuer.as_ref().map(|issuer| issuer.as_str()), Some("step-ca"));
    let web = leaf(gateway);
    assert_eq!(web.duration, Duration::from_secs(30 * 86_400));
    assert_eq!(web.names, names(&["nginx.internal.example", "*.internal.example"]));
    assert_eq!(web.key, KeyPolicy::default());

    assert_eq!(leaf(docker).key.algorithm, KeyAlgorithm::EcdsaP384);
    let [manager, worker] = docker.placements.as_slice() else { panic!("two placements") };
    let names_at = |placement| docker.content_at(placement).leaf().expect("a certificate").names.clone();
    assert_eq!(names_at(manager), names(&["docker.internal.example", "10.0.0.111", "127.0.0.1"]));
    assert_eq!(names_at(worker), names(&["docker.internal.example", "10.0.0.102", "127.0.0.1"]));
    assert_eq!(worker.guest, GuestRef::Name("worker".parse().expect("a name")));
    assert!(worker.window.is_some() && manager.window.is_none());

    let vllm = vllm.placements.first().expect("one placement");
    let key = vllm.files.get(&Part::Key).expect("a key");
    assert_eq!(key.mode.map(|mode| mode.bits()), Some(0o600));
    assert!(matches!(&vllm.reload, Some(Reload::Restart(unit)) if unit.as_str() == "vllm.service"));
    assert!(matches!(&vllm.probe, Some(Probe::Tls(TlsProbe { server_name: Some(_), .. }))));

    assert!(archive.is_shared());
    assert_eq!(leaf(archive).renew_before, Some(Duration::from_secs(4 * 3_600)));
    assert_eq!(archive.issuer.as_ref().map(|issuer| issuer.as_str()), Some("embedded"));
    let archive = archive.placements.first().expect("one placement");
    assert_eq!((archive.guest.clone(), archive.purge), (GuestRef::Host, true));
    assert_eq!((&archive.reload, &archive.probe), (&Some(Reload::Nothing), &Some(Probe::Nothing)));
}

#[test]
fn the_smallest_manifest_has_pinions_own_issuer() {
    let manifest = parse(r#"{"version": 1, "certificates": []}"#).expect("the smallest manifest");
    assert_eq!(manifest.defaults.issuer.as_str(), DEFAULT_ISSUER);
    assert_eq!(manifest.defaults.duration, DEFAULT_DURATION);
    // Guests and hosts are told apart in text as they are in the CLI.
    assert_eq!(GuestRef::Host.to_string(), Guest::Host.to_string());
}
