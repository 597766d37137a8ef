//! The reader and the schema, held against each other by an implementation of JSON Schema that is neither's.

use serde_json::{Value, json};

use super::{EXAMPLE, parse};
use crate::manifest::schema;

pub(super) fn judge() -> jsonschema::Validator {
    jsonschema::draft202012::new(&schema()).expect("the schema is a schema")
}

#[track_caller]
pub(super) fn both(judge: &jsonschema::Validator, document: &Value, good: bool) {
    let read = parse(&document.to_string());
    assert_eq!(read.is_ok(), good, "the reader: {:?}\n{document:#}", read.err().map(|e| e.to_string()));
    let errors: Vec<String> = judge.iter_errors(document).map(|e| e.to_string()).collect();
    assert_eq!(errors.is_empty(), good, "the schema: {errors:?}\n{document:#}");
}

/// The document with the value at a JSON pointer replaced; a last segment that is new is added.
fn put(document: &Value, pointer: &str, value: Value) -> Value {
    let mut document = document.clone();
    let (parent, field) = pointer.rsplit_once('/').expect("a pointer");
    match document.pointer_mut(parent).expect("the parent is there") {
        Value::Object(fields) => drop(fields.insert(field.to_owned(), value)),
        Value::Array(items) => items[field.parse::<usize>().expect("an index")] = value,
        other => panic!("{other} has no fields"),
    }
    document
}

#[test]
fn the_schema_is_valid_and_says_what_it_is() {
    let schema = schema();
    assert!(jsonschema::draft202012::meta::is_valid(&schema));
    assert_eq!(schema.pointer("/$schema"), Some(&json!("https://json-schema.org/draft/2020-12/schema")));
    assert!(schema.pointer("/description").is_some());
}

#[test]
fn good_documents_are_good_for_both() {
    let judge = judge();
    let example: Value = serde_json::from_str(EXAMPLE).expect("the example is JSON");
    both(&judge, &example, true);
    both(&judge, &json!({"version": 1, "certificates": [], "$schema": "./schema.json"}), true);
    const PLACEMENT: &str = "/certificates/0/placements/0";
    for (pointer, value) in [
        ("/defaults", json!({})),
        ("/certificates/0/key", json!({"algorithm": "rsa-4096"})),
        ("/certificates/0/key", json!({"rotation": "never"})),
        ("/certificates/0/duration", json!("1h 30m")),
        ("/certificates/0/sans", json!(["::1", "spiffe://x/y", "a@b.example", "*.example"])),
        ("/certificates/0/placements", json!([])),
        (&format!("{PLACEMENT}/guest"), json!("web-1.internal")),
        (&format!("{PLACEMENT}/files"), json!({"key": {"mode": "640", "owner": "0"}})),
        (&format!("{PLACEMENT}/files"), json!({"ca": {"path": "/etc/ssl/ca.pem"}})),
        (
            &format!("{PLACEMENT}/files"),
            json!({"pkcs12": {"path": "/etc/ssl/x.p12", "password_file": "/etc/ssl/x.pw", "legacy": true}, "der": {"path": "/etc/ssl/x.der"}}),
        ),
        (
            &format!("{PLACEMENT}/files"),
            json!({"jks": {"path": "/etc/ssl/x.jks", "mode": "0640"}, "encrypted_key": {"path": "/etc/ssl/x.key"}}),
        ),
        (&format!("{PLACEMENT}/reload"), json!({"reload": "nginx@1.service"})),
        (&format!("{PLACEMENT}/reload"), json!({"hook": "mine"})),
        (&format!("{PLACEMENT}/reload"), json!({"container": "portainer"})),
        (&format!("{PLACEMENT}/reload"), json!({"signal": {"container": "web", "signal": "HUP"}})),
        (&format!("{PLACEMENT}/reload"), json!({"touch": "/etc/traefik/dynamic"})),
        (&format!("{PLACEMENT}/reload"), json!({"swarm": {"service": "p_p", "secrets": {"key": "tls_key.pem"}}})),
        (&format!("{PLACEMENT}/probe"), json!({"connect": "127.0.0.1:25", "starttls": "smtp"})),
        (&format!("{PLACEMENT}/probe"), json!({"connect": "127.0.0.1:25", "settle": "2m"})),
        (&format!("{PLACEMENT}/probe"), json!({"connect": "127.0.0.1:25", "unit": "postfix.service"})),
        (&format!("{PLACEMENT}/reload"), json!([{"reload": "postfix.service"}, {"restart": "dovecot.service"}])),
        (&format!("{PLACEMENT}/reload"), json!([{"reload": "postfix.service"}])),
        (&format!("{PLACEMENT}/probe"), json!([{"connect": "127.0.0.1:443"}, {"connect": "127.0.0.1:8443"}])),
        (&format!("{PLACEMENT}/probe"), json!([{"connect": "127.0.0.1:443"}])),
        (&format!("{PLACEMENT}/probe"), json!({"connect": "127.0.0.1:443", "proxy_protocol": "v2"})),
        (&format!("{PLACEMENT}/probe"), json!({"connect": "127.0.0.1:389", "starttls": "ldap"})),
        (&format!("{PLACEMENT}/validate"), json!("nothing")),
        (&format!("{PLACEMENT}/probe"), json!({"connect": "[::1]:8443"})),
        (&format!("{PLACEMENT}/window"), json!({"days": ["mon"]})),
        (&format!("{PLACEMENT}/window"), json!({"from": "22:00", "to": "24:00", "time_zone": "UTC"})),
        (&format!("{PLACEMENT}/requires_mount"), json!("/mnt/pve/nfs")),
        (&format!("{PLACEMENT}/requires_mount"), json!("/")),
        (&format!("{PLACEMENT}/usage"), json!("client")),
        ("/certificates/0/usage", json!("both")),
        (&format!("{PLACEMENT}/adopt"), json!(false)),
        (&format!("{PLACEMENT}/purge"), json!(false)),
    ] {
        both(&judge, &put(&example, pointer, value), true);
    }
}

