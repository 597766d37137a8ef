//! The user that the network reaches cannot take a place that is root's.

use pinion_tests::lab::booted::Booted;
use serde_json::json;

/// As `pinion serve` runs.
const LIKE_SERVE: [&str; 5] = ["setpriv", "--reuid=pinion", "--regid=pinion", "--init-groups", "--no-new-privs"];

/// Listens on a socket and answers that the certificate is served, for as long as it is let.
const IMPOSTOR: &str = "use IO::Socket::UNIX; my ($path, $answer) = @ARGV; unlink $path; \
    my $socket = IO::Socket::UNIX->new(Local => $path, Listen => 5) or die qq(listen: $!\\n); \
    while (my $caller = $socket->accept) { my $question = <$caller>; print $caller qq($answer\\n); $caller->flush; <$caller>; }";

fn attempt(host: &Booted, path: &str) -> pinion_tests::process::Finished {
    let perl = ["timeout", "1", "perl", "-e", IMPOSTOR, path, "{}"];
    host.run(&[LIKE_SERVE.as_slice(), &perl].concat()).expect("it runs")
}

#[test]
fn the_user_pinion_cannot_play_the_agent_or_the_root_process() {
    let host = Booted::install(&json!({ "version": 1, "certificates": [] })).expect("installed");
    host.boot().expect("it boots");
    host.wait_well().expect("well");
    // First come, first served: neither of root's daemons runs.
    host.well(&["systemctl", "stop", "pinion-agent", "pinion-channel"]).expect("stopped");
    for path in ["/run/pinion-agent/agent.sock", "/run/pinion-channel/channel.sock", "/run/agent.sock"] {
        let refused = attempt(&host, path);
        assert!(refused.code() != 0 && refused.stderr.contains("listen: "), "{path}: {refused}");
    }
    // In its own directory it can do what it likes, also what versions before this one would have believed.
    let pid = host.well(&[
        "systemd-run",
        "--uid=pinion",
        "--unit=impostor",
        "perl",
        "-e",
        IMPOSTOR,
        "/run/pinion/agent.sock",
        SERVED,
    ]);
    pid.expect("started");
    let bound = pinion_tests::wait::until("the impostor's socket", pinion_tests::wait::PATIENCE, || {
        host.well(&["test", "-S", "/run/pinion/agent.sock"]).map(drop).map_err(|error| format!("{error:#}"))
    });
    bound.expect("bound");
    let awaited = host.run(&["pinion-agent", "await", "web", "--until", "served", "--timeout", "2s"]).expect("it runs");
    assert_eq!(awaited.code(), 5, "{awaited}");
    let asked = host.run(&["pinion-agent", "status"]).expect("it runs");
    assert_eq!(asked.code(), 5, "{asked}");
    // Root's daemons start all the same, and are the ones that are asked.
    host.well(&["systemctl", "start", "pinion-agent", "pinion-channel"]).expect("started");
    host.wait_well().expect("well");
}

/// What an agent would say of a certificate that is served.
const SERVED: &str = "{\"version\":\"0.1.0\",\"guest\":\"host\",\"identity_not_after\":null,\"link\":{\"linked\":true,\"since\":\
    \"2026-01-01T00:00:00Z\",\"controller\":null,\"error\":null,\"informed\":true},\"placements\":[{\"certificate\":\"web\",\
    \"stage\":\"served\",\"goal\":\"served\",\"generation\":1,\"serial\":\"01\",\"names\":null,\"not_after\":\
    \"2099-01-01T00:00:00Z\",\"trouble\":null,\"retired\":false}]}";
