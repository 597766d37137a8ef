//! docs/guest-by-hand.md and docs/uninstall.md, typed on two Debian machines without Proxmox: one has the controller, the
//! other is the guest. How the host is set up, and its own agent, are docs/proxmox.md's.

use std::fs;

use pinion_tests::{
    ca::PASSWORD,
    lab::{AUTHORITY, Lab, Role, Spec},
    process::{self, Finished},
    program,
    steps::{self, Block, Place},
    wait::PATIENCE,
};
use serde_json::json;

const VERSION: &str = env!("CARGO_PKG_VERSION");

const HOST: u32 = 913;
/// The document's number and address.
const GUEST: u32 = 1001;

const NAME: &str = "web.internal.example";

const BY_HAND: &str = "guest-by-hand.md";
const UNINSTALL: &str = "uninstall.md";
const ON_HOST: &str = "proxmox.md";

#[test]
fn a_guest_is_joined_and_left_by_hand_as_the_documents_say() {
    let setting = Setting::up();
    setting.set_up_host();
    setting.set_up_hosts_agent();

    // Of its two ways in, the package; the suite's `archive` has the other.
    let [Block { lines, .. }] = &steps::section(BY_HAND, "1. Install the agent").expect("commands")[..] else {
        panic!("all of it is typed in the guest")
    };
    setting.type_line(GUEST, &lines[0], "").succeeded().expect("installed");
    for heading in ["2. Say what it may do", "3. Join", "4. See it link"] {
        setting.follow(BY_HAND, heading);
    }
    let serial = setting.shown();

    // Out again. Without Proxmox nobody but its administrator removes the agent.
    let [evict, purge] = &steps::section(UNINSTALL, "One guest").expect("commands")[..] else {
        panic!("first on the host, then in the guest")
    };
    let told = setting.type_line(HOST, &evict.lines[0], "");
    assert!(told.code() == 0 && told.stdout.contains("run `apt purge pinion-agent` there"), "{told}");
    setting.type_line(GUEST, &purge.lines[0], "y\n").succeeded().expect("purged");
    setting.sh(GUEST, "test ! -e /usr/bin/pinion-agent && test ! -e /var/lib/pinion-agent && test ! -e /etc/pinion");
    assert_eq!(setting.shown(), serial, "nginx serves on");

    let all = setting.type_line(HOST, &steps::commands(UNINSTALL, "All guests").expect("commands")[0], "");
    assert!(all.code() == 2 && all.stderr.contains("--yes"), "there is nobody to ask: {all}");
    let [.., backup] = &steps::commands(UNINSTALL, "The host").expect("commands")[..] else { panic!("a backup") };
    setting.type_line(HOST, backup, "").succeeded().expect("a backup");
    setting.sh(HOST, "test -s /root/pinion-last.backup");
    let removed = setting.type_all(HOST, &steps::commands(UNINSTALL, "The host").expect("commands")[..2]);
    assert!(removed.contains("Kept: /var/lib/pinion/shared"), "{removed}");
    setting.sh(HOST, "test ! -e /usr/bin/pinion && test -e /var/lib/pinion/shared && test ! -e /var/lib/pinion/local");
}

/// Two machines and a step-ca.
struct Setting {
    lab: Lab,
}

impl Setting {
    fn up() -> Self {
        let machine = |vmid, name, address| Spec { role: Role::Managed, ..Spec::machine(vmid, name, address) };
        let guests =
            vec![machine(HOST, "pve1", "10.0.0.113/24"), machine(GUEST, "web", "10.0.0.111/24"), Spec::authority()];
        let setting = Self { lab: Lab::up(guests).expect("the lab comes up") };
        for (vmid, name) in [(HOST, "pinion"), (HOST, "pinion-agent"), (GUEST, "pinion-agent")] {
            let file = format!("{name}_{VERSION}_amd64.deb");
            let package = fs::read(program::packages(VERSION).expect("built").join(&file)).expect("a package");
            setting.lab.write(vmid, &format!("/root/{file}"), 0o644, &package).expect("copied");
        }
        setting.sh(HOST, "ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519");
        let public = setting.sh(HOST, "cat /root/.ssh/id_ed25519.pub");
        setting.lab.write(GUEST, "/root/.ssh/authorized_keys", 0o600, public.as_bytes()).expect("written");
        let known = setting.sh(GUEST, "cat /etc/ssh/ssh_host_ed25519_key.pub");
        setting
            .lab
            .write(HOST, "/root/.ssh/known_hosts", 0o600, format!("10.0.0.111 {known}").as_bytes())
            .expect("written");
        // nginx with a pair that nobody trusts.
        let server = format!(
            "server {{ listen 443 ssl; ssl_certificate /etc/nginx/ssl/{NAME}.crt; \
             ssl_certificate_key /etc/nginx/ssl/{NAME}.key; }}\n"
        );
        setting.lab.write(GUEST, "/etc/nginx/conf.d/web.conf", 0o644, server.as_bytes()).expect("written");
        setting.sh(
            GUEST,
            &format!(
                "mkdir -p /etc/nginx/ssl && cd /etc/nginx/ssl && openssl req -x509 -newkey ec -pkeyopt \
                 ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=snakeoil.invalid -keyout {NAME}.key -out {NAME}.crt \
                 2>/dev/null && systemctl restart nginx"
            ),
        );
        setting
    }

