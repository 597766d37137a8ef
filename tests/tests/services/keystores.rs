//! Files behind a password: what OpenSSL, Java and nginx make of them, and how they are kept as they should be.

use std::{fs, os::unix::fs::PermissionsExt, process::Command, time::Duration};

use pinion_tests::{
    guest::{Guest, GuestOptions},
    host::Host,
    nginx::Nginx,
    openssl, process, program, site,
    wait::{self, PATIENCE},
};
use serde_json::{Value, json};

use super::several::place;

const SOON: Duration = Duration::from_millis(200);

fn quick() -> GuestOptions {
    GuestOptions { check_every: Some(SOON), retry_max: SOON, ..GuestOptions::default() }
}

fn order(host: &Host, placement: &Value) {
    let web = json!({ "name": "web", "common_name": "web.internal.example", "placements": [placement] });
    host.write_manifest(&site::manifest(json!([web]))).expect("written");
}

/// What a program prints, which must succeed.
fn said(program: &str, arguments: &[&str]) -> String {
    let path = program::found(program).expect("it is installed");
    let ran = process::run(Command::new(path).args(arguments), b"", PATIENCE).and_then(process::Finished::succeeded);
    ran.unwrap_or_else(|error| panic!("{program} {arguments:?}: {error:#}")).stdout
}

/// The certificates and the private key in a PKCS #12 file, by OpenSSL.
fn pkcs12(guest: &Guest, path: &str, password: &str) -> String {
    let (path, password) = (guest.path(path), format!("file:{}", guest.path(password).display()));
    said("openssl", &["pkcs12", "-in", &path.display().to_string(), "-passin", &password, "-nodes"])
}

fn leaf_in(pem: &str) -> String {
    let begin = pem.find("-----BEGIN CERTIFICATE-----").expect("a certificate");
    openssl::serial(&pem[begin..]).expect("a certificate")
}

#[test]
fn keystores_are_read_by_others_put_right_when_they_are_deleted_and_rolled_back_with_the_rest() {
    let (host, guest) = place(&quick());
    guest.write_hook("check", "#!/bin/sh\n[ ! -e \"$PINION_ROOT/refuse\" ]\n").expect("written");
    let file = |name: &str| json!({ "path": format!("/etc/ssl/web/{name}") });
    let mut files = json!({ "fullchain": file("web.crt"), "der": file("web.der"), "pkcs12": file("web.p12"),
                            "jks": file("web.jks"), "encrypted_key": file("web.key") });
    for part in ["jks", "encrypted_key"] {
        files[part]["password_file"] = json!("/etc/ssl/web/own.password");
    }
    guest.write("etc/ssl/web/own.password", "changeit\n").expect("written");
    order(&host, &json!({ "guest": 1001, "files": files, "validate": { "hook": "check" } }));
    let serial = || host.status().expect("a status").placement("web@1001").and_then(|found| found.serial.clone());
    let path = |name: &str| guest.path(&format!("/etc/ssl/web/{name}"));
    let all = ["web.p12", "web.jks", "web.key", "web.der"].map(path);
    let bytes = || all.each_ref().map(|path| fs::read(path).unwrap_or_default());
    let mut former = None;
    for _ in 0..2 {
        host.renew(&[], "reloaded").expect("installed");
        let found = pkcs12(&guest, "/etc/ssl/web/web.p12", "/etc/ssl/web/web.p12.password");
        assert_eq!(Some(leaf_in(&found)), serial());
        let (key, own) = (path("web.key").display().to_string(), path("own.password").display().to_string());
        let key = said("openssl", &["pkey", "-in", &key, "-passin", &format!("file:{own}")]);
        assert!(found.contains(key.trim()), "it is the same key");
        let store = path("web.jks").display().to_string();
        let list =
            said("keytool", &["-list", "-rfc", "-keystore", &store, "-storetype", "JKS", "-storepass:file", &own]);
        assert!(list.contains("PrivateKeyEntry") && Some(leaf_in(&list)) == serial(), "{list}");
        let der = said("openssl", &["x509", "-inform", "DER", "-in", &path("web.der").display().to_string()]);
        assert_eq!(Some(leaf_in(&der)), serial());
        assert!(former.replace(bytes()) != Some(bytes()), "each generation has its own");
    }
    let mode = |name: &str| fs::metadata(path(name)).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(["web.p12", "web.jks", "web.key", "web.p12.password"].map(mode), [0o600; 4]);
    assert!(!guest.log_tail().contains("changeit"));

    // What is deleted comes back as it was; a password that was made is made again, and its keystore with it.
    let before = bytes();
    for path in &all {
        fs::remove_file(path).expect("deleted");
    }
    let again = |what: &str, is: &dyn Fn() -> bool| {
        wait::until(what, PATIENCE, || if is() { Ok(()) } else { Err("not yet") }).unwrap_or_else(|e| panic!("{e:#}"));
    };
    again("the files to be as they were", &|| bytes() == before);
    fs::remove_file(path("web.p12.password")).expect("deleted");
    again("the keystore to have another password", &|| path("web.p12.password").exists() && bytes()[0] != before[0]);
    assert_eq!(Some(leaf_in(&pkcs12(&guest, "/etc/ssl/web/web.p12", "/etc/ssl/web/web.p12.password"))), serial());

    // New ones that are refused go, and the old ones are back, byte for byte.
    let before = bytes();
    guest.write("refuse", "").expect("written");
    let refused = host.renew(&[], "reloaded").expect_err("the check refuses them");
    assert!(format!("{refused:#}").contains("the old files are back"), "{refused:#}");
    assert!(bytes() == before, "the old ones are in place");
}

#[test]
fn nginx_serves_with_a_key_behind_a_password() {
    let (host, guest) = place(&quick());
    let nginx = Nginx::install(&guest, "/etc/nginx/ssl/web.crt", "/etc/nginx/ssl/web.key").expect("nginx is installed");
    let text = guest.read("/etc/nginx/nginx.conf").expect("its configuration");
    let password = guest.path("/etc/nginx/ssl/web.key.password").display().to_string();
    let setting = format!("\t\tssl_password_file {password};\n\t\treturn 200");
    guest.write("etc/nginx/nginx.conf", &text.replacen("\t\treturn 200", &setting, 1)).expect("written");
    let mut placement = nginx.placement(&guest);
    placement["files"] = json!({ "fullchain": { "path": "/etc/nginx/ssl/web.crt" },
        "key": { "path": "/etc/nginx/ssl/plain.key" }, "encrypted_key": { "path": "/etc/nginx/ssl/web.key" } });
    order(&host, &placement);
    host.ensure(&[], "installed").expect("installed");
    nginx.unit().start().unwrap_or_else(|error| panic!("{error:#}"));
    host.ensure(&[], "served").unwrap_or_else(|error| panic!("{error:#}\n{}", nginx.unit().log()));
    host.renew(&[], "served").unwrap_or_else(|error| panic!("{error:#}\n{}", nginx.unit().log()));
    assert!(guest.read("/etc/nginx/ssl/web.key").expect("there").contains("BEGIN ENCRYPTED PRIVATE KEY"));
    assert_eq!(nginx.unit().restarts(), 0, "{}", nginx.unit().log());
}
