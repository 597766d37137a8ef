//! The Ansible roles, over real SSH: a controller, a guest with the Debian package and one with the archive.
//!
//! Invariant: Ansible runs on the lab's host, as on an administrator's machine, and reaches the three by SSH alone.

use std::{fs, path::Path, time::Duration};

use pinion_tests::{
    lab::{Lab, Role, Spec},
    process::{self, Finished},
    program,
    wait::{self, PATIENCE},
};
use serde_json::{Value, json};
use tempfile::TempDir;

const VERSION: &str = env!("CARGO_PKG_VERSION");

const CONTROLLER: u32 = 913;
const WITH_PACKAGE: u32 = 914;
const WITH_ARCHIVE: u32 = 915;

/// What ansible calls them, and their addresses.
const HOSTS: [(u32, &str, &str); 3] =
    [(CONTROLLER, "pve1", "10.0.0.113"), (WITH_PACKAGE, "web", "10.0.0.114"), (WITH_ARCHIVE, "app", "10.0.0.115")];

/// Three machines, one after the other where one waits for another.
const LONG: Duration = Duration::from_secs(400);

/// The start of every token.
const TOKEN: &str = "pinion-join-1.";

#[test]
fn the_roles_install_and_join_once_and_then_change_nothing() {
    let setting = Setting::up();
    setting.write("agent.toml", "[allow]\nextra_directories = [\"/srv/app\"]\n");
    setting.write("manifest.json", &manifest("/srv/app/app").to_string());

    setting.reports_why_it_is_not_set_up();

    // Everything that ansible can be made to say has no token in it.
    let first = setting.play(&["-vvv"]).succeeded().expect("the first run");
    assert!(!(first.stdout.clone() + &first.stderr).contains(TOKEN), "{first}");
    assert_eq!(recap(&first, "failed="), 0, "{first}");
    assert!(first.stdout.contains("pinion-agent\", \"await") && recap(&first, "changed=") > 0, "{first}");
    for (vmid, _, _) in HOSTS {
        let journal = setting.sh(vmid, "journalctl --no-pager");
        assert!(journal.contains(": Invoked with "), "ansible says in the journal what it runs: {journal}");
        assert!(!journal.contains(TOKEN), "{journal}");
        let kept = setting.lab.exec(vmid, &["grep", "-rlIF", TOKEN, "/root", "/tmp", "/var/tmp", "/etc", "/var/cache"]);
        assert_eq!(kept.expect("it runs").stdout, "", "the token is in a file of guest {vmid}");
    }
    // Both have joined, and are served what they waited for.
    for (vmid, path) in [(WITH_PACKAGE, "/etc/ssl/web/web.crt"), (WITH_ARCHIVE, "/srv/app/app.crt")] {
        setting.sh(vmid, &format!("openssl x509 -noout -checkend 60 -in {path}"));
    }
    assert_eq!(setting.sh(WITH_PACKAGE, "dpkg-query -W -f '${Status}' pinion-agent"), "install ok installed");
    setting.sh(WITH_ARCHIVE, "test -e /etc/systemd/system/pinion-agent.service && ! dpkg -s pinion-agent");

    let before = setting.processes();
    for options in [&[][..], &["--check"]] {
        let again = setting.play(options).succeeded().expect("another run");
        assert_eq!((recap(&again, "changed="), recap(&again, "failed=")), (0, 0), "{again}");
        assert_eq!(setting.processes(), before, "a daemon was restarted");
    }

    setting.refuses_what_is_wrong(&before);

    // And settings that are right take hold, by themselves.
    setting.write("agent.toml", "[allow]\nextra_directories = [\"/srv/app\", \"/srv/more\"]\n");
    setting.write("manifest.json", &manifest("/srv/more/app").to_string());
    let third = setting.play(&[]).succeeded().expect("the third run");
    assert_eq!(recap(&third, "failed="), 0, "{third}");
    setting.sh(CONTROLLER, "pinion ensure --until installed");
    setting.sh(WITH_ARCHIVE, "openssl x509 -noout -checkend 60 -in /srv/more/app.crt");
}

