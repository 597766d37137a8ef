//! A manifest of the old scripts, imported, checked, tried and put in force: real services serve it, with certificates of a
//! real step-ca.

use std::{fs, path::Path};

use pinion_tests::{
    ca::StepCa,
    docker::Docker,
    guest::Guest,
    host::{Host, HostOptions},
    look,
    nginx::Nginx,
    openssl,
    tls_server::TlsServer,
};
use serde_json::{Value, json};

const NGINX: &str = "nginx.internal.example";
const DOCKER: &str = "docker.internal.example";
const VLLM: &str = "vllm.internal.example";

/// What the old scripts worked by: three guests, one entry of before guests had fields, and a command of nobody's.
fn old() -> Value {
    let nginx = format!(
        "pct exec 101 -- bash -c 'mv /tmp/cert.pem /etc/nginx/ssl/{NGINX}.crt && mv /tmp/key.pem /etc/nginx/ssl/{NGINX}.key && \
         chown root:www-data /etc/nginx/ssl/{NGINX}.* && chmod 640 /etc/nginx/ssl/*.key && nginx -t && systemctl reload nginx'"
    );
    let docker = "qm guest exec 1001 -- /bin/bash -c 'mkdir -p /etc/docker/tls && mv /tmp/cert.pem /etc/docker/tls/cert.pem && \
                  mv /tmp/key.pem /etc/docker/tls/key.pem && mv /tmp/ca.pem /etc/docker/tls/ca.pem && \
                  (systemctl is-active --quiet docker && systemctl reload docker || systemctl start docker)'";
    let vllm = "pct exec 801 -- bash -c 'mv /tmp/cert.pem /etc/ssl/vllm/vllm.crt && mv /tmp/key.pem /etc/ssl/vllm/vllm.key && \
                chown vllm:vllm /etc/ssl/vllm/vllm.key && chmod 600 /etc/ssl/vllm/vllm.key && systemctl restart tls-server && \
                notify-operators --renewed vllm'";
    json!([
        { "common_name": NGINX, "sans": ["*.internal.example", "10.0.0.153"], "guest_id": 101, "guest_type": "lxc",
          "cert_path": "/mnt/pve/nfs/nginx.crt", "key_path": "/mnt/pve/nfs/nginx.key", "owner": "root:www-data",
          "post_renewal_command": nginx },
        { "common_name": DOCKER, "sans": ["127.0.0.1"], "guest_id": 1001, "guest_type": "vm", "include_ca": true,
          "cert_path": "/mnt/pve/nfs/docker.crt", "key_path": "/mnt/pve/nfs/docker.key", "post_renewal_command": docker },
        { "common_name": VLLM, "permissions": "0644", "cert_path": "/mnt/pve/nfs/vllm.crt",
          "key_path": "/mnt/pve/nfs/vllm.key", "post_renewal_command": vllm },
    ])
}

