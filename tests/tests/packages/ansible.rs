//! The Ansible roles, over real SSH: a controller with a step-ca, a guest with the Debian package and one with the archive.
//!
//! Invariant: Ansible runs on the lab's host, as on an administrator's machine, and reaches the three by SSH alone. The
//! inventory and the commands are those of docs/other-installations.md, and roles and playbook those of the package.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use pinion_tests::{
    ca::PASSWORD,
    lab::{AUTHORITY, Lab, Role, Spec},
    process::{self, Finished},
    program,
    status::StatusJson,
    steps,
    wait::{self, PATIENCE},
};
use serde_json::{Value, json};
use tempfile::TempDir;

const VERSION: &str = env!("CARGO_PKG_VERSION");

const CONTROLLER: u32 = 913;
const WITH_PACKAGE: u32 = 914;
const WITH_ARCHIVE: u32 = 915;

/// What ansible calls them, their addresses, and those that they have in the document.
const HOSTS: [(u32, &str, &str, &str); 3] = [
    (CONTROLLER, "pve1", "10.0.0.113", "10.0.0.13"),
    (WITH_PACKAGE, "web", "10.0.0.114", "10.0.0.111"),
    (WITH_ARCHIVE, "app", "10.0.0.115", "10.0.0.112"),
];

const DOCUMENT: (&str, &str) = ("other-installations.md", "Ansible");

/// How the document's controller is set up.
const EMBEDDED: &str = "[--issuer, embedded, --advertise, \"10.0.0.113:7443\"]";

/// Three machines, one after the other where one waits for another.
const LONG: Duration = Duration::from_secs(400);

/// The start of every token.
const TOKEN: &str = "pinion-join-1.";

