//! Fields, places, and entries that meet each other.

use serde_json::{Value, json};

use super::{documents, entry, look_at, mistakes};

/// What is made of one entry's fields: its certificate and the report.
fn one(entry: Value) -> (Value, Value) {
    let (certificates, report) = documents(&json!([entry]));
    (certificates[0].clone(), report)
}

#[test]
fn an_entry_of_before_guests_is_in_the_guest_that_its_line_names() {
    let (certificate, report) = one(json!({ "common_name": "web.internal.example", "permissions": "0644",
        "cert_path": "/mnt/pve/nfs/101/web.crt", "key_path": "/mnt/pve/nfs/101/web.key",
        "post_renewal_command": "pct exec 101 -- systemctl reload nginx" }));
    assert_eq!(certificate["placements"], json!([{ "guest": 101, "recipe": "nginx" }]));
    let looked = look_at(&report);
    assert!(
        looked.contains("no guest_id") && looked.contains("/mnt/pve/nfs/101/web.crt, is a copy on the host"),
        "{looked}"
    );
}

#[test]
fn an_entry_without_any_guest_is_on_the_host() {
    let (certificate, report) = one(json!({ "common_name": "archive.internal.example", "permissions": "644",
        "cert_path": "/mnt/pve/nfs/archive/cert.pem", "key_path": "/mnt/pve/nfs/archive/key.pem", "owner": "root:backup",
        "post_renewal_command": "chmod 640 /mnt/pve/nfs/archive/key.pem && systemctl restart archive" }));
    assert_eq!(
        certificate["placements"],
        json!([{ "host": true, "recipe": "systemd-unit", "reload": { "restart": "archive.service" }, "files": {
            "fullchain": { "path": "/mnt/pve/nfs/archive/cert.pem", "group": "backup" },
            "key": { "path": "/mnt/pve/nfs/archive/key.pem", "mode": "0640", "group": "backup" } } }])
    );
    assert_eq!(
        report["allow"]["host"],
        json!({ "extra_directories": ["/mnt/pve/nfs/archive"], "extra_units": ["archive.service"] })
    );
    let (certificate, report) = one(json!({ "common_name": "pve.internal.example",
        "cert_path": "/etc/pve/local/pveproxy-ssl.pem", "key_path": "/etc/pve/local/pveproxy-ssl.key",
        "post_renewal_command": "systemctl reload pveproxy" }));
    assert_eq!(
        certificate["placements"],
        json!([{ "host": true, "recipe": "pveproxy", "files": {
            "fullchain": { "path": "/etc/pve/local/pveproxy-ssl.pem" },
            "key": { "path": "/etc/pve/local/pveproxy-ssl.key" } } }])
    );
    assert_eq!(
        report["allow"]["host"],
        json!({ "extra_directories": ["/etc/pve/local"], "extra_units": ["pveproxy.service"] })
    );
}

#[test]
fn half_a_pair_an_agent_on_the_host_and_another_recipe_are_told() {
    let (certificate, report) =
        one(entry("pct push 101 /tmp/cert.pem /etc/ssl/b/b.pem && pct exec 101 -- systemctl reload haproxy"));
    assert_eq!(certificate["placements"][0]["files"], json!({ "fullchain": { "path": "/etc/ssl/b/b.pem" } }));
    let looked = look_at(&report);
    assert!(looked.contains("that of the key is not") && looked.contains("a recipe `haproxy`"), "{looked}");
    let (certificate, report) = one(json!({ "common_name": "c.example", "key_path": "/srv/c/key.pem" }));
    assert_eq!(
        certificate["placements"],
        json!([{ "host": true, "recipe": "files", "files": { "key": { "path": "/srv/c/key.pem" } } }])
    );
    let looked = look_at(&report);
    for words in ["there is no cert_path", "that of the certificate is not", "where an agent must run"] {
        assert!(looked.contains(words), "{words}: {looked}");
    }
}