#[test]
fn an_old_manifest_is_imported_tried_and_served() {
    let ca = StepCa::start().expect("step-ca is installed");
    let host = Host::start(&HostOptions::step_ca(ca.issuer().expect("a root"), &json!([]))).expect("a host");
    let [gateway, docker, vllm] = [101, 1001, 801].map(|vmid| Guest::join(&host, vmid).expect("a guest"));
    let (certificate, key) = (format!("/etc/nginx/ssl/{NGINX}.crt"), format!("/etc/nginx/ssl/{NGINX}.key"));
    let nginx = Nginx::install(&gateway, &certificate, &key).expect("nginx is installed");
    let dockerd = Docker::install(&docker, "/etc/docker/tls").expect("docker.io is installed");
    let server = TlsServer::install(&vllm, "/etc/ssl/vllm/vllm.crt", "/etc/ssl/vllm/vllm.key").expect("a service");

    let at = |name: &str| host.root().join("root").join(name).display().to_string();
    fs::create_dir_all(host.root().join("root")).expect("a directory");
    fs::write(at("old.json"), old().to_string()).expect("written");
    let (new, report) = (at("new.json"), at("report.txt"));
    let pinion = |arguments: &[&str]| host.pinion(arguments).expect("pinion runs").succeeded().expect("it succeeds");
    pinion(&["manifest", "import", "phoenix", &at("old.json"), "--output", &new, "--report", &report]);
    pinion(&["manifest", "check", &new]);

    // Tried beside what is in force: nothing of it happens.
    let planned = pinion(&["plan", &new]).stdout;
    for placement in ["nginx@101", "docker@1001", "vllm@801"] {
        assert!(planned.contains(placement), "{planned}");
    }
    assert!(host.status().expect("a status").placements.is_empty());

    // What the report says to look at: where these services listen, how this nginx is checked, and the hook.
    let said = fs::read_to_string(&report).expect("a report");
    for words in ["127.0.0.1:443", "127.0.0.1:2376", "add \"probe\"", "vllm-reload", "notify-operators"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let mut manifest: Value = serde_json::from_str(&fs::read_to_string(&new).expect("a manifest")).expect("JSON");
    let mut place = |name: &str, field: &str, value: Value| {
        let certificates = manifest["certificates"].as_array_mut().expect("a list");
        let certificate = certificates.iter_mut().find(|found| found["name"] == name).expect(name);
        certificate["placements"][0][field] = value;
    };
    place("nginx", "probe", json!({ "connect": nginx.address() }));
    place("nginx", "validate", json!({ "hook": "nginx-test" }));
    place("docker", "probe", json!({ "connect": dockerd.address() }));
    place("vllm", "probe", json!({ "connect": server.address() }));
    review(&vllm, Path::new(&at("new-hooks/801/vllm-reload")));

    host.write_manifest(&manifest).expect("in force");
    host.ensure(&[], "installed").expect("installed");
    nginx.unit().start().expect("nginx starts");
    dockerd.unit().start().expect("dockerd starts");
    server.unit().start().expect("the service starts");
    host.ensure(&[], "served").expect("served");

    let services = [
        ("nginx@101", nginx.address(), NGINX, gateway.path(&certificate)),
        ("docker@1001", dockerd.address(), DOCKER, docker.path("/etc/docker/tls/cert.pem")),
        ("vllm@801", server.address(), VLLM, vllm.path("/etc/ssl/vllm/vllm.crt")),
    ];
    for (placement, address, name, file) in services {
        let status = host.status().expect("a status");
        let serial = status.placement(placement).expect("it is there").serial.clone().expect("a serial");
        look::wait_served(address, name, &ca.root_file(), &serial).expect("the service shows what `status` says");
        let seen = openssl::s_client(address, name, &ca.root_file()).expect("the service answers");
        assert!(seen.verified && seen.serial == serial, "{placement}: {}", seen.output);
        openssl::verify(&ca.root_file(), &file).expect("openssl runs").succeeded().expect("under step-ca's root");
    }
    assert!(vllm.read("/run/notified").expect("the hook ran").contains("--renewed vllm"));
    assert!(keys_below(host.root()).is_empty(), "no key of a guest's is on the host: {:?}", keys_below(host.root()));
    // The same import again asks for nothing else.
    let before = fs::read(&new).expect("a manifest");
    pinion(&["manifest", "import", "phoenix", &at("old.json"), "--output", &new, "--report", &report, "--force"]);
    assert_eq!(fs::read(&new).expect("a manifest"), before);
}

/// Does what the hook asks a person to do: as it is written it fails, and here its command is a program of the guest's.
fn review(guest: &Guest, hook: &Path) {
    let text = fs::read_to_string(hook).expect("the hook is written");
    let guard = "echo 'vllm-reload: not reviewed yet' >&2\nexit 1\n";
    assert!(text.contains(guard) && text.contains("\nnotify-operators --renewed vllm\n"), "{text}");
    let said = guest.path("/run/notified").display().to_string();
    let reviewed = text.replace(guard, "").replace("\nnotify-operators", &format!("\necho >>{said} notify-operators"));
    guest.write_hook("vllm-reload", &reviewed).expect("installed");
}

/// Private keys in what the import and the controller wrote for placements.
fn keys_below(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut directories = vec![root.join("root"), root.join("var/lib/pinion/local")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                directories.push(path);
            } else if fs::read(&path).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains("PRIVATE KEY")) {
                found.push(path.display().to_string());
            }
        }
    }
    found
}
