//! Entries whose expiry is watched, by the reader and by the schema.

use serde_json::{Value, json};

use super::{
    agreement::{both, judge},
    parse,
};

fn watched(placements: Value) -> Value {
    json!({ "version": 1, "certificates": [{ "name": "old-gateway", "watch": true, "placements": placements }] })
}

#[test]
fn what_somebody_else_renews_is_watched_where_a_probe_says() {
    let judge = judge();
    let probe = json!({ "connect": "127.0.0.1:443", "server_name": "gw.example", "starttls": "smtp" });
    for placements in [
        json!([]),
        json!([{ "guest": 101, "probe": probe }]),
        json!([{ "host": true, "probe": [{ "connect": "127.0.0.1:443" }, { "connect": "[::1]:8443" }] }]),
        json!([{ "guest": 101, "probe": probe }, { "guest": "mail", "probe": probe }]),
    ] {
        both(&judge, &watched(placements), true);
    }
    let manifest = parse(&watched(json!([{ "guest": 101, "probe": probe }])).to_string()).expect("it is good");
    let [entry] = manifest.certificates.as_slice() else { panic!("{manifest:?}") };
    assert!(entry.content.is_watched() && entry.placements[0].probe.is_some());
    assert!(manifest.issuers().is_empty(), "it names no issuer, so none has to be configured");
}

#[test]
fn nothing_of_it_is_pinions_to_order_or_to_write() {
    let judge = judge();
    let good = json!({ "guest": 101, "probe": { "connect": "127.0.0.1:443" } });
    for (field, value) in [
        ("common_name", json!("a.example")),
        ("sans", json!(["a.example"])),
        ("key", json!({})),
        ("duration", json!("1d")),
        ("renew_before", json!("1h")),
        ("issuer", json!("step-ca")),
        ("shared", json!(true)),
        ("usage", json!("server")),
        ("trust", json!(true)),
    ] {
        let mut document = watched(json!([good]));
        document["certificates"][0][field] = value;
        both(&judge, &document, false);
    }
    for (field, value) in [
        ("recipe", json!("nginx")),
        ("files", json!({ "key": { "path": "/etc/ssl/key.pem" } })),
        ("reload", json!({ "reload": "nginx.service" })),
        ("window", json!({ "days": ["sun"] })),
        ("adopt", json!(true)),
        ("purge", json!(true)),
        ("probe", json!("nothing")),
    ] {
        let mut placement = good.clone();
        placement[field] = value;
        both(&judge, &watched(json!([placement])), false);
    }
    both(&judge, &watched(json!([{ "guest": 101 }])), false);
    // What compares one place with another only the reader knows.
    let unit = json!([{ "guest": 101, "probe": { "connect": "127.0.0.1:443", "unit": "nginx.service" } }]);
    let error = parse(&watched(unit).to_string()).expect_err("nothing is restarted").to_string();
    assert!(error.contains("never restarted"), "{error}");
    let mut plain = watched(json!([good]));
    plain["certificates"][0]["watch"] = json!(false);
    both(&judge, &plain, false);
}