#[test]
fn what_ran_on_the_host_for_a_guest_is_told_and_not_run() {
    let (certificate, report) = one(
        json!({ "common_name": "web.internal.example", "guest_id": 101, "guest_type": "lxc",
        "cert_path": "/srv/web.crt", "key_path": "/srv/web.key",
        "post_renewal_command": "chown 100000:100033 /srv/web.key && cp /srv/web.crt /mnt/share/web.crt && systemctl reload smbd; \
                                 pct exec 101 -- systemctl reload nginx" }),
    );
    assert_eq!(certificate["placements"][0]["recipe"], "nginx");
    let looked = look_at(&report);
    for words in ["no copy on the host any more", "/mnt/share/web.crt", "ran on the host", "systemctl reload smbd"] {
        assert!(looked.contains(words), "{words}: {looked}");
    }
    let hook = &report["hooks"][0];
    assert_eq!((&hook["file"], &hook["named"]), (&json!("host/entry-1"), &json!(false)));
    assert!(hook["content"].as_str().expect("text").contains("Pinion does not run it"), "{hook}");
}

#[test]
fn clients_roots_owners_and_permissions() {
    let pair = "mv /tmp/cert.pem /opt/app/c.pem && mv /tmp/key.pem /opt/app/k.pem";
    let mut client = entry(&format!("pct exec 101 -- bash -c '{pair}'"));
    client["cert_type"] = "client".into();
    client["include_ca"] = true.into();
    client["owner"] = "100000:100033".into();
    client["permissions"] = 777.into();
    let (certificate, report) = one(client);
    assert_eq!(certificate["name"], "web-client");
    assert_eq!(
        certificate["placements"],
        json!([{ "guest": 101, "usage": "client", "files": {
            "fullchain": { "path": "/opt/app/c.pem", "mode": "0775", "owner": "0", "group": "33" },
            "key": { "path": "/opt/app/k.pem", "owner": "0", "group": "33" },
            "ca": { "path": "/opt/app/ca.pem", "mode": "0775", "owner": "0", "group": "33" } } }])
    );
    let looked = look_at(&report);
    for words in
        ["include_ca", "every user read the key", "every user write", "a number of the host's", "without quotes"]
    {
        assert!(looked.contains(words), "{words}: {looked}");
    }
}

#[test]
fn fields_that_can_be_read_in_one_way_only_are_read() {
    let (certificate, report) = one(
        json!({ "common_name": "Web.Internal.Example", "guest_id": "101", "guest_type": null,
        "sans": ["DNS:web.internal.example", "IP:10.0.0.5", "::ffff:10.0.0.5", "IP:10.0.0.5"], "owner": "", "cert_type": "peer",
        "note": "x", "post_renewal_command": null }),
    );
    assert_eq!(certificate["common_name"], "web.internal.example");
    assert_eq!(certificate["sans"], json!(["10.0.0.5"]));
    assert_eq!(certificate["placements"], json!([{ "guest": 101, "recipe": "files" }]));
    let looked = look_at(&report);
    for words in ["in quotes", "the field `note`", "cert_type `peer`", "in sans twice", "no guest_type"] {
        assert!(looked.contains(words), "{words}: {looked}");
    }
}

#[test]
fn one_common_name_in_several_guests_is_one_certificate() {
    let line = |guest: u32| format!("qm guest exec {guest} -- bash -c 'systemctl restart docker'");
    let entry = |guest: u32, address: &str| {
        json!({ "common_name": "docker.internal.example", "sans": [address], "guest_id": guest, "guest_type": "vm",
            "post_renewal_command": line(guest) })
    };
    let (certificates, report) = documents(&json!([
        entry(1001, "10.0.0.111"),
        entry(1002, "10.0.0.102"),
        entry(1003, "10.0.0.111"),
        entry(1002, "10.0.0.102")
    ]));
    assert_eq!(
        certificates,
        json!([{ "name": "docker", "common_name": "docker.internal.example", "sans": ["10.0.0.111"], "placements": [
            { "guest": 1001, "recipe": "docker" }, { "guest": 1002, "recipe": "docker", "sans": ["10.0.0.102"] },
            { "guest": 1003, "recipe": "docker" } ] }])
    );
    let looked = look_at(&report);
    assert!(looked.contains("that of entry 1: it is another placement"), "{looked}");
    assert!(looked.contains("it says what entry 2 says: nothing was made of it"), "{looked}");
    assert_eq!(report["entries"][3]["became"][0]["placement"], "docker@1002");
}

