//! Proxmox's login with the shipped units: the root process may ask pvedaemon in its sandbox, on the port that Proxmox has.

use std::fs;

use pinion_tests::{
    lab::booted::Booted,
    wait::{self, PATIENCE},
};
use rcgen::{CertificateParams, KeyPair};
use serde_json::json;

/// As `pinion serve` runs.
const LIKE_SERVE: [&str; 5] = ["setpriv", "--reuid=pinion", "--regid=pinion", "--init-groups", "--no-new-privs"];

/// Answers on pvedaemon's port that whoever asks may look.
const PVEDAEMON: &str = "use IO::Socket::INET; \
    my $socket = IO::Socket::INET->new(LocalAddr => '127.0.0.1:85', Listen => 5, ReuseAddr => 1) or die qq(listen: $!\\n); \
    while (my $caller = $socket->accept) { while (<$caller>) { last if /^\\r?\\n$/ } \
    print $caller qq(HTTP/1.1 200 OK\\r\\nContent-Length: 30\\r\\nConnection: close\\r\\n\\r\\n{\"data\":{\"/\":{\"Sys.Audit\":1}}}); \
    close $caller; }";

/// Says a line to the root process, and prints its answer.
const ASK: &str = "use IO::Socket::UNIX; my $socket = IO::Socket::UNIX->new(Peer => '/run/pinion-channel/channel.sock') \
    or die qq(connect: $!\\n); print $socket qq($ARGV[0]\\n); $socket->flush; print scalar <$socket>;";

const CALL: &str = r#"{"web-access":{"ticket":"anna@pve!page=4ba4bb94-2c41-4b2a-9f0c-0123456789ab"}}"#;

#[test]
fn the_root_process_asks_pvedaemon_from_its_sandbox() {
    let host = Booted::install(&json!({ "version": 1, "certificates": [] })).expect("installed");
    let config = fs::read_to_string(host.path("/etc/pinion/controller.toml")).expect("there");
    let web = "[web]\nproxmox_login = \"pinion.internal.example\"\ncertificate = \"/etc/pinion/web.pem\"\n\
               key = \"/etc/pinion/web.key\"\n";
    host.write("/etc/pinion/controller.toml", 0o644, (config + web).as_bytes()).expect("written");
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["pinion.internal.example".to_owned()]).expect("a name");
    let certificate = params.self_signed(&key).expect("a certificate").pem();
    host.write("/etc/pinion/web.pem", 0o644, certificate.as_bytes()).expect("written");
    host.write("/etc/pinion/web.key", 0o644, key.serialize_pem().as_bytes()).expect("written");
    host.boot().expect("it boots");
    host.wait_well().expect("well");
    let ask = || host.well(&[LIKE_SERVE.as_slice(), &["perl", "-e", ASK, CALL]].concat()).expect("an answer").stdout;
    let answer = ask();
    assert!(answer.contains("\"failed\"") && answer.contains("systemctl status pvedaemon"), "{answer}");
    host.well(&["systemd-run", "--unit=stand-in", "perl", "-e", PVEDAEMON]).expect("started");
    let answer = wait::until("pvedaemon", PATIENCE, || {
        let answer = ask();
        if answer.contains("does not run") { Err(answer) } else { Ok(answer) }
    });
    let answer = answer.expect("it answers");
    assert!(answer.contains("anna@pve!page") && answer.contains("\"right\":\"audit\""), "{answer}");
    // Another user cannot take that port, nor another loopback address's for it.
    host.well(&["systemctl", "stop", "stand-in"]).expect("stopped");
    let taken =
        host.run(&[LIKE_SERVE.as_slice(), &["timeout", "1", "perl", "-e", PVEDAEMON]].concat()).expect("it runs");
    assert!(taken.stderr.contains("listen: "), "{taken}");
    assert!(!host.journal().contains("4ba4bb94"), "the token is in no log");
}