    /// As docs/proxmox.md does it in a script, with this step-ca.
    fn set_up_host(&self) {
        let install = &steps::commands("../packaging/README.md", "Packaging").expect("commands")[0];
        self.type_line(HOST, install, "").succeeded().expect("installed");
        self.lab.write(HOST, "/root/password-file", 0o600, PASSWORD.as_bytes()).expect("written");
        let setup = &steps::commands(ON_HOST, "Install").expect("commands")[0];
        let root = self.lab.authority_root().expect("a root").fingerprint().to_string();
        // This CA's provisioner is not called `pinion`.
        let setup = setup
            .replace("https://10.0.0.10:9000", AUTHORITY)
            .replace("SHA256", &format!("{root} --provisioner admin"));
        self.type_line(HOST, &setup, "").succeeded().expect("set up");
        // The document's own manifest is a good one.
        self.type_all(HOST, &[steps::commands(ON_HOST, "The manifest").expect("commands").join("\n")]);
        let manifest = json!({ "version": 1, "defaults": { "issuer": "step-ca" }, "certificates": [
            { "name": "web", "common_name": NAME, "placements": [{ "guest": GUEST, "recipe": "nginx" }] }] });
        let text = format!("{manifest:#}\n");
        self.lab.write(HOST, "/etc/pinion/certificate-manifest.json", 0o644, text.as_bytes()).expect("written");
    }

    /// The host's own agent: it has an allow-list, and is linked.
    fn set_up_hosts_agent(&self) {
        let commands = steps::commands(ON_HOST, "The host itself").expect("commands");
        // Below them are the manifest's lines.
        let end = commands.iter().position(|line| line.starts_with("systemctl restart")).expect("it is restarted");
        self.type_all(HOST, &[commands[..=end].join("\n")]);
        self.sh(HOST, "pinion-agent config check && pinion guest list | grep host");
    }

    /// Types everything below a heading where the document says; a token that is printed is pasted into the next command.
    fn follow(&self, document: &str, heading: &str) {
        let mut said = String::new();
        for block in steps::section(document, heading).expect("commands") {
            for line in &block.lines {
                let vmid = if block.place == Place::Guest { GUEST } else { HOST };
                said = self.type_line(vmid, line, &said).succeeded().unwrap_or_else(|error| panic!("{error:#}")).stdout;
            }
        }
    }

    fn type_all(&self, vmid: u32, lines: &[String]) -> String {
        let typed = lines.iter().map(|line| self.type_line(vmid, line, "y\n").succeeded());
        typed.map(|done| done.unwrap_or_else(|error| panic!("{error:#}")).stdout).collect()
    }

    /// Types it in root's home directory; the input is what a person then types.
    fn type_line(&self, vmid: u32, line: &str, input: &str) -> Finished {
        let line = line.split("  #").next().unwrap_or(line);
        let script = format!("cd /root\nexport DEBIAN_FRONTEND=noninteractive HOME=/root\nset -e\n{line}\n");
        let mut shell = self.lab.guest_command(vmid, "bash").expect("a guest");
        process::run(shell.args(["-c", &script]), input.as_bytes(), PATIENCE * 3).expect("it ends")
    }

    fn sh(&self, vmid: u32, line: &str) -> String {
        self.lab.sh(vmid, line).unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// The serial number that nginx shows; step-ca has signed it.
    fn shown(&self) -> String {
        let line =
            "openssl s_client -connect 127.0.0.1:443 </dev/null 2>/dev/null | openssl x509 -noout -serial -issuer";
        let shown = self.sh(GUEST, line);
        assert!(shown.contains("Lab"), "{shown}");
        shown
    }
}
