//! Services that take their time to start, and one that does not come up: how often each is started, and what it serves.
//!
//! Invariant: every start of a service leaves a line, whoever started it; what is counted are these lines.

use std::time::Duration;

use pinion_proto::stage::{Halt, Stage};
use pinion_tests::lab::booted::Booted;
use serde_json::{Value, json};

const LONG: Duration = Duration::from_secs(120);

/// A service under the booted host's systemd.
struct Service {
    name: &'static str,
    port: u16,
    /// Of its unit: the type, and what else it says.
    unit: &'static str,
    /// What it does before it listens (sh(1)); `$D` is the directory of its pair.
    before: &'static str,
}

/// Shorter than the slow ones need, and than systemd gives them.
const AGENT: &str = "check_every = \"1s\"\nhook_timeout = \"4s\"\n[allow]\ndirectories = [\"/srv\"]\n\
                     units = [\"late.service\", \"notify.service\", \"crash.service\"]\n\
                     [retry]\ninitial = \"1s\"\nmax = \"2s\"\nblocked = \"60s\"\n";

const SERVICES: [Service; 3] = [
    // systemd takes it for started when it is forked, as it does with most Java and Node programs.
    Service { name: "late", port: 8101, unit: "Type=simple", before: "sleep 8" },
    Service {
        name: "notify",
        port: 8102,
        unit: "Type=notify\nNotifyAccess=all\nTimeoutStartSec=60",
        before: "sleep 10; systemd-notify --ready",
    },
    // It ends at once with any pair but its first one of Pinion's.
    Service {
        name: "crash",
        port: 8103,
        unit: "Type=simple\nRestart=always\nRestartSec=1\nStartLimitIntervalSec=0",
        before: "[ -e $D/good ] && ! cmp -s $D/good $D/cert.pem && exit 1",
    },
];

impl Service {
    fn directory(&self) -> String {
        format!("/srv/{}", self.name)
    }

    fn unit(&self) -> String {
        format!("{}.service", self.name)
    }

    fn certificate(&self) -> Value {
        let file =
            |name: &str| json!({ "path": format!("{}/{name}", self.directory()), "owner": "root", "group": "root" });
        json!({ "name": self.name, "common_name": format!("{}.internal.example", self.name), "placements": [{
            "host": true, "files": { "fullchain": file("cert.pem"), "key": file("key.pem") },
            "reload": { "restart": self.unit() }, "probe": { "connect": format!("127.0.0.1:{}", self.port) } }] })
    }

    /// Its unit, and a pair that somebody made by hand.
    fn install(&self, host: &Booted) {
        let directory = self.directory();
        let script = format!(
            "#!/bin/sh\nD={directory}\ndate +%s.%N >>/var/log/{name}.starts\n{before}\n\
             exec tls-server --listen 127.0.0.1:{port} --fullchain $D/cert.pem --key $D/key.pem\n",
            name = self.name,
            before = self.before,
            port = self.port,
        );
        host.write(&format!("/usr/local/bin/{}", self.name), 0o755, script.as_bytes()).expect("written");
        let unit =
            format!("[Unit]\nDescription={0}\n[Service]\n{1}\nExecStart=/usr/local/bin/{0}\n", self.name, self.unit);
        host.write(&format!("/etc/systemd/system/{}", self.unit()), 0o644, unit.as_bytes()).expect("written");
        host.write(&format!("{directory}/.keep"), 0o644, b"").expect("written");
        let (key, cert) = (format!("{directory}/key.pem"), format!("{directory}/cert.pem"));
        let words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
        let rest = ["-days", "1", "-subj", "/CN=snakeoil.invalid", "-keyout", &key, "-out", &cert];
        host.well(&[&words[..], &rest].concat()).expect("a pair");
    }

    fn starts(&self, host: &Booted) -> usize {
        let path = format!("/var/log/{}.starts", self.name);
        host.well(&["cat", &path]).map_or(0, |told| told.stdout.lines().count())
    }

    fn id(&self) -> String {
        format!("{}@host", self.name)
    }

    /// Waits until it shows another certificate of Pinion's than this one.
    fn wait_served(&self, host: &Booted, before: Option<&str>) -> String {
        let served = host.wait_status(&format!("{} to be served", self.name), LONG, |status| {
            let placement = status.placement(&self.id())?;
            let serial = placement.serial.clone().filter(|serial| Some(serial.as_str()) != before)?;
            (placement.stage == Stage::Served && placement.trouble.is_none()).then_some(serial)
        });
        served.unwrap_or_else(|error| panic!("{error:#}"))
    }
}

#[test]
fn a_service_is_restarted_once_however_long_it_starts_and_gets_its_old_files_at_once_when_it_crashes() {
    let nothing = json!({ "version": 1, "defaults": { "issuer": "embedded" }, "certificates": [] });
    let host = Booted::install(&nothing).expect("installed");
    host.write("/etc/pinion/agent.toml", 0o644, AGENT.as_bytes()).expect("written");
    host.boot().expect("it boots");
    host.wait_well().expect("well");
    for service in &SERVICES {
        service.install(&host);
    }
    host.well(&["systemctl", "daemon-reload"]).expect("systemd knows them");
    for service in &SERVICES {
        host.well(&["systemctl", "start", &service.unit()]).expect("started");
    }
    host.join().expect("the host's agent joins");
    let certificates: Vec<_> = SERVICES.iter().map(Service::certificate).collect();
    let all = json!({ "version": 1, "defaults": { "issuer": "embedded" }, "certificates": certificates });
    host.write_manifest(&all).expect("written");

    let first: Vec<String> = SERVICES.iter().map(|service| service.wait_served(&host, None)).collect();
    let [late, notify, crash] = &SERVICES;
    for service in [late, notify] {
        assert_eq!(service.starts(&host), 2, "{}: by hand, and for the first certificate", service.name);
    }
    for (service, serial) in [late, notify].into_iter().zip(&first) {
        host.run(&["pinion", "ensure", service.name, "--renew", "--until", "issued"]).expect("it runs");
        service.wait_served(&host, Some(serial));
        assert_eq!(service.starts(&host), 3, "{}: and for the renewed one", service.name);
    }

    // Somebody restarts it in the middle of nothing: what it then shows needs no restart of Pinion's.
    host.well(&["systemctl", "restart", "--no-block", "notify.service"]).expect("restarted");
    let looked = host.wait_status("the agent to notice", LONG, |status| {
        status.placement(&notify.id()).filter(|placement| placement.trouble.is_some()).map(drop)
    });
    looked.unwrap_or_else(|error| panic!("{error:#}"));
    notify.wait_served(&host, None);
    assert_eq!(notify.starts(&host), 4, "it was left to start\n{}", host.journal());

    // One that does not come up with its new files has its old ones within seconds, and not after two minutes.
    host.well(&["cp", "/srv/crash/cert.pem", "/srv/crash/good"]).expect("copied");
    host.run(&["pinion", "ensure", "crash", "--renew", "--until", "issued"]).expect("it runs");
    let trouble = host.wait_status("the crash to be reported", Duration::from_secs(40), |status| {
        let placement = status.placement(&crash.id())?;
        placement.trouble.clone().filter(|trouble| trouble.cause.contains("serves the old certificate meanwhile"))
    });
    let trouble = trouble.unwrap_or_else(|error| panic!("{error:#}"));
    assert!(trouble.halt == Halt::Blocked && trouble.cause.contains("systemd"), "{trouble}");
    assert!(trouble.remedy.contains("`settle`"), "{trouble}");
    host.well(&["cmp", "/srv/crash/good", "/srv/crash/cert.pem"]).expect("its old certificate is back");
}
