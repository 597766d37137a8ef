//! `pinion plan FILE`: what a manifest would do, before it is in force.

use std::fs;

use pinion_tests::site::{Site, manifest};
use serde_json::{Value, json};

#[test]
fn a_manifest_is_tried_before_it_is_in_force() {
    let site = Site::served().expect("the certificate is served");
    let mut more = site.certificate();
    more["name"] = "more".into();
    more["common_name"] = "more.internal.example".into();
    more["placements"][0]["files"] = json!({ "key": { "path": "/etc/ssl/more.key" } });
    let tried = site.host.root().join("tried.json");
    let plan = |certificates: Value| {
        fs::write(&tried, manifest(certificates).to_string()).expect("written");
        site.host.pinion(&["plan", &tried.display().to_string(), "--json"]).expect("pinion runs")
    };
    let steps = |certificates: Value| -> Vec<(String, String)> {
        let document: Value =
            serde_json::from_str(&plan(certificates).succeeded().expect("a plan").stdout).expect("JSON");
        let text = |step: &Value, field: &str| step[field].as_str().unwrap_or_default().to_owned();
        let steps = document["steps"].as_array().expect("steps");
        steps.iter().map(|step| (text(step, "placement"), text(step, "action"))).collect()
    };
    let row = |placement: &str, action: &str| (placement.to_owned(), action.to_owned());
    assert_eq!(steps(json!([site.certificate(), more])), [row("web@1001", "keep"), row("more@1001", "order")]);
    assert_eq!(steps(json!([])), [row("web@1001", "retired")]);
    // Nothing of it has happened.
    site.serial().expect("everything is as it was");
    let bad = plan(json!([{ "name": "web" }]));
    assert!(bad.code() == 2 && bad.stderr.contains("common_name"), "{bad}");
    let absent = site.host.pinion(&["plan", "/nowhere.json"]).expect("pinion runs");
    assert!(absent.code() == 2 && absent.stderr.contains("/nowhere.json"), "{absent}");
}