#[test]
fn what_is_wrong_in_structure_is_wrong_for_both() {
    let judge = judge();
    let example: Value = serde_json::from_str(EXAMPLE).expect("the example is JSON");
    const FILES: &str = "/certificates/2/placements/0";
    const PLACEMENT: &str = "/certificates/0/placements/0";
    both(&judge, &json!([]), false);
    both(&judge, &json!({"version": 1}), false);
    both(&judge, &json!({"certificates": []}), false);
    for (pointer, value) in [
        ("/version", json!(2)),
        ("/version", json!("1")),
        ("/certificate", json!([])),
        ("/defaults", json!(null)),
        ("/defaults/key", json!({})),
        ("/defaults/issuer", json!("a/b")),
        ("/certificates", json!({})),
        ("/certificates/0", json!("gateway")),
        ("/certificates/0/name", json!("-x")),
        ("/certificates/0/common_name", json!("")),
        ("/certificates/0/common_name", json!("a".repeat(65))),
        ("/certificates/0/sans", json!("a.example")),
        ("/certificates/0/sans/0", json!(5)),
        ("/certificates/0/key", json!({"algorithm": "dsa"})),
        ("/certificates/0/key", json!({"size": 3})),
        ("/certificates/0/duration", json!(30)),
        ("/certificates/0/duration", json!("soon")),
        ("/certificates/0/shared", json!("yes")),
        ("/certificates/0/placements", json!({})),
        ("/certificates/0/placements/0", json!({})),
        ("/certificates/0/placements/0", json!({"guest": 101})),
        ("/certificates/0/placements/0", json!({"recipe": "nginx"})),
        (&format!("{PLACEMENT}/guest"), json!(99)),
        (&format!("{PLACEMENT}/guest"), json!("101")),
        (&format!("{PLACEMENT}/guest"), json!("host")),
        (&format!("{PLACEMENT}/guest"), json!(null)),
        (&format!("{PLACEMENT}/host"), json!(true)),
        (&format!("{PLACEMENT}/recipe"), json!(null)),
        (&format!("{PLACEMENT}/files"), json!([])),
        (&format!("{PLACEMENT}/files"), json!({"jks": {"path": "/etc/ssl/x.jks", "mode": "0644"}})),
        (&format!("{PLACEMENT}/files"), json!({"jks": {"path": "/etc/ssl/x.jks", "legacy": true}})),
        (&format!("{PLACEMENT}/files"), json!({"jks": {"path": "/etc/ssl/x.jks", "password": "changeit"}})),
        (&format!("{PLACEMENT}/files"), json!({"key": {"path": "/etc/ssl/x.key", "password_file": "/etc/ssl/x.pw"}})),
        (&format!("{PLACEMENT}/files"), json!({"crt": {}})),
        (&format!("{PLACEMENT}/reload"), json!([])),
        (&format!("{PLACEMENT}/reload"), json!(["nothing"])),
        (&format!("{PLACEMENT}/reload"), json!([{"reload": "a.service"}, {"reload": "a.service"}])),
        (&format!("{PLACEMENT}/reload"), json!([{"reload": "a.service", "restart": "b.service"}])),
        (&format!("{PLACEMENT}/reload"), json!(vec![json!({"reload": "a.service"}); 17])),
        (&format!("{PLACEMENT}/probe"), json!([])),
        (&format!("{PLACEMENT}/probe"), json!({"connect": "127.0.0.1:443", "proxy_protocol": "v3"})),
        (&format!("{PLACEMENT}/probe"), json!({"connect": "127.0.0.1:389", "starttls": "ldaps"})),
        (&format!("{PLACEMENT}/probe"), json!([{"connect": "127.0.0.1:443"}, "nothing"])),
        (&format!("{PLACEMENT}/probe"), json!({"connect": "127.0.0.1:25", "unit": "postfix"})),
        (&format!("{PLACEMENT}/probe"), json!([{"connect": "127.0.0.1:443"}, {"connect": "127.0.0.1:443"}])),
        (&format!("{PLACEMENT}/requires_mount"), json!("mnt/nfs")),
        (&format!("{PLACEMENT}/requires_mount"), json!("/mnt/../nfs")),
        (&format!("{PLACEMENT}/requires_mount"), json!("/mnt/nfs/")),
        (&format!("{PLACEMENT}/requires_mount"), json!(true)),
        (&format!("{PLACEMENT}/adopt"), json!("no")),
        (&format!("{PLACEMENT}/usage"), json!("Client")),
        (&format!("{PLACEMENT}/usage"), json!(["client"])),
        ("/certificates/0/usage", json!("peer")),
        (&format!("{PLACEMENT}/purge"), json!(1)),
        (&format!("{PLACEMENT}/post_renewal_command"), json!("reboot")),
        (&format!("{PLACEMENT}/window"), json!({})),
        (&format!("{PLACEMENT}/window"), json!({"days": []})),
        (&format!("{PLACEMENT}/window"), json!({"days": ["Sat"]})),
        (&format!("{PLACEMENT}/window"), json!({"from": "02:00"})),
        (&format!("{PLACEMENT}/window"), json!({"from": "24:00", "to": "02:00"})),
        (&format!("{PLACEMENT}/window"), json!({"time_zone": "UTC"})),
        (&format!("{PLACEMENT}/validate"), json!({"reload": "x.service"})),
        (&format!("{PLACEMENT}/reload"), json!({})),
        (&format!("{PLACEMENT}/reload"), json!({"reload": "a.service", "restart": "a.service"})),
        (&format!("{PLACEMENT}/reload"), json!({"restart": "nginx"})),
        (&format!("{PLACEMENT}/reload"), json!({"container": "-f"})),
        (&format!("{PLACEMENT}/reload"), json!({"signal": {"container": "web", "signal": "KILL"}})),
        (&format!("{PLACEMENT}/reload"), json!({"signal": {"container": "web"}})),
        (&format!("{PLACEMENT}/reload"), json!({"touch": "/etc/../x"})),
        (&format!("{PLACEMENT}/reload"), json!({"swarm": {"service": "p_p", "secrets": {}}})),
        (&format!("{PLACEMENT}/reload"), json!({"swarm": {"service": "p_p", "secrets": {"kye": "x"}}})),
        (&format!("{PLACEMENT}/reload"), json!({"swarm": {"service": "a,b", "secrets": {"key": "x"}}})),
        (&format!("{PLACEMENT}/probe"), json!({"connect": "127.0.0.1:25", "starttls": "gopher"})),
        (&format!("{PLACEMENT}/probe"), json!({"connect": "127.0.0.1:25", "settle": "soon"})),
        (&format!("{PLACEMENT}/probe"), json!({})),
        (&format!("{PLACEMENT}/probe"), json!("tls")),
        (&format!("{PLACEMENT}/probe"), json!({"connect": "localhost:80"})),
        (&format!("{PLACEMENT}/probe"), json!({"connect": "127.0.0.1"})),
        (&format!("{PLACEMENT}/probe"), json!({"connect": "127.0.0.1:80", "server_name": "*.x"})),
        (&format!("{FILES}/files"), json!({})),
        (&format!("{FILES}/files/key"), json!({"mode": "0600"})),
        (&format!("{FILES}/files/key/mode"), json!("0644")),
        (&format!("{FILES}/files/key/mode"), json!("1600")),
        (&format!("{FILES}/files/key/path"), json!("etc/x")),
        (&format!("{FILES}/files/key/path"), json!("/etc/../x")),
        (&format!("{FILES}/files/key/path"), json!("/etc//x")),
        (&format!("{FILES}/files/key/path"), json!("/etc/")),
        (&format!("{FILES}/files/key/owner"), json!("a b")),
        (&format!("{FILES}/files/key/owner"), json!(0)),
    ] {
        both(&judge, &put(&example, pointer, value), false);
    }
}
