//! The shipped feature script does in a guest what it says, and ends with the code that tells how it went.
//!
//! The script, the agent and dockerd are real, with the `daemon.json` that the script writes; `systemctl`
//! is a stand-in that asks the test to start dockerd.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::Command,
};

use pinion_tests::{
    ca::StepCa,
    guest::{Guest, GuestOptions},
    host::{Host, HostOptions},
    look, openssl,
    port::Port,
    process::Process,
    program,
    unit::{ReloadBy, Unit, UnitSpec},
    wait::{self, PATIENCE},
};
use serde_json::{Value, json};

const NAME: &str = "docker.internal.example";

/// A guest in which the script can run.
struct Site {
    unit: Unit,
    guest: Guest,
    port: Port,
}

impl Site {
    fn join(host: &Host, options: &GuestOptions) -> Self {
        let mut guest = Guest::prepare("1001", options).expect("a guest");
        guest.join_with(&host.token("1001").expect("a token")).and_then(|f| f.succeeded()).expect("it joins");
        guest.start().expect("the agent starts");
        guest.wait_linked(host).expect("the link is up");
        let port = Port::reserve().expect("a port");
        let unit = Unit::install(&guest, dockerd(&guest, &port)).expect("a unit");
        let site = Self { unit, guest, port };
        site.write_programs();
        site
    }

    fn certificate(&self) -> Value {
        json!({ "name": "docker", "common_name": NAME, "sans": ["127.0.0.1"], "placements": [
            { "guest": 1001, "recipe": "docker", "probe": { "connect": self.port.address() } },
        ]})
    }

    /// What the script calls, first on its PATH.
    fn write_programs(&self) {
        let asked = self.guest.path("/run/systemctl");
        fs::create_dir_all(&asked).expect("a directory");
        let systemctl = format!(
            "#!/bin/sh\n\
             echo \"$@\" >>{0}/calls\n\
             [ \"$1\" = restart ] || exit 0\n\
             : >{0}/asked\n\
             tries=0\n\
             until [ -e {0}/done ]; do tries=$((tries + 1)); [ $tries -lt 1500 ] || exit 1; sleep 0.02; done\n\
             exit \"$(cat {0}/done)\"\n",
            asked.display()
        );
        self.guest.write("usr/bin/systemctl", &systemctl).expect("written");
        // The machine that runs the test is not to be changed, whatever the script thinks.
        self.guest.write("usr/bin/apt-get", "#!/bin/sh\nexit 100\n").expect("written");
        for name in ["systemctl", "apt-get"] {
            let path = self.guest.path("/usr/bin").join(name);
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("executable");
        }
        for (name, path) in [("pinion-agent", program::own("pinion-agent")), ("dockerd", program::found("dockerd"))] {
            symlink(path.expect(name), self.guest.path("/usr/bin").join(name)).expect("linked");
        }
    }

    fn script(&self, timeout: &str) -> Process {
        let project = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the project's root");
        let mut command = Command::new("bash");
        command.arg(project.join("packaging/examples/feature_install_docker.sh"));
        command.env("PATH", format!("{}:/usr/bin:/bin", self.guest.path("/usr/bin").display()));
        command.env("ROOT", self.guest.root()).env("TIMEOUT", timeout);
        command.env("LISTEN", format!("tcp://{}", self.port.address()));
        Process::spawn("the script", &mut command, &self.guest.path("/var/log/script.log")).expect("bash is installed")
    }

    /// Does what `systemctl restart docker.service` asks for, as soon as it does.
    fn restart_when_asked(&self, script: &mut Process, restart: impl Fn()) {
        let asked = self.guest.path("/run/systemctl/asked");
        let waited = wait::until("the script to restart dockerd", PATIENCE, || match script.check_running() {
            Err(ended) => Ok(Err(ended)),
            Ok(()) if asked.exists() => Ok(Ok(())),
            Ok(()) => Err(script.log_tail()),
        });
        waited.and_then(|asked| asked).expect("it does");
        restart();
        self.guest.write("run/systemctl/new", "0\n").expect("written");
        fs::rename(self.guest.path("/run/systemctl/new"), self.guest.path("/run/systemctl/done")).expect("renamed");
    }

