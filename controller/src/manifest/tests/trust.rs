//! Entries for roots, by the reader and by the schema.

use serde_json::{Value, json};

use super::{
    agreement::{both, judge},
    parse,
};

fn roots(entry: &Value, placement: &Value) -> Value {
    let mut whole = json!({ "name": "roots", "trust": true, "placements": [{ "guest": 101 }] });
    for (into, from) in [(Some("/placements/0"), placement), (None, entry)] {
        let fields = whole.pointer_mut(into.unwrap_or("")).and_then(Value::as_object_mut).expect("an object");
        fields.extend(from.as_object().expect("an object").clone());
    }
    json!({ "version": 1, "certificates": [whole] })
}

#[test]
fn an_issuers_roots_go_where_a_recipe_or_a_file_says() {
    let judge = judge();
    for placement in [
        json!({ "recipe": "ca-certificates" }),
        json!({ "recipe": "ca-certificates", "reload": { "restart": "app.service" }, "window": { "days": ["sun"] } }),
        json!({ "files": { "ca": { "path": "/etc/docker/certs.d/registry.example:5000/ca.crt" } } }),
    ] {
        both(&judge, &roots(&json!({ "issuer": "step-ca" }), &placement), true);
    }
    let document = roots(&json!({}), &json!({ "recipe": "ca-certificates" })).to_string();
    let manifest = parse(&document).expect("it is good");
    assert!(
        manifest.certificates[0].content.is_roots()
            && manifest.issuers().iter().map(|issuer| issuer.as_str()).eq(["embedded"])
    );
}

#[test]
fn what_only_a_certificate_has_is_no_part_of_it() {
    let judge = judge();
    let good = json!({ "recipe": "ca-certificates" });
    for (field, value) in [
        ("common_name", json!("a.example")),
        ("sans", json!(["a.example"])),
        ("key", json!({})),
        ("duration", json!("1d")),
        ("renew_before", json!("1h")),
        ("shared", json!(true)),
    ] {
        both(&judge, &roots(&json!({ field: value }), &good), false);
    }
    for placement in [
        json!({}),
        json!({ "recipe": "ca-certificates", "sans": ["a.example"] }),
        json!({ "recipe": "ca-certificates", "probe": "nothing" }),
        json!({ "files": { "key": { "path": "/etc/ssl/key.pem" } } }),
        json!({ "files": { "ca": { "mode": "0644" } } }),
    ] {
        both(&judge, &roots(&json!({}), &placement), false);
    }
    let mut certificate = roots(&json!({}), &good);
    certificate["certificates"][0]["trust"] = json!(false);
    both(&judge, &certificate, false);
    certificate["certificates"][0]["common_name"] = json!("a.example");
    both(&judge, &certificate, true);
    let words = parse(&roots(&json!({}), &json!({ "files": { "key": { "path": "/x/k" } } })).to_string());
    assert!(words.expect_err("a key").to_string().contains("may have only a file \"ca\""));
}
