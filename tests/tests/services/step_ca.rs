//! Certificates of a real step-ca in a real nginx and a real dockerd: OpenSSL and docker's command line judge.

use std::path::{Path, PathBuf};

use pinion_tests::{
    ca::StepCa,
    docker::Docker,
    guest::Guest,
    host::{Host, HostOptions},
    look,
    nginx::Nginx,
    openssl,
    process::{Finished, run},
    wait::PATIENCE,
};
use serde_json::{Value, json};

const NGINX: &str = "nginx.internal.example";
const DOCKER: &str = "docker.internal.example";

/// A step-ca, a host that uses it, and a guest with nginx, dockerd and a client of dockerd's.
struct Site {
    // In the order in which they end: services before their guest, everything before the CA.
    nginx: Nginx,
    docker: Docker,
    guest: Guest,
    host: Host,
    ca: StepCa,
}

impl Site {
    fn start() -> Self {
        let ca = StepCa::start().expect("step-ca is installed");
        let host = Host::start(&HostOptions::step_ca(ca.issuer().expect("a root"), &json!([]))).expect("a host");
        let guest = Guest::join(&host, 1001).expect("a guest");
        let (certificate, key) = (format!("/etc/nginx/ssl/{NGINX}.crt"), format!("/etc/nginx/ssl/{NGINX}.key"));
        let nginx = Nginx::install(&guest, &certificate, &key).expect("nginx is installed");
        let docker = Docker::install(&guest, "/etc/docker/tls").expect("docker.io is installed");
        let site = Self { nginx, docker, guest, host, ca };
        site.host.write_manifest(&site.manifest()).expect("the manifest is written");
        site
    }

    fn manifest(&self) -> Value {
        json!({ "version": 1, "defaults": { "issuer": "step-ca" }, "certificates": [
            { "name": "nginx", "common_name": NGINX, "placements": [self.nginx.placement(&self.guest)] },
            { "name": "docker", "common_name": DOCKER, "sans": ["127.0.0.1"],
              "placements": [self.docker.placement(&self.guest)] },
            { "name": "client", "common_name": "client.internal.example", "placements": [{ "guest": 1001, "files": {
                // The whole chain: dockerd knows the root alone.
                "fullchain": { "path": "/etc/ssl/client/cert.pem" },
                "key": { "path": "/etc/ssl/client/key.pem" },
                "ca": { "path": "/etc/ssl/client/ca.pem" } } }] },
        ]})
    }

    /// Both services run on what is installed, and the client is there.
    fn serve(&self) {
        self.host.ensure(&[], "installed").expect("everything is installed");
        self.nginx.unit().start().expect("nginx starts");
        self.docker.unit().start().expect("dockerd starts");
        self.host.ensure(&[], "served").expect("everything is served");
    }

    /// The serial that `pinion status` says of a placement that OpenSSL sees served, and verifies.
    fn judged(&self, certificate: &str) -> String {
        let status = self.host.status().expect("a status");
        let placement = status.placement(&format!("{certificate}@1001")).expect("it is there").clone();
        let serial = placement.serial.expect("something is installed");
        let (address, name, file) = match certificate {
            "nginx" => (self.nginx.address(), NGINX, format!("/etc/nginx/ssl/{NGINX}.crt")),
            _ => (self.docker.address(), DOCKER, "/etc/docker/tls/cert.pem".to_owned()),
        };
        let root = self.ca.root_file();
        look::wait_served(address, name, &root, &serial).expect("the service shows what `status` says");
        let seen = openssl::s_client(address, name, &root).expect("the service answers");
        assert!(seen.verified && seen.serial == serial && seen.sent == 2, "{certificate}: {}", seen.output);
        let verified = openssl::verify(&root, &self.guest.path(&file)).expect("openssl runs");
        verified.succeeded().expect("the chain verifies under step-ca's root");
        serial
    }

    fn docker_version(&self, pair: &Path) -> Finished {
        run(&mut self.docker.client(pair).expect("docker-cli is installed"), b"", PATIENCE).expect("docker ends")
    }

    fn client(&self) -> PathBuf {
        self.guest.path("/etc/ssl/client")
    }
}

#[test]
fn what_step_ca_signs_is_served_by_nginx_and_dockerd_and_renewed() {
    let site = Site::start();
    site.serve();
    let first = (site.judged("nginx"), site.judged("docker"));
    let version = site.docker_version(&site.client()).succeeded().expect("the client's certificate is let in");
    assert!(version.stdout.contains("Server"), "{version}");
    site.docker.ping().expect("the daemon is alive");

    let (master, daemon) = (site.nginx.unit().id(), site.docker.unit().id());
    let before = (site.nginx.unit().reloads(), site.docker.unit().restarts());
    let finished = site.host.pinion(&["ensure", "--renew", "--until", "served"]).expect("pinion runs");
    finished.succeeded().expect("everything is renewed");

    let second = (site.judged("nginx"), site.judged("docker"));
    assert!(first.0 != second.0 && first.1 != second.1, "{first:?} {second:?}");
    site.docker_version(&site.client()).succeeded().expect("a renewed client is let in by a renewed daemon");
    // nginx was reloaded and lives on; dockerd, which reads its files at its start only, was restarted once.
    assert_eq!((site.nginx.unit().id(), site.nginx.unit().restarts()), (master, 0));
    assert_eq!(site.nginx.unit().reloads(), before.0 + 1);
    assert_ne!(site.docker.unit().id(), daemon);
    assert_eq!((site.docker.unit().restarts(), site.docker.unit().reloads()), (before.1 + 1, 0));

    // Asking again without a reason disturbs nobody.
    site.host.ensure(&[], "served").expect("everything is served");
    assert_eq!((site.nginx.unit().reloads(), site.docker.unit().restarts()), (before.0 + 1, before.1 + 1));
    assert_eq!((site.judged("nginx"), site.judged("docker")), second);
}

#[test]
fn dockerd_lets_nobody_in_without_a_certificate_of_the_same_ca() {
    let site = Site::start();
    site.serve();
    let stranger = tempfile::tempdir().expect("a directory");
    std::fs::copy(site.client().join("ca.pem"), stranger.path().join("ca.pem")).expect("the root is copied");
    let made = rcgen::generate_simple_self_signed(["client.internal.example".to_owned()]).expect("a pair");
    std::fs::write(stranger.path().join("cert.pem"), made.cert.pem()).expect("written");
    std::fs::write(stranger.path().join("key.pem"), made.signing_key.serialize_pem()).expect("written");
    let refused = site.docker_version(stranger.path());
    assert!(refused.code() != 0 && !refused.stdout.contains("Server"), "{refused}");
    site.docker_version(&site.client()).succeeded().expect("the right one is let in");
}