    fn calls(&self) -> String {
        self.guest.read("/run/systemctl/calls").expect("systemctl was called")
    }
}

/// dockerd with the settings that the script writes, and what keeps it apart from the machine's own.
fn dockerd(guest: &Guest, port: &Port) -> UnitSpec {
    let path = |inside: &str| guest.path(inside).display().to_string();
    let command = vec![
        program::found("dockerd").expect("docker.io is installed").display().to_string(),
        format!("--config-file={}", path("/etc/docker/daemon.json")),
        format!("--data-root={}", path("/var/lib/docker")),
        format!("--exec-root={}", path("/run/docker")),
        format!("--pidfile={}", path("/run/docker.pid")),
        "--iptables=false".into(),
        "--ip6tables=false".into(),
        "--ip-forward=false".into(),
        "--ip-masq=false".into(),
        "--bridge=none".into(),
        "--storage-driver=vfs".into(),
    ];
    UnitSpec { name: "docker.service".into(), command, reload: ReloadBy::Nothing, listens: port.address() }
}

fn end(mut script: Process) -> (i32, String) {
    let status = script.wait_end(PATIENCE).expect("it ends");
    (status.code().expect("it ends by itself"), script.log())
}

#[test]
fn the_feature_script_ends_with_0_when_dockerd_serves_the_certificate() {
    let ca = StepCa::start().expect("step-ca is installed");
    let host = Host::start(&HostOptions::step_ca(ca.issuer().expect("a root"), &json!([]))).expect("a host");
    let site = Site::join(&host, &GuestOptions::default());
    // The script may well be there before the operator has written the manifest.
    let mut script = site.script("30s");
    let manifest = json!({ "version": 1, "defaults": { "issuer": "step-ca" }, "certificates": [site.certificate()] });
    host.write_manifest(&manifest).expect("written");
    site.restart_when_asked(&mut script, || site.unit.start().expect("dockerd starts with the script's settings"));
    let (code, log) = end(script);
    assert_eq!(code, 0, "{log}");
    assert_eq!(site.calls(), "daemon-reload\nenable docker.service\nrestart docker.service\n");
    let serial = host.wait_placement("docker@1001", |found| found.serial.is_some()).expect("a serial").serial;
    let serial = serial.expect("it is there");
    look::wait_served(site.port.address(), NAME, &ca.root_file(), &serial).expect("it is served");
    assert!(openssl::s_client(site.port.address(), NAME, &ca.root_file()).expect("dockerd answers").verified);
}

#[test]
fn the_feature_script_ends_with_4_when_the_guest_refuses_and_leaves_dockerd_alone() {
    let host = Host::start(&HostOptions::default()).expect("a host");
    let options = GuestOptions { complete: true, units: vec!["docker.service".into()], ..GuestOptions::default() };
    let site = Site::join(&host, &options);
    let manifest = json!({ "version": 1, "certificates": [site.certificate()] });
    host.write_manifest(&manifest).expect("written");
    let (code, log) = end(site.script("25s"));
    assert_eq!(code, 4, "{log}");
    assert!(log.contains("/etc/docker/tls"), "{log}");
    assert_eq!(site.calls(), "daemon-reload\n");
}

#[test]
fn the_feature_script_ends_with_3_when_dockerd_does_not_come_in_time() {
    let host = Host::start(&HostOptions::default()).expect("a host");
    let site = Site::join(&host, &GuestOptions::default());
    let manifest = json!({ "version": 1, "certificates": [site.certificate()] });
    host.write_manifest(&manifest).expect("written");
    host.ensure(&[], "installed").expect("installed");
    let mut script = site.script("2s");
    // A manager that says that all is well, of a service that is not.
    site.restart_when_asked(&mut script, || {});
    let (code, log) = end(script);
    assert_eq!(code, 3, "{log}");
}

#[test]
fn the_feature_script_ends_with_6_when_the_manifest_has_no_such_certificate() {
    let host = Host::start(&HostOptions::default()).expect("a host");
    let site = Site::join(&host, &GuestOptions::default());
    let (code, log) = end(site.script("1s"));
    assert_eq!(code, 6, "{log}");
}
