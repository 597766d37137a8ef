//! Nothing to do means nothing done: asking again, and writing the same manifest otherwise, issues nothing.

use pinion_controller::events::Kind;
use pinion_tests::{
    journal,
    site::{Site, manifest},
    status::PlacementJson,
    traces,
};
use serde_json::{Value, json};

#[test]
fn a_hundred_times_ensure_changes_nothing() {
    let site = Site::served().expect("the certificate is served");
    let before = Picture::of(&site);
    for round in 0..100 {
        let finished = site.host.pinion(&["ensure"]).expect("pinion runs");
        assert_eq!(finished.code(), 0, "round {round}: {finished}");
    }
    site.host.pinion(&["ensure", "web", "--until", "served"]).expect("pinion runs").succeeded().expect("served");
    before.expect_unchanged(&site);
}

#[test]
fn the_same_names_written_otherwise_are_the_same_names() {
    let site = Site::served().expect("the certificate is served");
    let with = |sans: Value, common_name: &str| {
        let mut certificate = site.certificate();
        certificate["sans"] = sans;
        certificate["common_name"] = common_name.into();
        certificate
    };
    let first = with(json!(["*.internal.example", "10.0.0.111", "2001:db8::1", "ops@internal.example"]), Site::NAME);
    site.host.write_manifest(&manifest(json!([first]))).expect("the manifest is written");
    site.host.ensure(&["web"], "served").expect("the new names are served");
    assert_eq!(site.issued().expect("the events are there"), 2, "other names are another certificate");

    let before = Picture::of(&site);
    for (sans, common_name) in [
        (json!(["ops@internal.example", "2001:db8::1", "10.0.0.111", "*.internal.example"]), Site::NAME),
        (json!(["*.INTERNAL.Example", "10.0.0.111", "2001:DB8::1", "ops@Internal.Example"]), "Web.Internal.EXAMPLE"),
        (json!(["*.internal.example", "10.0.0.111", "2001:0db8:0:0:0::0001", "ops@internal.example"]), Site::NAME),
        (
            json!([
                "10.0.0.111",
                "10.0.0.111",
                "*.internal.example",
                "2001:db8::1",
                "ops@internal.example",
                Site::NAME
            ]),
            Site::NAME,
        ),
    ] {
        let spelled = manifest(json!([with(sans.clone(), common_name)]));
        site.host.write_manifest(&spelled).expect("the manifest is written");
        // `ensure` looks at the file first, so that it speaks of this manifest.
        site.host.ensure(&["web"], "served").unwrap_or_else(|error| panic!("{sans}: {error:#}"));
        let plan = site.host.pinion(&["plan", "--json"]).expect("pinion runs").succeeded().expect("a plan");
        assert!(plan.stdout.contains(r#""action":"keep""#), "{sans}: {plan}");
        before.expect_unchanged(&site);
    }
}

#[test]
fn a_manifest_that_is_touched_or_grows_elsewhere_leaves_the_rest_alone() {
    let site = Site::served().expect("the certificate is served");
    let before = Picture::of(&site);
    let path = site.host.root().join("etc/pinion/certificate-manifest.json");
    for _ in 0..10 {
        let text = std::fs::read(&path).expect("the manifest can be read");
        std::fs::write(&path, text).expect("the manifest can be written");
        site.host.ensure(&[], "served").expect("served");
    }
    let mut two = site.manifest();
    let other = json!({ "name": "other", "common_name": "other.internal.example", "placements": [{
        "guest": 1001,
        "files": { "cert": { "path": "/etc/ssl/other.crt" }, "key": { "path": "/etc/ssl/other.key" } },
    }] });
    two["certificates"].as_array_mut().expect("certificates are a list").insert(0, other);
    site.host.write_manifest(&two).expect("the manifest is written");
    site.host.ensure(&["other"], "served").expect("the other certificate is there");
    before.expect_unchanged(&site);
}

/// Everything that would show that something was done for `web@1001`.
#[derive(Debug, PartialEq)]
struct Picture {
    status: PlacementJson,
    files: Vec<(std::path::PathBuf, traces::Trace)>,
    reloads: usize,
    restarts: usize,
    issued: Vec<String>,
    stages: usize,
}

impl Picture {
    fn of(site: &Site) -> Self {
        let status = site.host.status().expect("the controller answers");
        let status = status.placement(Site::PLACEMENT).expect("the status knows the placement").clone();
        assert_eq!(Some(site.serial().expect("all agree on the serial number")), status.serial);
        let files = traces::of(&site.guest.path("/etc/ssl/web")).expect("the files can be looked at");
        let told = journal::events(&site.host).expect("the events are there");
        let stages = told.iter().filter(|event| {
            event.kind == Kind::Stage && event.certificate.as_ref().is_some_and(|name| name.as_str() == "web")
        });
        Self {
            status,
            files: files.into_iter().collect(),
            reloads: site.server.unit().reloads(),
            restarts: site.server.unit().restarts(),
            issued: journal::issued(&site.host, Site::PLACEMENT).expect("the events are there"),
            stages: stages.count(),
        }
    }

    fn expect_unchanged(&self, site: &Site) {
        assert_eq!(*self, Self::of(site), "something was done although nothing was to be done");
    }
}
