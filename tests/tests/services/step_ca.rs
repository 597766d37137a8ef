//! Certificates of a real step-ca in a real nginx and a real dockerd: OpenSSL and docker's command line judge.

use std::path::{Path, PathBuf};

use pinion_proto::stage::Halt;
use pinion_tests::{
    ca::StepCa,
    docker::Docker,
    guest::Guest,
    host::{Host, HostOptions},
    look,
    nginx::Nginx,
    openssl,
    outage::{Before, Client},
    process::{Finished, run},
    status::PlacementJson,
    wait::PATIENCE,
};
use serde_json::{Value, json};

use super::several::counted;

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
            { "name": "client", "common_name": "client.internal.example", "usage": "client", "placements": [{ "guest": 1001, "files": {
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

    /// From now on the CA signs with this as the end of its template.
    fn sign_with(&mut self, extensions: &str) {
        let template = format!(
            r#"{{"subject": {{{{ toJson .Subject }}}}, "sans": {{{{ toJson .SANs }}}}, "keyUsage": ["digitalSignature"]{extensions}}}"#
        );
        let change = |config: &mut Value| {
            config["authority"]["provisioners"][0]["options"] = json!({ "x509": { "template": template } });
        };
        self.ca.change(change).and_then(|()| self.ca.restart()).expect("the CA has another template");
    }

    /// Asks for a renewal that fails, and waits until its trouble has these words.
    fn refused(&self, certificate: &str, words: &[&str]) {
        let asked = self.host.pinion(&["ensure", certificate, "--renew", "--timeout", "30s"]).expect("pinion runs");
        assert_eq!(asked.code(), 4, "it needs a person: {asked}");
        let label = format!("{certificate}@1001");
        let says = |placement: &PlacementJson| {
            let trouble = placement.trouble.as_ref();
            trouble.is_some_and(|trouble| words.iter().all(|words| trouble.cause.contains(words)))
        };
        let seen = self.host.wait_placement(&label, says).expect("the trouble is told");
        let trouble = seen.trouble.expect("a trouble");
        assert!(trouble.halt == Halt::Blocked && trouble.remedy.contains("template"), "{trouble:?}");
    }

    fn disturbed(&self) -> [usize; 4] {
        let (nginx, docker) = (self.nginx.unit(), self.docker.unit());
        [nginx.reloads(), nginx.restarts(), docker.reloads(), docker.restarts()]
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
fn a_certificate_that_no_peer_accepts_replaces_nothing() {
    let mut site = Site::start();
    site.serve();
    let held = |site: &Site| {
        let client = std::fs::read(site.client().join("cert.pem")).expect("the client has one");
        (site.judged("nginx"), site.judged("docker"), client)
    };
    let (before, disturbed) = (held(&site), site.disturbed());

    site.sign_with(r#", "extKeyUsage": ["codeSigning"]"#);
    site.refused("client", &["codeSigning"]);
    site.sign_with(r#", "extKeyUsage": ["serverAuth"]"#);
    site.refused("client", &["extended key usage", "clientAuth", "serverAuth"]);
    assert_eq!((held(&site), site.disturbed()), (before.clone(), disturbed), "nothing is replaced, nobody disturbed");
    site.docker_version(&site.client()).succeeded().expect("the client is let in as before");

    let clients = [(site.nginx.address(), "nginx"), (site.docker.address(), "dockerd")]
        .map(|(at, name)| (Client::start(at, NGINX, Before::Nothing), name));
    // The client is welcome to a certificate for clients, when it tries again.
    site.sign_with(r#", "extKeyUsage": ["clientAuth"]"#);
    for server in ["nginx", "docker"] {
        site.refused(server, &["extended key usage", "clientAuth", "serverAuth"]);
    }
    site.sign_with(r#", "basicConstraints": {"isCA": true, "maxPathLen": 0}"#);
    site.refused("nginx", &["certificate authority's"]);
    assert_eq!((site.judged("nginx"), site.judged("docker")), (before.0.clone(), before.1.clone()));
    assert_eq!(site.disturbed(), disturbed);

    // A certificate that says nothing of it may be used for everything.
    site.sign_with("");
    site.host.ensure(&["nginx", "docker", "client"], "served").expect("all are renewed");
    let after = held(&site);
    assert!(after.0 != before.0 && after.1 != before.1 && after.2 != before.2);
    site.docker_version(&site.client()).succeeded().expect("the client is let in with the new one");
    for ((client, name), told) in clients.into_iter().zip([(1, 0), (0, 1)]) {
        let case = format!("a certificate for clients alone, refused by {name}, and a good one after it");
        client.and_then(|client| client.end(&case, counted(told))).expect("measured");
    }
    let [reloads, restarts, docker_reloads, docker_restarts] = disturbed;
    assert_eq!(site.disturbed(), [reloads + 1, restarts, docker_reloads, docker_restarts + 1]);
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
