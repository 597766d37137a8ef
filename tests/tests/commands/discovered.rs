//! `pinion discover`: what a guest's agent finds, as far as the guest allows, and what it never touches.

use std::{
    fs,
    io::ErrorKind,
    net::{SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt as _,
    process::Command,
};

use pinion_tests::{
    port::{self, Port},
    process::{Finished, Process},
    program,
    site::{Site, manifest as manifest_of},
    wait::{self, PATIENCE},
};
use rcgen::{CertificateParams, KeyPair};
use serde_json::Value;

/// A line of /proc/net/tcp for a socket that listens.
fn line(address: SocketAddr) -> String {
    let SocketAddr::V4(address) = address else { panic!("{address}") };
    let ip = u32::from_ne_bytes(address.ip().octets());
    format!("   0: {ip:08X}:{:04X} 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 7 1 0\n", address.port())
}

/// What the guest's kernel says of its listeners, in the place where the agent reads it.
fn listening(site: &Site, addresses: &[SocketAddr]) {
    let table: String = addresses.iter().copied().map(line).collect();
    fs::create_dir_all(site.guest.path("/proc/net")).expect("made");
    fs::write(site.guest.path("/proc/net/tcp"), format!("  sl  local_address\n{table}")).expect("written");
}

/// What `pinion discover` tells of the guest.
fn discovered(site: &Site) -> Value {
    let told = site.host.pinion(&["discover", "--json"]).and_then(Finished::succeeded).expect("it is told");
    let document: Value = serde_json::from_str(&told.stdout).expect("a document");
    assert_eq!(document.as_array().map(Vec::len), Some(1), "{document:#}");
    document[0].clone()
}

/// A TLS service that nobody manages, with its certificate in a file that the agent may look at.
fn stranger(site: &Site, address: SocketAddr) -> Process {
    let key = KeyPair::generate().expect("a key");
    let names = vec!["old.internal.example".into(), "*.old.internal.example".into()];
    let certificate = CertificateParams::new(names).expect("names").self_signed(&key).expect("a certificate");
    let (certificate_file, key_file) =
        (site.guest.path("/etc/ssl/old/old.crt"), site.guest.path("/etc/ssl/old/old.key"));
    fs::create_dir_all(certificate_file.parent().expect("a directory")).expect("made");
    fs::write(&certificate_file, certificate.pem()).expect("written");
    fs::write(&key_file, key.serialize_pem()).expect("written");
    fs::set_permissions(&key_file, fs::Permissions::from_mode(0o600)).expect("set");
    let mut server = Command::new(program::found("openssl").expect("openssl is installed"));
    server.args(["s_server", "-quiet", "-accept", &address.to_string()]);
    server.arg("-cert").arg(&certificate_file).arg("-key").arg(&key_file);
    let process = Process::spawn("a stranger", &mut server, &site.guest.path("/var/log/old.log")).expect("it starts");
    wait::until("the stranger to listen", PATIENCE, || {
        if port::is_listening(process.id(), address) { Ok(()) } else { Err(process.log_tail()) }
    })
    .expect("it listens");
    process
}

#[test]
fn what_is_served_is_found_as_far_as_the_guest_allows_and_printers_are_left_alone() {
    let mut site = Site::served().expect("the certificate is served");
    let reserved = Port::reserve().expect("a port");
    let _stranger = stranger(&site, reserved.address());
    let plain = TcpListener::bind("127.0.0.1:0").expect("a port");
    // An address of loopback that nobody else in these tests uses.
    let printer = TcpListener::bind("127.77.9.100:9100").expect("a printer");
    let addresses = [
        site.server.address(),
        reserved.address(),
        plain.local_addr().expect("an address"),
        printer.local_addr().expect("an address"),
    ];
    listening(&site, &addresses);

    // The guest has not allowed anything: who listens is told, and nobody is asked.
    let guest = discovered(&site);
    let examined = &guest["examined"];
    assert_eq!(examined["listeners"].as_array().map(Vec::len), Some(4), "{guest:#}");
    assert!(
        examined["listeners"].as_array().is_some_and(|all| all.iter().all(|one| one["shows"].is_null())),
        "{guest:#}"
    );
    assert!(examined["certificates"].as_array().is_some_and(Vec::is_empty), "{guest:#}");
    assert!(examined["left_out"].to_string().contains("discover = true"), "{guest:#}");

    let config = site.guest.path("/etc/pinion/agent.toml");
    let text = fs::read_to_string(&config).expect("read");
    fs::write(&config, text.replace("[allow]\n", "[allow]\ndiscover = true\n")).expect("written");
    site.guest.stop().expect("it stops");
    site.guest.start().expect("it starts");
    site.guest.wait_linked(&site.host).expect("linked");
    let guest = discovered(&site);
    let at = |address: SocketAddr| {
        let listeners = guest["examined"]["listeners"].as_array().expect("a list");
        listeners.iter().find(|one| one["address"] == address.to_string()).cloned().unwrap_or_default()
    };
    let [served, old, silent, paper] = addresses.map(at);
    assert_eq!(
        (&served["shows"]["managed"], &served["shows"]["names"][0]),
        (&"web".into(), &Site::NAME.into()),
        "{guest:#}"
    );
    assert_eq!(served["shows"]["serial"], site.serial().expect("all agree"), "{guest:#}");
    assert!(old["shows"]["managed"].is_null() && old["shows"]["names"][0] == "old.internal.example", "{guest:#}");
    assert_eq!(silent["why_not"], "no TLS", "{guest:#}");
    assert!(paper["why_not"].as_str().is_some_and(|why| why.contains("printer")), "{guest:#}");
    printer.set_nonblocking(true).expect("set");
    assert_eq!(printer.accept().expect_err("nobody has connected").kind(), ErrorKind::WouldBlock);
    let files = guest["examined"]["certificates"].to_string();
    assert!(files.contains("/etc/ssl/old/old.crt") && !files.contains(".key"), "{guest:#}");

    let table = site.host.pinion(&["discover", "--guest", "1001"]).and_then(Finished::succeeded).expect("it is told");
    assert!(table.stdout.lines().all(|line| line.chars().count() <= 80), "{table}");
    assert!(table.stdout.contains("web") && table.stdout.contains("showed no certificate"), "{table}");

    // What nobody manages is ready to paste.
    let pasted = site.host.pinion(&["discover", "--manifest"]).and_then(Finished::succeeded).expect("it is told");
    assert!(pasted.stderr.contains("its certificate is now in /etc/ssl/old/old.crt"), "{pasted}");
    let file = site.host.root().join("pasted.json");
    fs::write(&file, &pasted.stdout).expect("written");
    let checked = site.host.pinion(&["manifest", "check", &file.display().to_string()]).expect("it runs");
    assert!(checked.code() == 0, "{checked}\n{pasted}");
    let manifest: Value = serde_json::from_str(&pasted.stdout).expect("JSON");
    let entries = manifest["certificates"].as_array().expect("a list");
    assert_eq!((entries.len(), &entries[0]["common_name"]), (1, &"old.internal.example".into()), "{manifest:#}");
    let connect = &entries[0]["placements"][0]["probe"][0]["connect"];
    assert_eq!(connect, &reserved.address().to_string(), "{manifest:#}");

    // Or to be watched only, and then it is.
    let watch = ["discover", "--manifest", "--watch"];
    let pasted = site.host.pinion(&watch).and_then(Finished::succeeded).expect("it is told");
    let manifest: Value = serde_json::from_str(&pasted.stdout).expect("JSON");
    let entry = manifest["certificates"][0].clone();
    assert_eq!((&entry["watch"], &entry["name"]), (&true.into(), &"old".into()), "{manifest:#}");
    site.host.write_manifest(&manifest_of(serde_json::json!([site.certificate(), entry]))).expect("written");
    site.host.ensure(&["old"], "served").and_then(Finished::succeeded).expect("it is watched");
}

#[test]
fn a_guest_that_cannot_be_asked_is_told_and_holds_nobody_up() {
    let mut site = Site::served().expect("the certificate is served");
    assert_eq!(site.host.pinion(&["discover", "--guest", "nobody"]).expect("it runs").code(), 6);
    site.guest.stop().expect("it stops");
    wait::until("a guest that is away", PATIENCE, || {
        let told = site.host.pinion(&["discover", "--guest", "1001"]).map_err(|error| error.to_string())?;
        if told.stdout.contains("guest 1001: its agent is not linked") { Ok(()) } else { Err(told.to_string()) }
    })
    .expect("it is told");
}

#[test]
fn the_doctor_looks_into_guests_as_far_as_they_allow() {
    let mut site = Site::served().expect("the certificate is served");
    let doctor = |site: &Site| {
        let told = site.host.pinion(&["doctor"]).expect("it runs");
        (told.code(), told.stdout.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    let close = |mode| {
        let state = site.guest.path("/var/lib/pinion-agent");
        fs::set_permissions(state, fs::Permissions::from_mode(mode)).expect("set");
    };
    close(0o700);
    let (code, said) = doctor(&site);
    assert!(code == 0 && said.contains("found nothing wrong in 1001."), "{said}");
    close(0o755);
    let (code, said) = doctor(&site);
    assert!(code == 4 && said.contains("In guest 1001: /var/lib/pinion-agent has mode 0755"), "{said}");

    let config = site.guest.path("/etc/pinion/agent.toml");
    let text = fs::read_to_string(&config).expect("read");
    fs::write(&config, format!("{text}\n[doctor]\nfiles = false\ndisk = false\ncontrollers = false\n"))
        .expect("written");
    site.guest.stop().expect("it stops");
    site.guest.start().expect("it starts");
    site.guest.wait_linked(&site.host).expect("linked");
    let (code, said) = doctor(&site);
    assert_eq!(code, 0, "{said}");
    for setting in ["files", "disk", "controllers"] {
        assert!(said.contains(&format!("says `{setting} = false` under [doctor]")), "{setting}: {said}");
    }
}
