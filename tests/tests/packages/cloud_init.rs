//! The user-data of docs/other-installations.md, in machines that boot it with Debian's cloud-init.
//!
//! Invariant: each text is the document's; only the address, the file's name and its sum are others, which the document has
//! its reader replace. Debian's packages come from the test's own server: the lab's network leads nowhere else.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use pinion_proto::stage::Stage;
use pinion_tests::{
    lab::{
        GATEWAY_NAME, GUEST_AGENT, GUEST_AGENT_UNIT, Lab, Role, Spec, Tree,
        installation::{Installation, LONG, pinion, wait_for},
    },
    process::{self, Finished, Process},
    program, steps,
    wait::{self, PATIENCE},
};
use serde_json::{Value, json};
use tempfile::TempDir;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Becomes the template of [`CLONE`].
const FIRST: u32 = 9001;
const CLONE: u32 = 301;

/// Where there is no Proxmox: with the right sum, and with the document's.
const ALONE: u32 = 302;
const REFUSED: u32 = 303;

/// Where the test's server listens, on the lab's host.
const FILES: &str = "http://10.0.0.13:8080";

/// What an image of a provider has settled: where packages come from, and that network and language are not cloud-init's.
const IMAGE: &str = "datasource_list: [NoCloud, None]\nnetwork: {config: disabled}\napt: {preserve_sources_list: true}\n\
    locale: C.UTF-8\nssh_genkeytypes: [ed25519]\n";

fn manifest(guests: &[u32]) -> Value {
    let placement = |guest: &u32| json!({ "guest": guest, "recipe": "nginx" });
    let placements: Vec<Value> = guests.iter().map(placement).collect();
    json!({ "version": 1, "defaults": { "issuer": "embedded", "duration": "24h" }, "certificates": [
        { "name": "gateway", "common_name": GATEWAY_NAME, "placements": placements } ] })
}

#[test]
fn the_documents_user_data_does_what_the_document_says() {
    let texts = steps::files("other-installations.md", "cloud-init", "yaml").expect("user-data");
    let [guest_agent, waits, installs] = texts.as_slice() else { panic!("three texts and not {texts:?}") };
    let mut setting = Setting::up();
    let package = format!("pinion-agent_{VERSION}_amd64.deb");
    let refused =
        installs.replace("https://files.internal.example", FILES).replace("pinion-agent_0.1.0_amd64.deb", &package);
    let sum = setting.sum(&package);
    let installs = refused.replace(&"0".repeat(64), &sum);
    assert!(installs.contains(FILES) && installs.contains(&package) && installs.contains(&sum), "{installs}");

    for (vmid, name, address, text) in [
        (FIRST, "first", "10.0.0.90/24", guest_agent.as_str()),
        (ALONE, "alone", "10.0.0.92/24", &installs),
        (REFUSED, "refused", "10.0.0.93/24", &refused),
    ] {
        setting.lab.create(Spec { role: Role::Managed, ..Spec::machine(vmid, name, address) }).expect("created");
        setting.prepare(vmid, text);
    }
    add_server(&setting.lab, FIRST);
    let mut installation = Installation::install(&setting.lab, &manifest(&[FIRST]), "").expect("installed");
    installation.start(&setting.lab).expect("started");
    let lab = &setting.lab;
    thread::scope(|scope| {
        let boots = [FIRST, ALONE, REFUSED].map(|vmid| scope.spawn(move || lab.start(vmid).expect("it boots")));
        boots.into_iter().for_each(|boot| boot.join().expect("it boots"));
    });

    // The package is installed with the right sum alone, and waits for its token.
    setting.is_done(ALONE, true);
    setting.sh(ALONE, "systemctl is-active pinion-agent && systemctl is-enabled pinion-agent");
    let told = lab.exec(ALONE, &["pinion-agent", "status"]).expect("it runs");
    assert!((told.stdout.clone() + &told.stderr).contains("has not joined"), "{told}");
    setting.is_done(REFUSED, false);
    let log = setting.sh(REFUSED, "cat /var/log/cloud-init-output.log && ! dpkg -s pinion-agent 2>/dev/null");
    assert!(log.contains("pinion-agent") && log.contains("FAILED"), "{log}");

    // On Proxmox the guest agent is enough.
    setting.is_done(FIRST, true);
    setting.sh(FIRST, "dpkg -s qemu-guest-agent && systemctl is-enabled qemu-guest-agent");
    is_served(lab, &installation, FIRST);

    // The clone of a template with the agent waits at its first boot.
    installation.write_manifest(lab, &manifest(&[])).expect("written");
    setting.bake(FIRST);
    lab.stop(FIRST).expect("stopped");
    lab.make_template(FIRST).expect("a template");
    setting.lab.clone_guest(FIRST, CLONE, "clone", "10.0.0.91/24").expect("cloned");
    setting.lab.configure(CLONE, "template", None).expect("a guest");
    setting.prepare(CLONE, waits);
    let lab = &setting.lab;
    installation.write_manifest(lab, &manifest(&[CLONE])).expect("written");
    lab.start(CLONE).expect("it boots");
    setting.is_done(CLONE, true);
    is_served(lab, &installation, CLONE);
    let events = pinion(lab, "events --last 200").and_then(Finished::succeeded).expect("events").stdout;
    let installed = |vmid: u32| events.contains(&format!("Guest {vmid}: agent {VERSION} is installed"));
    assert!(installed(FIRST) && !installed(CLONE), "the clone has its agent from the template:\n{events}");
    for vmid in [FIRST, CLONE] {
        assert!(
            lab.read(vmid, "/var/lib/cloud/seed/nocloud/user-data").is_ok_and(|text| !text.contains("pinion-join"))
        );
    }
}