/// A certificate for each guest; the second one's is where its agent.toml alone allows it.
fn manifest(app: &str) -> Value {
    let files = |path: &str| json!({ "fullchain": { "path": format!("{path}.crt") }, "key": { "path": format!("{path}.key") } });
    json!({ "version": 1, "defaults": { "issuer": "embedded" }, "certificates": [
        { "name": "web", "common_name": "web.internal.example",
          "placements": [{ "guest": WITH_PACKAGE, "files": files("/etc/ssl/web/web") }] },
        { "name": "app", "common_name": "app.internal.example",
          "placements": [{ "guest": WITH_ARCHIVE, "files": files(app) }] }] })
}

/// The sum of one of the numbers in the recap of a run.
fn recap(finished: &Finished, what: &str) -> usize {
    let (_, recap) = finished.stdout.split_once("PLAY RECAP").unwrap_or_else(|| panic!("no recap: {finished}"));
    recap.split_whitespace().filter_map(|word| word.strip_prefix(what)?.parse::<usize>().ok()).sum()
}

/// The lab, and the directory of the person who runs ansible.
struct Setting {
    lab: Lab,
    directory: TempDir,
}

impl Setting {
    fn up() -> Self {
        let machine = |(vmid, name, address): (u32, &str, &str)| Spec {
            role: Role::Managed,
            ..Spec::machine(vmid, name, &format!("{address}/24"))
        };
        let lab = Lab::up(HOSTS.map(machine).to_vec()).expect("the lab comes up");
        let setting = Self { lab, directory: tempfile::tempdir().expect("a directory") };
        let key = setting.file("key");
        let mut keygen = setting.lab.command("ssh-keygen");
        keygen.args(["-q", "-t", "ed25519", "-N", "", "-f", &key]);
        process::run(&mut keygen, b"", LONG).and_then(Finished::succeeded).expect("a key");
        let public = fs::read(setting.file("key.pub")).expect("a public key");
        let mut known = String::new();
        for (vmid, _, address) in HOSTS {
            setting.lab.write(vmid, "/root/.ssh/authorized_keys", 0o600, &public).expect("written");
            let host_key = setting.sh(vmid, "cat /etc/ssh/ssh_host_ed25519_key.pub");
            known.push_str(&format!("{address} {host_key}"));
        }
        setting.write("known_hosts", &known);
        setting.write("inventory.json", &setting.inventory().to_string());
        setting
    }

    fn inventory(&self) -> Value {
        let packages = program::packages(VERSION).expect("built");
        let packages = fs::canonicalize(packages).expect("a path");
        let package = |name: String| packages.join(name).display().to_string();
        let guest = |number: u32, address: &str, certificate: &str, file: String| {
            json!({ "ansible_host": address, "pinion_agent_guest": number, "pinion_agent_package": package(file),
                "pinion_agent_await": [certificate] })
        };
        let [(_, _, controller), (_, _, web), (_, _, app)] = HOSTS;
        let mut app = guest(WITH_ARCHIVE, app, "app", format!("pinion-agent-{VERSION}-linux-amd64.tar.gz"));
        app["pinion_agent_config"] = json!(self.file("agent.toml"));
        json!({ "all": {
            "vars": { "ansible_user": "root", "ansible_ssh_private_key_file": self.file("key"),
                "ansible_ssh_common_args": format!("-o UserKnownHostsFile={}", self.file("known_hosts")),
                "ansible_python_interpreter": "/usr/bin/python3" },
            "children": {
                "pinion_controller": { "hosts": { "pve1": {
                    "ansible_host": controller,
                    "pinion_controller_package": package(format!("pinion_{VERSION}_amd64.deb")),
                    "pinion_controller_setup": ["--issuer", "embedded", "--advertise", format!("{controller}:7443")],
                    "pinion_controller_manifest": self.file("manifest.json") } } },
                "pinion_guests": {
                    "vars": { "pinion_agent_controller": "pve1" },
                    "hosts": {
                        "web": guest(WITH_PACKAGE, web, "web", format!("pinion-agent_{VERSION}_amd64.deb")),
                        "app": app } } } } })
    }