#[test]
fn a_line_that_runs_in_several_guests_has_a_placement_in_each() {
    let (certificate, report) =
        one(json!({ "common_name": "web.internal.example", "guest_id": 103, "guest_type": "vm",
        "post_renewal_command": "pct exec 101 -- systemctl reload nginx; pct exec 102 -- systemctl restart app" }));
    assert_eq!(
        certificate["placements"],
        json!([{ "guest": 101, "recipe": "nginx" },
            { "guest": 102, "recipe": "systemd-unit", "reload": { "restart": "app.service" } }])
    );
    let looked = look_at(&report);
    for words in ["guest_id is 103", "several guests", "guest_type is vm"] {
        assert!(looked.contains(words), "{words}: {looked}");
    }
}

#[test]
fn names_and_paths_that_are_taken_give_way() {
    let mut other =
        entry("pct exec 101 -- bash -c 'mv /tmp/cert.pem /etc/ssl/a/a.crt; mv /tmp/key.pem /etc/ssl/a/a.key'");
    let first = other.clone();
    other["common_name"] = "web.other.example".into();
    let mut same_guest = first.clone();
    same_guest["sans"] = json!(["10.0.0.9"]);
    let mut wildcard = entry("pct exec 101 -- systemctl reload nginx");
    wildcard["common_name"] = "*.internal.example".into();
    let (certificates, report) = documents(&json!([first, other, same_guest, wildcard]));
    let names: Vec<_> = certificates.as_array().expect("a list").iter().map(|found| found["name"].clone()).collect();
    assert_eq!(names, ["web", "web.other.example", "web.internal.example", "wildcard.internal.example"]);
    assert_eq!(
        certificates[1]["placements"][0]["files"],
        json!({ "fullchain": { "path": "/etc/pinion/certs/web.other.example.crt" },
            "key": { "path": "/etc/pinion/certs/web.other.example.key" } })
    );
    let looked = look_at(&report);
    assert!(looked.contains("entry 1 has /etc/ssl/a/a.crt in guest 101 already"), "{looked}");
    assert!(looked.contains("entry 1 has the same common name in guest 101"), "{looked}");
    // A recipe's own paths count, too.
    let docker = |name: &str| {
        let mut entry = entry("pct exec 101 -- systemctl restart docker");
        entry["common_name"] = name.into();
        entry
    };
    let (certificates, _) = documents(&json!([docker("a.example"), docker("b.example")]));
    assert_eq!(certificates[1]["placements"][0]["files"]["key"], json!({ "path": "/etc/pinion/certs/b.key" }));
}

#[test]
fn every_mistake_is_reported_with_its_place() {
    let text = r#"[
  { "guest_id": 7, "guest_type": "pod" },
  { "common_name": "a b", "sans": ["ok.example", "-"], "owner": "no body", "permissions": "888" },
  { "common_name": "web.example", "sans": "web.example", "include_ca": "yes", "cert_path": 5, "common_name": "x.example" },
  "web.example"
]"#;
    let mistakes = mistakes(text.as_bytes());
    for words in [
        "2:3 [0]: the field \"common_name\" is missing",
        "2:17 [0].guest_id: `7` is not a VMID",
        "2:34 [0].guest_type: `pod` is neither",
        "3:20 [1].common_name: `a b` is not a DNS name",
        "[1].sans[1]: `-`",
        "[1].owner: `no body` is not \"user:group\"",
        "[1].permissions:",
        "[2].sans: expected a list of names, found text",
        "[2].include_ca: expected true or false",
        "[2].cert_path: expected text, found a number",
        "appears already on line 4",
        "5:3 [3]: expected an entry: an object, found text",
    ] {
        assert!(mistakes.contains(words), "{words}:\n{mistakes}");
    }
}