/// nginx wants a pair that nobody has yet: it does not start at boot.
fn add_server(lab: &Lab, vmid: u32) {
    let server = format!(
        "server {{ listen 443 ssl; ssl_certificate /etc/nginx/ssl/{GATEWAY_NAME}.crt; \
         ssl_certificate_key /etc/nginx/ssl/{GATEWAY_NAME}.key; }}\n"
    );
    lab.write(vmid, "/etc/nginx/conf.d/gateway.conf", 0o644, server.as_bytes()).expect("written");
}

fn is_served(lab: &Lab, installation: &Installation, vmid: u32) {
    let served = wait_for(lab, installation, &format!("gateway@{vmid} to be served"), LONG, |status| {
        let placement = status.placement(&format!("gateway@{vmid}"))?;
        (placement.stage == Stage::Served && placement.trouble.is_none()).then_some(())
    });
    served.unwrap_or_else(|error| panic!("{error:#}"));
}

/// The lab, and a server with Debian's packages and Pinion's.
struct Setting {
    // Ends before its directory and the lab.
    _server: Process,
    directory: TempDir,
    lab: Lab,
}

impl Setting {
    fn up() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let lab = Lab::up(Vec::new()).expect("the lab comes up");
        let packages = program::packages(VERSION).expect("built");
        copy(&packages, directory.path());
        let debian = directory.path().join("debian");
        fs::create_dir(&debian).expect("a directory");
        copy(&Tree::Docker.debs().expect("built"), &debian);
        let mut scan = Command::new("dpkg-scanpackages");
        scan.args(["--multiversion", "."]).current_dir(&debian);
        let index = process::run(&mut scan, b"", LONG).and_then(Finished::succeeded).expect("an index").stdout;
        fs::write(debian.join("Packages"), index).expect("written");
        let mut server = lab.command("/usr/bin/python3");
        server.args(["-m", "http.server", "--bind", "10.0.0.13", "8080", "--directory"]).arg(directory.path());
        let log = directory.path().join("log");
        let server = Process::spawn("the server of files", &mut server, &log).expect("it starts");
        let setting = Self { _server: server, directory, lab };
        let answers = ["curl", "--silent", "--fail", "--output", "/dev/null", &format!("{FILES}/debian/Packages")];
        wait::until("the server of files", PATIENCE, || setting.lab.run(&answers)?.succeeded().map(drop))
            .expect("it answers");
        setting
    }

    /// Writes what this machine boots with.
    fn prepare(&self, vmid: u32, user_data: &str) {
        let write = |path: &str, text: &str| self.lab.write(vmid, path, 0o644, text.as_bytes()).expect("written");
        write("/etc/cloud/cloud.cfg.d/99-image.cfg", IMAGE);
        write("/etc/apt/sources.list", &format!("deb [trusted=yes] {FILES}/debian ./\n"));
        write(&format!("/etc/systemd/system/{GUEST_AGENT_UNIT}"), GUEST_AGENT);
        write("/var/lib/cloud/seed/nocloud/meta-data", &format!("instance-id: lab-{vmid}\n"));
        write("/var/lib/cloud/seed/nocloud/user-data", user_data);
    }

    /// Bakes the agent in as packaging/proxmox/README.md has it of a VM, over SSH from the host; the lab's `qm` has no `set`,
    /// `shutdown` and `template`.
    fn bake(&self, vmid: u32) {
        let key = self.lab.path("/etc/ssh/lab");
        let host = |line: &str| {
            let project = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
            let typed = self.lab.run(&["sh", "-c", &format!("cd {project} && {line}")]).and_then(Finished::succeeded);
            typed.unwrap_or_else(|error| panic!("{line}: {error:#}"));
        };
        host("ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/lab");
        let public = fs::read(key.with_extension("pub")).expect("a public key");
        self.lab.write(vmid, "/root/.ssh/authorized_keys", 0o600, &public).expect("written");
        let config = "IdentityFile /etc/ssh/lab\nStrictHostKeyChecking no\nUserKnownHostsFile /dev/null\n";
        fs::write(self.lab.path("/etc/ssh/ssh_config.d/lab.conf"), config).expect("written");
        let readme = steps::commands("../packaging/proxmox/README.md", "`bake-agent`: the agent in a template");
        let lines = readme.expect("commands");
        assert!(lines[0].starts_with("install "), "{lines:?}");
        host(&lines[0]);
        let begin = lines.iter().position(|line| line.starts_with("qm set 9001 --agent 1")).expect("it begins");
        let end =
            lines.iter().position(|line| line.starts_with("qm shutdown 9001 && qm template 9001")).expect("it ends");
        lines[begin + 1..end].iter().for_each(|line| host(line));
    }

    /// cloud-init has done everything, and it went well or not.
    fn is_done(&self, vmid: u32, well: bool) {
        let told = self.lab.exec(vmid, &["cloud-init", "status", "--wait", "--long"]).expect("it runs");
        let log = || {
            self.sh(vmid, "cat /var/log/cloud-init-output.log; grep -E 'WARN|ERROR' /var/log/cloud-init.log || true")
        };
        assert_eq!(told.code() == 0, well, "{vmid}: {told}\n{}", log());
    }

    /// As the reader of the document finds it in SHA256SUMS.
    fn sum(&self, file: &str) -> String {
        let mut sum = Command::new("sha256sum");
        sum.arg(self.directory.path().join(file));
        let told = process::run(&mut sum, b"", PATIENCE).and_then(Finished::succeeded).expect("a sum").stdout;
        told.split_whitespace().next().expect("a sum").to_owned()
    }

    fn sh(&self, vmid: u32, line: &str) -> String {
        self.lab.sh(vmid, line).unwrap_or_else(|error| panic!("{error:#}"))
    }
}

/// The packages of one directory into another.
fn copy(from: &Path, to: &Path) {
    let files = fs::read_dir(from).expect("a directory").map(|entry| entry.expect("an entry").path());
    let packages: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|end| end == "deb")).collect();
    assert!(!packages.is_empty(), "{} has no packages", from.display());
    for package in packages {
        fs::copy(&package, to.join(package.file_name().expect("a name"))).expect("copied");
    }
}