    fn file(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.file(name), text).expect("written");
    }

    fn sh(&self, vmid: u32, line: &str) -> String {
        self.lab.sh(vmid, line).unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Runs packaging's playbook.
    fn play(&self, options: &[&str]) -> Finished {
        let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let playbook = fs::canonicalize(project.join("packaging/ansible/site.yml")).expect("a playbook");
        let mut ansible = self.lab.command("ansible-playbook");
        ansible.args(["-i", &self.file("inventory.json")]).arg(playbook).args(options);
        ansible.env("HOME", self.directory.path()).env("LC_ALL", "C.UTF-8").env("ANSIBLE_NOCOLOR", "1");
        // Its connections stay open for a moment, for the next task; nothing may outlive the lab.
        ansible.env("ANSIBLE_SSH_ARGS", "-o ControlMaster=auto -o ControlPersist=3s");
        let played = process::run(&mut ansible, b"", LONG).expect("ansible ends");
        wait::until("ansible's connections to end", PATIENCE, || {
            let open = fs::read_dir(self.directory.path().join(".ansible/cp")).into_iter().flatten().count();
            if open == 0 { Ok(()) } else { Err(format!("{open} are open")) }
        })
        .expect("they end");
        played
    }

    /// Which processes the daemons are.
    fn processes(&self) -> Vec<String> {
        let line = "systemctl show --value --property MainPID pinion-channel pinion pinion-agent";
        HOSTS.iter().map(|(vmid, _, _)| self.sh(*vmid, line)).collect()
    }

    /// `pinion setup` says what is missing, in its own words, and the password stays out of what is printed.
    fn reports_why_it_is_not_set_up(&self) {
        let flags =
            r#"{"pinion_controller_setup": ["--issuer", "step-ca"], "pinion_controller_password": "hush-3141"}"#;
        let refused = self.play(&["-vvv", "--limit", "pve1", "-e", flags]);
        assert!(refused.code() != 0 && refused.stdout.contains("`pinion setup`: "), "{refused}");
        assert!(refused.stdout.contains("--url"), "{refused}");
        assert!(!(refused.stdout.clone() + &refused.stderr).contains("hush-3141"), "{refused}");
        assert!(!self.sh(CONTROLLER, "journalctl --no-pager").contains("hush-3141"));
        self.sh(CONTROLLER, "test ! -e /etc/pinion/controller.toml");
    }

    /// A manifest or an agent.toml with a mistake, and a guest that the controller does not take, are reported in Pinion's own
    /// words, and what was there stays.
    fn refuses_what_is_wrong(&self, before: &[String]) {
        let good = fs::read_to_string(self.file("manifest.json")).expect("read");
        self.write("manifest.json", &good.replace("\"web.internal.example\"", "7"));
        let refused = self.play(&["--limit", "pve1"]);
        assert!(refused.code() != 0 && refused.stdout.contains("common_name"), "{refused}");
        assert_eq!(self.sh(CONTROLLER, "cat /etc/pinion/certificate-manifest.json"), good);
        self.write("manifest.json", &good);

        let settings = fs::read_to_string(self.file("agent.toml")).expect("read");
        self.write("agent.toml", "[allow]\nextra_directory = []\n");
        let refused = self.play(&["--limit", "app"]);
        assert!(refused.code() != 0 && refused.stdout.contains("extra_directory"), "{refused}");
        assert_eq!(self.sh(WITH_ARCHIVE, "cat /etc/pinion/agent.toml"), settings);

        self.sh(WITH_PACKAGE, "mv /var/lib/pinion-agent/identity.json /root/identity.json");
        let refused = self.play(&["--limit", "web", "-e", "pinion_agent_guest=nobody"]);
        assert!(
            refused.code() != 0 && refused.stdout.contains("`pinion token create --guest nobody` on pve1: "),
            "{refused}"
        );
        assert!(refused.stdout.contains("nobody"), "{refused}");
        self.sh(WITH_PACKAGE, "mv /root/identity.json /var/lib/pinion-agent/identity.json");
        assert_eq!(self.processes(), before, "a daemon was restarted");
    }
}
