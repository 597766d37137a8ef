//! What a controller that has been broken into tries with the files and the eyes of a guest: private keys for everybody,
//! the guest's stores of roots, its configuration, and a scan of the network. Each is refused, whatever the guest's own
//! lists allow, and changes nothing.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
};

use pinion_proto::{
    spec::{FileMode, FileSpec, Part, PlacementSpec, Probe, Reload, TlsProbe},
    stage::{Halt, Trouble},
};
use pinion_tests::guest::{Guest, GuestOptions};

use super::{
    fake_controller::{FakeController, Link},
    lying_controller::{Ca, spec},
};

/// Nothing is said of what is allowed.
const DEFAULTS: &str = "[retry]\ninitial = \"200ms\"\nmax = \"2s\"\n";

/// Somebody has allowed far too much.
const WIDE: &str = "[allow]\ndirectories = [\"/etc\", \"/root\", \"/usr\", \"/srv\"]\nextra_directories = [\"/etc/ssl\"]\n\
                    [retry]\ninitial = \"200ms\"\nmax = \"2s\"\n";

/// What is in the guest, and must stay as it is.
const THERE: [(&str, &str); 7] = [
    ("/etc/ssl/certs/ca-certificates.crt", "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"),
    ("/etc/ssl/openssl.cnf", "[req]\n"),
    ("/root/.docker/config.json", "{}\n"),
    ("/etc/shadow", "root:*::\n"),
    ("/etc/ssl/private/app.pem", "option = 1\n"),
    ("/usr/local/share/ca-certificates/own.crt", "-----BEGIN CERTIFICATE-----\nAQ==\n-----END CERTIFICATE-----\n"),
    ("/etc/ssh/ssh_host_key", "-----BEGIN OPENSSH PRIVATE KEY-----\nAA==\n-----END OPENSSH PRIVATE KEY-----\n"),
];

/// A guest with this configuration, linked to a controller that has been broken into.
async fn linked(config: &str) -> (FakeController, Guest, Link) {
    let mut fake = FakeController::start().await;
    let options = GuestOptions { directories: Vec::new(), ..GuestOptions::default() };
    let mut guest = Guest::prepare("1001", &options).expect("a guest");
    guest.write("/etc/pinion/agent.toml", config).expect("written");
    for (path, content) in THERE {
        guest.write(path, content).expect("a file");
    }
    guest.join_with(&fake.token("1001")).expect("it runs").succeeded().expect("joined");
    guest.start().expect("an agent");
    let link = fake.link().await;
    (fake, guest, link)
}

/// A placement with one file changed.
fn with(part: Part, file: FileSpec) -> PlacementSpec {
    let mut evil = spec("web", "/etc/ssl/web", Some(1));
    evil.files.insert(part, file);
    evil
}

fn at(part: Part, path: &str) -> PlacementSpec {
    with(part, FileSpec { path: Some(path.parse().expect("a path")), ..FileSpec::default() })
}

fn owned(mode: u32, owner: &str, group: &str) -> PlacementSpec {
    let account = |name: &str| Some(name.parse().expect("an account"));
    with(
        Part::Key,
        FileSpec {
            path: Some("/etc/ssl/web/web.key".parse().expect("a path")),
            mode: Some(FileMode::from_bits(mode).expect("a mode")),
            owner: account(owner),
            group: account(group),
            ..FileSpec::default()
        },
    )
}

async fn refused(link: &mut Link, evil: &PlacementSpec, words: &str) -> Trouble {
    // A guest does not say the same twice, so something else is asked for in between.
    let between = PlacementSpec { recipe: Some("between".parse().expect("a name")), ..evil.clone() };
    link.desire(&[&between]).await;
    link.report(|report| report.trouble.as_ref().filter(|trouble| trouble.cause.contains("`between`")).map(drop)).await;
    link.desire(&[evil]).await;
    let trouble = link.report(|report| report.trouble.clone().filter(|trouble| trouble.cause.contains(words))).await;
    assert!(trouble.halt == Halt::Blocked && !trouble.remedy.is_empty(), "{words}: {trouble}");
    trouble
}

