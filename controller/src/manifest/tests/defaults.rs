//! What the schema calls a default, and with it the reference, is what holds without the field.

use serde_json::{Value, json};

use crate::manifest::{Manifest, schema};

/// A manifest that has every table with defaults, and where in it they are.
fn minimal() -> (Value, Vec<(&'static str, &'static str)>) {
    let document = json!({
        "version": 1,
        "defaults": {},
        "certificates": [{
            "name": "web", "common_name": "web.lan", "key": {},
            "placements": [{ "guest": 101, "files": {
                "fullchain": { "path": "/etc/ssl/web/web.crt" },
                "key": { "path": "/etc/ssl/web/web.key" }
            } }]
        }]
    });
    let places = vec![
        ("Defaults", "/defaults"),
        ("Certificate", "/certificates/0"),
        ("Key", "/certificates/0/key"),
        ("Placement", "/certificates/0/placements/0"),
    ];
    (document, places)
}

#[test]
fn a_default_that_is_written_changes_nothing() {
    let (document, places) = minimal();
    let schema = schema();
    let mut written = document.clone();
    let mut count = 0;
    for (name, table) in schema["$defs"].as_object().expect("definitions") {
        for (field, schema) in table["properties"].as_object().into_iter().flatten() {
            let Some(default) = schema.get("default") else { continue };
            let (_, place) = places.iter().find(|(known, _)| known == name).expect("a place for its defaults above");
            written.pointer_mut(place).expect("there")[field] = default.clone();
            count += 1;
        }
    }
    assert!(count >= 7, "{count}");
    let parsed = |document: &Value| Manifest::parse(document.to_string().as_bytes()).expect("a manifest");
    assert_eq!(format!("{:?}", parsed(&written)), format!("{:?}", parsed(&document)));
}
