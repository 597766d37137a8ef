//! The harness's own services are what they claim: they serve what is in their files, take new files
//! the way the real ones do, and leave nothing behind.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    path::Path,
    process::Command,
};

use pinion_tests::{
    docker::Docker,
    guest::{Guest, GuestOptions},
    look,
    nginx::Nginx,
    openssl,
    process::run,
    tls_server::TlsServer,
    wait::PATIENCE,
};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};

#[test]
fn nginx_serves_new_files_after_the_hook_and_not_before() {
    let (guest, authority) = (guest(), Authority::new());
    let (certificate, key) = ("/etc/nginx/ssl/a.crt", "/etc/nginx/ssl/a.key");
    let nginx = Nginx::install(&guest, certificate, key).expect("nginx is installed");
    let root = guest.path("/etc/ssl/root.pem");
    fs::write(&root, &authority.root).expect("the root is written");

    Nginx::place_snakeoil(&guest, certificate, key).expect("a pair is written");
    nginx.unit().start().expect("nginx starts on the snakeoil pair");
    let old = openssl::s_client(nginx.address(), NAME, &root).expect("nginx answers");
    assert!(!old.verified, "{}", old.output);

    let serial = authority.place(&guest, certificate, key);
    nginx.test().expect("the new files are fine");
    assert_eq!(openssl::s_client(nginx.address(), NAME, &root).expect("nginx answers").serial, old.serial);
    assert_eq!(hook(&guest, "nginx-test", "").0, 0);
    assert_eq!(hook(&guest, "nginx.service", "reload"), (0, String::new()));
    look::wait_served(nginx.address(), NAME, &root, &serial).expect("nginx serves the new leaf");
    let new = openssl::s_client(nginx.address(), NAME, &root).expect("nginx answers");
    assert!(new.verified && new.serial == serial && new.sent == 1, "{}", new.output);
    assert_eq!(nginx.unit().reloads(), 1);
    assert!(openssl::is_pair(&guest.path(certificate), &guest.path(key)).expect("both can be read"));
    assert_eq!(openssl::verify(&root, &guest.path(certificate)).expect("openssl runs").code(), 0);

    guest.write(key, "not a key").expect("a file is written");
    let (code, complaint) = hook(&guest, "nginx.service", "reload");
    assert!(code == 1 && complaint.contains("a.key"), "{code} {complaint}");
}

#[test]
fn a_unit_can_be_told_from_its_start_to_its_stop() {
    let (guest, authority) = (guest(), Authority::new());
    let server = TlsServer::install(&guest, "/etc/ssl/t.crt", "/etc/ssl/t.key").expect("tls-server is built");
    let root = guest.path("/etc/ssl/root.pem");
    fs::write(&root, &authority.root).expect("the root is written");
    let first = authority.place(&guest, "/etc/ssl/t.crt", "/etc/ssl/t.key");

    // To the agent a unit without a hook is one that does not run.
    assert!(!guest.hook_path("tls-server.service").exists());
    server.unit().start().expect("it starts");
    look::wait_served(server.address(), NAME, &root, &first).expect("it serves the first leaf");

    let second = authority.place(&guest, "/etc/ssl/t.crt", "/etc/ssl/t.key");
    server.unit().refuse_next(1);
    assert_eq!(hook(&guest, "tls-server.service", "reload").0, 1);
    assert_eq!(look::served(server.address(), NAME, &root).expect("it answers").serial(), first);
    assert_eq!(hook(&guest, "tls-server.service", "reload").0, 0);
    look::wait_served(server.address(), NAME, &root, &second).expect("it serves the second leaf");

    server.unit().stop().expect("it stops");
    assert!(!guest.hook_path("tls-server.service").exists());
    server.unit().start().expect("it starts again");
    let id = server.unit().id().expect("it runs");
    drop(server);
    assert!(!Path::new(&format!("/proc/{id}")).exists());
}

#[test]
fn dockerd_takes_new_files_by_a_restart_and_leaves_nothing_behind() {
    let (guest, authority) = (guest(), Authority::new());
    let docker = Docker::install(&guest, "/etc/docker/tls").expect("docker.io is installed");
    let root = guest.path("/etc/docker/tls/ca.pem");
    guest.write("/etc/docker/tls/ca.pem", &authority.root).expect("the root is written");
    let first = authority.place(&guest, "/etc/docker/tls/cert.pem", "/etc/docker/tls/key.pem");
    docker.unit().start().expect("dockerd starts");
    look::wait_served(docker.address(), NAME, &root, &first).expect("it serves the first leaf");
    docker.ping().expect("the daemon is alive");

    let second = authority.place(&guest, "/etc/docker/tls/cert.pem", "/etc/docker/tls/key.pem");
    assert_eq!(hook(&guest, "docker.service", "reload").0, 1);
    assert_eq!(hook(&guest, "docker.service", "restart"), (0, String::new()));
    look::wait_served(docker.address(), NAME, &root, &second).expect("it serves the second leaf");

    let directory = guest.root().display().to_string();
    drop(docker);
    let mounts = fs::read_to_string("/proc/self/mounts").expect("the mounts can be read");
    assert!(!mounts.contains(&directory), "{mounts}");
    let mut search = Command::new("pgrep");
    let left = run(search.args(["-f", "-a", &directory]), b"", PATIENCE).expect("pgrep runs");
    assert!(left.code() == 1, "{left}");
}

/// Runs a hook as the agent does; its code and what it complained of.
fn hook(guest: &Guest, name: &str, argument: &str) -> (i32, String) {
    let mut command = Command::new(guest.path(&format!("/etc/pinion/hooks.d/{name}")));
    let finished = run(command.arg(argument), b"", PATIENCE).expect("the hook runs");
    (finished.code(), finished.stderr)
}

fn guest() -> Guest {
    Guest::prepare("1001", &GuestOptions::default()).expect("a guest's directory")
}

/// A CA that lives as long as a test.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        // With the default name, leaf and root would have the same, and OpenSSL takes such a leaf for self-signed.
        params.distinguished_name.push(DnType::CommonName, "Test Root");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().expect("a key");
        let root = params.self_signed(&key).expect("a root").pem();
        Self { issuer: Issuer::new(params, key), root }
    }

    /// Writes a new pair for [`NAME`]; its serial number.
    fn place(&self, guest: &Guest, certificate: &str, key: &str) -> String {
        let mut params = CertificateParams::new(vec![NAME.to_owned()]).expect("a DNS name");
        params.distinguished_name.push(DnType::CommonName, NAME);
        params.subject_alt_names.push(SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        params.use_authority_key_identifier_extension = true;
        let pair = KeyPair::generate().expect("a key");
        let leaf = params.signed_by(&pair, &self.issuer).expect("a leaf").pem();
        guest.write(certificate, &leaf).expect("the leaf is written");
        guest.write(key, &pair.serialize_pem()).expect("the key is written");
        openssl::serial(&leaf).expect("openssl reads the leaf")
    }
}

/// The name that every leaf here has.
const NAME: &str = "service.internal.example";