fn unchanged(guest: &Guest) {
    for (path, content) in THERE {
        assert_eq!(guest.read(path).expect("there"), content, "{path}");
    }
    assert!(!guest.path("/etc/ssl/web/web.key").exists(), "a key was written");
    for path in ["/etc/ssl/cert.pem", "/etc/ssl/certs/web.crt", "/etc/ssl/certs/9d04f354.0", "/root/.bashrc"] {
        assert!(guest.path(path).symlink_metadata().is_err(), "{path} was written");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn by_default_readable_keys_root_stores_and_configuration_are_refused() {
    let (_fake, guest, mut link) = linked(DEFAULTS).await;
    for mode in [0o666, 0o644, 0o604, 0o601, 0o602, 0o777] {
        refused(&mut link, &owned(mode, "root", "root"), "lets every user reach the private key").await;
        refused(&mut link, &owned(mode, "nobody", "nobody"), "lets every user reach the private key").await;
    }
    let mut combined = owned(0o640, "root", "root");
    combined.files.insert(
        Part::Combined,
        FileSpec {
            path: Some("/etc/ssl/web/web.pem".parse().expect("a path")),
            mode: Some("0644".parse().expect("a mode")),
            ..FileSpec::default()
        },
    );
    refused(&mut link, &combined, "lets every user reach the private key").await;
    for path in [
        "/etc/ssl/cert.pem",
        "/etc/ssl/openssl.cnf",
        "/root/.docker/config.json",
        "/etc/ssl/new.crt",
        "/etc/nginx/ssl/web.crt",
        "/etc/docker/tls/ca.pem",
    ] {
        for part in [Part::Fullchain, Part::Key, Part::Ca] {
            refused(&mut link, &at(part, path), &format!("does not allow files at {path}")).await;
        }
    }
    for path in [
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/ssl/certs/web.crt",
        "/etc/ssl/certs/9d04f354.0",
        "/etc/ssl/Certs/web.crt",
    ] {
        for part in [Part::Fullchain, Part::Key, Part::Ca] {
            refused(&mut link, &at(part, path), "part of a store of trusted roots").await;
        }
    }
    for unit in ["nginx.service", "docker.service", "ssh.service"] {
        let reload = Some(Reload::Restart(unit.parse().expect("a unit")));
        let evil = PlacementSpec { reload, ..spec("web", "/etc/ssl/web", Some(1)) };
        refused(&mut link, &evil, &format!("does not allow reloading {unit}")).await;
    }
    unchanged(&guest);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wide_list_of_the_operators_does_not_open_stores_and_configuration() {
    let (_fake, guest, mut link) = linked(WIDE).await;
    symlink("certs", guest.path("/etc/ssl/innocent")).expect("a link");
    for (path, words) in [
        ("/etc/ssl/certs/ca-certificates.crt", "part of a store of trusted roots"),
        ("/etc/ssl/certs/9d04f354.0", "part of a store of trusted roots"),
        ("/etc/ssl/cert.pem", "part of a store of trusted roots"),
        ("/usr/local/share/ca-certificates/own.crt", "part of a store of trusted roots"),
        ("/srv/app/ca-bundle.crt", "part of a store of trusted roots"),
        ("/etc/ssl/openssl.cnf", "a file that configures a program"),
        ("/root/.docker/config.json", "a file that configures a program"),
        ("/root/.bashrc", "a file that configures a program"),
        ("/etc/docker/daemon.json", "a file that configures a program"),
        ("/etc/pve/local/pve-ssl.key", "Proxmox's own"),
        ("/etc/ssl/web/.pinion/other/current/web.crt", "in one of Pinion's own directories of generations"),
    ] {
        for part in [Part::Fullchain, Part::Ca] {
            refused(&mut link, &at(part, path), words).await;
        }
    }
    unchanged(&guest);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_shows_on_the_disk_is_refused_before_anything_is_written() {
    let (_fake, guest, mut link) = linked(WIDE).await;
    let groups = fs::read_to_string(guest.path("/etc/group")).expect("groups");
    fs::write(guest.path("/etc/group"), format!("{groups}users:x:100:\n")).expect("written");
    let users = fs::read_to_string(guest.path("/etc/passwd")).expect("users");
    fs::write(guest.path("/etc/passwd"), format!("{users}nfsnobody:x:99:99:::\nalias:x:99:99:::\n")).expect("written");
    symlink("certs", guest.path("/etc/ssl/innocent")).expect("a link");
    let ca = Ca::new();
    let mut generation = 0;
    for (evil, words) in [
        (owned(0o600, "nobody", "root"), "programs of any user may run as these"),
        (owned(0o640, "root", "nobody"), "programs of any user may run as these"),
        (owned(0o600, "65534", "0"), "programs of any user may run as these"),
        (owned(0o640, "root", "100"), "programs of any user may run as these"),
        (owned(0o600, "99", "root"), "programs of any user may run as these"),
        (owned(0o600, "alias", "root"), "programs of any user may run as these"),
        (at(Part::Fullchain, "/etc/ssl/innocent/web.crt"), "leads to /etc/ssl/certs/web.crt"),
        (at(Part::Key, "/etc/pinion/hooks.d/evil"), "one of Pinion's own directories"),
        (at(Part::Fullchain, "/etc/pinion/recipes.d/evil.crt"), "one of Pinion's own directories"),
        (at(Part::Fullchain, "/etc/shadow"), "does not replace it"),
        (at(Part::Key, "/etc/ssl/private/app.pem"), "does not replace it"),
        (at(Part::Key, "/etc/ssh/ssh_host_key"), "does not replace it"),
    ] {
        generation += 1;
        let evil = PlacementSpec { ordered: Some(generation), ..evil };
        link.desire(&[&evil]).await;
        let csr = link.request(generation).await;
        link.deliver(ca.delivery(generation, &csr, |_| {})).await;
        let trouble =
            link.report(|report| report.trouble.clone().filter(|trouble| trouble.cause.contains(words))).await;
        assert_eq!(trouble.halt, Halt::Blocked, "{words}: {trouble}");
        unchanged(&guest);
    }
    for directory in ["/etc/pinion/hooks.d", "/etc/pinion/recipes.d"] {
        assert!(fs::read_dir(guest.path(directory)).map_or(0, Iterator::count) == 0, "{directory}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_reveals_nothing_of_the_network() {
    let (_fake, guest, mut link) = linked(DEFAULTS).await;
    let ca = Ca::new();
    // Documentation's addresses (RFC 5737): nobody answers there, and a try would take its time.
    for (generation, target) in (1..).zip(["192.0.2.7:22", "198.51.100.1:443", "[2001:db8::1]:443", "0.0.0.0:22"]) {
        let probe = Probe::Tls(TlsProbe::at(target.parse().expect("an address")));
        let evil = PlacementSpec { probe: Some(probe), ..spec("web", "/etc/ssl/web", Some(generation)) };
        link.desire(&[&evil]).await;
        let csr = link.request(generation).await;
        link.deliver(ca.delivery(generation, &csr, |_| {})).await;
        let words = format!("{target} is neither loopback nor an address of this guest");
        let trouble =
            link.report(|report| report.trouble.clone().filter(|trouble| trouble.cause.contains(&words))).await;
        assert_eq!(trouble.halt, Halt::Blocked, "{trouble}");
        assert!(!connections().contains("070200C0") && !connections().contains("016433C6"), "{target} was asked");
    }
    let key = guest.path("/etc/ssl/web/web.key").metadata().expect("the key is there").permissions().mode();
    assert_eq!(key & 0o077, 0, "{key:o}");
}

/// The kernel's table of TCP connections, those under way too, addresses in hexadecimal.
fn connections() -> String {
    fs::read_to_string(Path::new("/proc/net/tcp")).expect("Linux has it")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_probed_server_says_is_not_sent_to_the_controller() {
    use std::io::Write;
    const SECRET: &str = "internal-banner-4711";
    let (_fake, _guest, mut link) = linked(DEFAULTS).await;
    let ca = Ca::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let connect = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            drop(stream.write_all(format!("554 {SECRET}\r\n").as_bytes()));
        }
    });
    use pinion_proto::spec::StartTls;
    for (generation, starttls) in
        (1..).zip([None, Some(StartTls::Smtp), Some(StartTls::Imap), Some(StartTls::Postgres)])
    {
        let probe = Some(Probe::Tls(TlsProbe { starttls, ..TlsProbe::at(connect) }));
        let web = PlacementSpec { probe, ..spec("web", "/etc/ssl/web", Some(generation)) };
        link.desire(&[&web]).await;
        let csr = link.request(generation).await;
        link.deliver(ca.delivery(generation, &csr, |_| {})).await;
        let trouble = link
            .report(|report| {
                let here = report.held.as_ref().is_some_and(|held| held.generation == generation);
                report.trouble.clone().filter(|_| here)
            })
            .await;
        assert!(trouble.cause.contains(&connect.to_string()), "{trouble}");
        assert!(!trouble.to_string().contains(SECRET) && !trouble.to_string().contains("554"), "{trouble}");
    }
}