#[test]
fn the_roles_install_and_join_once_and_then_change_nothing() {
    let setting = Setting::up();
    setting.write("agent.toml", "[allow]\nextra_directories = [\"/srv/app\"]\n");
    setting.write("certificate-manifest.json", &manifest("/srv/app/app").to_string());

    setting.reports_why_it_is_not_set_up();

    // Everything that ansible can be made to say has no token in it.
    let first = setting.play(&["-vvv"]).succeeded().expect("the first run");
    let said = first.stdout.clone() + &first.stderr;
    assert!(!said.contains(TOKEN) && !said.contains(PASSWORD), "{first}");
    assert_eq!(recap(&first, "failed="), 0, "{first}");
    assert!(first.stdout.contains("pinion-agent\", \"await") && recap(&first, "changed=") > 0, "{first}");
    for (vmid, ..) in HOSTS {
        let journal = setting.sh(vmid, "journalctl --no-pager");
        assert!(journal.contains(": Invoked with "), "ansible says in the journal what it runs: {journal}");
        assert!(!journal.contains(TOKEN) && !journal.contains(PASSWORD), "{journal}");
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

    setting.upgrades();
}

/// A certificate for each guest; the second one's is where its agent.toml alone allows it.
fn manifest(app: &str) -> Value {
    let files = |path: &str| json!({ "fullchain": { "path": format!("{path}.crt") }, "key": { "path": format!("{path}.key") } });
    json!({ "version": 1, "defaults": { "issuer": "step-ca" }, "certificates": [
        { "name": "gateway", "common_name": "web.internal.example",
          "placements": [{ "guest": 1001, "files": files("/etc/ssl/web/web") }] },
        { "name": "app", "common_name": "app.internal.example",
          "placements": [{ "guest": 1002, "files": files(app) }] }] })
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
        let machine = |(vmid, name, address, _): (u32, &str, &str, &str)| Spec {
            role: Role::Managed,
            ..Spec::machine(vmid, name, &format!("{address}/24"))
        };
        let specs = HOSTS.map(machine).into_iter().chain([Spec::authority()]);
        let lab = Lab::up(specs.collect()).expect("the lab comes up");
        let setting = Self { lab, directory: tempfile::tempdir().expect("a directory") };
        let key = setting.file("key");
        let mut keygen = setting.lab.command("ssh-keygen");
        keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key);
        process::run(&mut keygen, b"", LONG).and_then(Finished::succeeded).expect("a key");
        let public = fs::read(setting.file("key.pub")).expect("a public key");
        let mut known = String::new();
        for (vmid, _, address, _) in HOSTS {
            setting.lab.write(vmid, "/root/.ssh/authorized_keys", 0o600, &public).expect("written");
            let host_key = setting.sh(vmid, "cat /etc/ssh/ssh_host_ed25519_key.pub");
            known.push_str(&format!("{address} {host_key}"));
        }
        fs::write(setting.file("known_hosts"), known).expect("written");
        fs::create_dir(setting.file("files")).expect("a directory");
        setting.write_inventory(VERSION);
        // The roles, as the document takes them out of the package.
        let commands = setting.commands();
        let (_, before) = commands.split_last().expect("the last one plays");
        for command in before {
            setting.type_line(command).succeeded().expect("the package has the roles");
        }
        setting
    }

    /// Writes the document's inventory, with the lab's addresses and a step-ca, and puts the packages of this version there.
    fn write_inventory(&self, version: &str) {
        let packages = program::packages(version).expect("built");
        for name in [
            format!("pinion_{version}_amd64.deb"),
            format!("pinion-agent_{version}_amd64.deb"),
            format!("pinion-agent-{version}-linux-amd64.tar.gz"),
        ] {
            fs::copy(packages.join(&name), self.file("files").join(&name)).expect("copied");
        }
        let inventory = steps::files(DOCUMENT.0, DOCUMENT.1, "yaml").expect("an inventory");
        let [inventory] = inventory.as_slice() else { panic!("one inventory and not {inventory:?}") };
        let mut inventory = inventory.replace("0.1.0", version);
        // The shorter ones last: one is the start of another.
        for (_, _, address, documents) in HOSTS.into_iter().rev() {
            inventory = inventory.replace(documents, address);
        }
        assert!(inventory.contains(EMBEDDED), "{inventory}");
        let root = self.lab.authority_root().expect("a root").fingerprint();
        let step_ca = format!(
            "[--issuer, step-ca, --url, \"{AUTHORITY}\", --fingerprint, \"{root}\", --provisioner, admin, \
             --advertise, \"10.0.0.113:7443\"]\n          pinion_controller_password: {PASSWORD}"
        );
        fs::write(self.file("inventory.yml"), inventory.replace(EMBEDDED, &step_ca)).expect("written");
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file of those that the inventory names.
    fn write(&self, name: &str, text: &str) {
        fs::write(self.file("files").join(name), text).expect("written");
    }

    fn sh(&self, vmid: u32, line: &str) -> String {
        self.lab.sh(vmid, line).unwrap_or_else(|error| panic!("{error:#}"))
    }

    fn commands(&self) -> Vec<String> {
        steps::commands(DOCUMENT.0, DOCUMENT.1).expect("commands")
    }

    /// Types a command where the inventory is.
    fn type_line(&self, line: &str) -> Finished {
        let mut shell = self.lab.command("sh");
        shell.args(["-c", &format!("cd {} && {}", self.directory.path().display(), line.replace("0.1.0", VERSION))]);
        let ssh = format!("-o UserKnownHostsFile={}", self.file("known_hosts").display());
        shell.env("HOME", self.directory.path()).env("LC_ALL", "C.UTF-8").env("ANSIBLE_NOCOLOR", "1");
        shell.env("ANSIBLE_REMOTE_USER", "root").env("ANSIBLE_PRIVATE_KEY_FILE", self.file("key"));
        shell.env("ANSIBLE_SSH_COMMON_ARGS", ssh).env("ANSIBLE_PYTHON_INTERPRETER", "/usr/bin/python3");
        // Its connections stay open for a moment, for the next task; nothing may outlive the lab.
        shell.env("ANSIBLE_SSH_ARGS", "-o ControlMaster=auto -o ControlPersist=3s");
        process::run(&mut shell, b"", LONG).expect("it ends")
    }

    /// Runs the package's playbook as the document does, with these options.
    fn play(&self, options: &[&str]) -> Finished {
        let line = self.commands().pop().expect("a command");
        assert!(line.starts_with("ansible-playbook "), "{line}");
        let began = Instant::now();
        let options: String = options.iter().map(|option| format!(" '{option}'")).collect();
        let played = self.type_line(&(line + &options));
        println!("{:.0} s:{options}", began.elapsed().as_secs_f64());
        wait::until("ansible's connections to end", PATIENCE, || {
            let open = fs::read_dir(self.file(".ansible/cp")).into_iter().flatten().count();
            if open == 0 { Ok(()) } else { Err(format!("{open} are open")) }
        })
        .expect("they end");
        played
    }

    /// Which processes the daemons are.
    fn processes(&self) -> Vec<String> {
        let line = "systemctl show --value --property MainPID pinion-channel pinion pinion-agent";
        HOSTS.iter().map(|(vmid, ..)| self.sh(*vmid, line)).collect()
    }

    /// Newer files in the inventory are installed once, settings that are right take hold, and the daemons are of that version;
    /// then nothing changes again.
    fn upgrades(&self) {
        let (next, before) = (program::next_version(), self.processes());
        self.write_inventory(&next);
        self.write("agent.toml", "[allow]\nextra_directories = [\"/srv/app\", \"/srv/more\"]\n");
        self.write("certificate-manifest.json", &manifest("/srv/more/app").to_string());
        let upgraded = self.play(&[]).succeeded().expect("an upgrade");
        assert!(recap(&upgraded, "changed=") > 0 && recap(&upgraded, "failed=") == 0, "{upgraded}");
        let after = self.processes();
        for ((vmid, ..), (before, after)) in HOSTS.iter().zip(before.iter().zip(&after)) {
            assert_ne!(before, after, "a daemon of {vmid} was not restarted");
        }
        self.sh(CONTROLLER, "pinion ensure --until installed --timeout 50s");
        self.sh(WITH_ARCHIVE, "openssl x509 -noout -checkend 60 -in /srv/more/app.crt");
        let status: StatusJson = serde_json::from_str(&self.sh(CONTROLLER, "pinion status --json")).expect("a status");
        let versions = status.guests.iter().map(|guest| guest.agent_version.as_deref());
        assert_eq!((&*status.version, versions.collect::<Vec<_>>()), (&*next, vec![Some(&*next); 2]));
        let again = self.play(&[]).succeeded().expect("another run");
        assert_eq!((recap(&again, "changed="), recap(&again, "failed=")), (0, 0), "{again}");
        assert_eq!(self.processes(), after, "a daemon was restarted");
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
        let good = fs::read_to_string(self.file("files/certificate-manifest.json")).expect("read");
        self.write("certificate-manifest.json", &good.replace("\"web.internal.example\"", "7"));
        let refused = self.play(&["--limit", "pve1"]);
        assert!(refused.code() != 0 && refused.stdout.contains("common_name"), "{refused}");
        assert_eq!(self.sh(CONTROLLER, "cat /etc/pinion/certificate-manifest.json"), good);
        self.write("certificate-manifest.json", &good);

        let settings = fs::read_to_string(self.file("files/agent.toml")).expect("read");
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
