//! A Proxmox host that boots: a real systemd with the shipped units, as docs/proxmox.md has them installed.
//!
//! Answers: what do the units do to each other, over boots, restarts and the going and coming of `/etc/pve`? Real are the
//! kernel, systemd, its sandboxes and directories, and Pinion's three daemons. `pve-cluster.service` is the lab's pmxcfs (see
//! [`super::pmxcfs`]), `pveproxy.service` a small TLS server that reads the same files, `pct`, `qm` and `pvesh` are the lab's.
//! The host is a privileged container of a lab. Without other guests, those in its `/etc/pve` are files alone;
//! [`Booted::proxmox`] has real ones beside it, which its tools reach over a [`relay`].
//!
//! Invariant: what is not as on a Proxmox host is said here.

use std::{
    fs,
    os::unix::{fs::symlink, net::UnixListener},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::Value;

use super::{Lab, Role, Spec, network::Network, pve::Kind, relay};
use crate::{
    process::{self, Finished, copy_program},
    program,
    status::StatusJson,
    wait::{self, PATIENCE},
};

/// Its number in the lab.
const HOST: u32 = 913;

/// Pinion's units, in the order in which they start by default.
pub const UNITS: [&str; 3] = ["pinion-channel.service", "pinion.service", "pinion-agent.service"];

/// Each unit's socket, and the user whose directory it is in.
pub const SOCKETS: [(&str, &str); 3] = [
    ("/run/pinion-channel/channel.sock", "root"),
    ("/run/pinion/controller.sock", "pinion"),
    ("/run/pinion-agent/agent.sock", "root"),
];

/// What Debian's tree would start, which a Proxmox host has not.
const MASKED: [&str; 6] = [
    "docker.service",
    "docker.socket",
    "containerd.service",
    "qemu-guest-agent.service",
    "nftables.service",
    "systemd-networkd-wait-online.service",
];

/// As pve-cluster's own: early, and in nobody's way. A container has no node for FUSE unless it makes one. A file
/// `/run/no-pve-cluster` keeps it from starting.
const PVE_CLUSTER: &str = "[Unit]\nDescription=The Proxmox VE cluster filesystem\nDefaultDependencies=no\nStartLimitIntervalSec=0\nConditionPathExists=!/run/no-pve-cluster\nAfter=local-fs.target \
    systemd-tmpfiles-setup.service\nBefore=shutdown.target cron.service\nConflicts=shutdown.target\n[Service]\nType=notify\n\
    ExecStartPre=-/usr/bin/mknod -m 0666 /dev/fuse c 10 229\nExecStart=/usr/bin/pmxcfs --data /var/lib/pve-cluster --mount /etc/pve \
    --node pve1\nKillMode=mixed\nTimeoutStopSec=10\n[Install]\nWantedBy=multi-user.target\n";

/// As pveproxy's own, as far as its certificate goes: it reads the pair when it starts and at a reload.
const PVEPROXY: &str = "[Unit]\nDescription=PVE API Proxy Server\nAfter=pve-cluster.service\nWants=pve-cluster.service\n[Service]\n\
    ExecStart=/usr/local/bin/tls-server --listen 127.0.0.1:8006 --fullchain /etc/pve/local/pveproxy-ssl.pem --key \
    /etc/pve/local/pveproxy-ssl.key\nExecReload=/bin/kill -HUP $MAINPID\nRestart=on-failure\nRestartSec=1s\n[Install]\n\
    WantedBy=multi-user.target\n";

/// The host, installed; it says nothing about whether it runs.
#[derive(Debug)]
pub struct Booted {
    // These end before the lab whose tools they start, and whose guests they say to run.
    _relay: Option<relay::Relay>,
    running: Vec<UnixListener>,
    lab: Lab,
}

impl Booted {
    /// Installs everything, enables the units and starts nothing.
    ///
    /// # Errors
    /// A program is not built, or the host's files do not take one.
    pub fn install(manifest: &Value) -> Result<Self> {
        let mut lab = Lab::up(Vec::new())?;
        lab.create(Spec { role: Role::Empty, ..Spec::machine(HOST, "pve1", "10.0.0.113/24") })?;
        let host = Self { _relay: None, running: Vec::new(), lab };
        let packaging = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging");
        for (name, place) in [
            ("pinion", "/usr/bin/pinion"),
            ("pinion-agent", "/usr/bin/pinion-agent"),
            ("pmxcfs", "/usr/bin/pmxcfs"),
            ("tls-server", "/usr/local/bin/tls-server"),
            ("pct", "/usr/sbin/pct"),
            ("qm", "/usr/sbin/qm"),
            ("pvesh", "/usr/sbin/pvesh"),
        ] {
            copy_program(&program::own(name)?, &host.path(place)).with_context(|| format!("install {name}"))?;
        }
        for (file, place) in [
            ("controller/sysusers.conf", "/usr/lib/sysusers.d/pinion.conf"),
            ("controller/tmpfiles.conf", "/usr/lib/tmpfiles.d/pinion.conf"),
            ("controller/pinion.service", "/usr/lib/systemd/system/pinion.service"),
            ("controller/pinion-channel.service", "/usr/lib/systemd/system/pinion-channel.service"),
            ("agent/pinion-agent.service", "/usr/lib/systemd/system/pinion-agent.service"),
        ] {
            let text = fs::read(packaging.join(file)).with_context(|| format!("read {file}"))?;
            host.write(place, 0o644, &text)?;
        }
        let config = "listen = \"0.0.0.0:7443\"\nadvertise = [\"127.0.0.1:7443\"]\n[issuers.embedded]\ntype = \"embedded\"\n\
                      [retry]\ninitial = \"1s\"\nmax = \"2s\"\n";
        host.write("/etc/pinion/controller.toml", 0o644, config.as_bytes())?;
        host.write("/etc/pinion/agent.toml", 0o644, AGENT.as_bytes())?;
        host.write_manifest(manifest)?;
        host.write("/etc/systemd/system/pve-cluster.service", 0o644, PVE_CLUSTER.as_bytes())?;
        host.write("/etc/systemd/system/pveproxy.service", 0o644, PVEPROXY.as_bytes())?;
        for directory in ["/etc/pve", "/var/lib/pve-cluster"] {
            fs::create_dir_all(host.path(directory)).with_context(|| format!("make {directory}"))?;
        }
        for unit in MASKED {
            let place = host.path("/etc/systemd/system").join(unit);
            drop(fs::remove_file(&place));
            symlink("/dev/null", &place).with_context(|| format!("mask {unit}"))?;
        }
        host.offline(&["systemd-sysusers"])?;
        host.offline(&[&["systemctl", "enable", "pve-cluster.service"], UNITS.as_slice()].concat())?;
        Ok(host)
    }

    /// A Debian with nginx and nothing of Pinion's, for its packages.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn debian(role: Role) -> Result<Self> {
        let mut lab = Lab::up(Vec::new())?;
        lab.create(Spec { role, ..Spec::machine(HOST, "pve1", "10.0.0.113/24") })?;
        Ok(Self { _relay: None, running: Vec::new(), lab })
    }

    /// A Debian host up and running as Proxmox has it, with these containers, and nothing of Pinion's, for its packages.
    ///
    /// # Errors
    /// It cannot be made, or a guest or the host does not come up.
    pub fn proxmox(role: Role, guests: Vec<Spec>) -> Result<Self> {
        ensure!(guests.iter().all(|guest| guest.kind == Kind::Container), "a booted host has no VMs beside it");
        let listed: Vec<_> = guests.iter().map(|guest| guest.vmid).collect();
        let mut lab = Lab::up(guests)?;
        lab.create(Spec { role, ..Spec::machine(HOST, "pve1", "10.0.0.113/24") })?;
        let relay = relay::Relay::start(lab.init(), HOST)?;
        let mut host = Self { _relay: Some(relay), running: Vec::new(), lab };
        copy_program(&program::own("pmxcfs")?, &host.path("/usr/bin/pmxcfs")).context("install pmxcfs")?;
        for tool in relay::TOOLS {
            let place = host.path("/usr/sbin").join(tool);
            copy_program(&program::own("relayed")?, &place).with_context(|| format!("install {tool}"))?;
        }
        host.write("/etc/systemd/system/pve-cluster.service", 0o644, PVE_CLUSTER.as_bytes())?;
        for directory in ["/etc/pve", "/var/lib/pve-cluster"] {
            fs::create_dir_all(host.path(directory)).with_context(|| format!("make {directory}"))?;
        }
        host.offline(&["systemctl", "enable", "pve-cluster.service"])?;
        // The packages' tests need it; a Proxmox host has none.
        host.offline(&["systemctl", "disable", "nginx.service"])?;
        host.boot()?;
        host.well(&["mkdir", "-p", "/etc/pve/nodes/pve1/lxc"])?;
        for vmid in &listed {
            let conf = host.lab.files.read(*vmid)?.to_string();
            let path = format!("/etc/pve/nodes/pve1/lxc/{vmid}.conf");
            host.run_with(&["tee", &path], conf.as_bytes())?.succeeded()?;
        }
        host.running = relay::run_there(host.network()?, &listed)?;
        Ok(host)
    }

    /// The lab with the guests beside it.
    #[must_use]
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// Its network, while it runs.
    ///
    /// # Errors
    /// It does not run.
    pub fn network(&self) -> Result<Network> {
        Network::of_guest(&self.lab, HOST)
    }

    /// A command on it, not started yet.
    ///
    /// # Errors
    /// Never while it is there.
    pub fn command(&self, name: &str) -> Result<Command> {
        self.lab.guest_command(HOST, name)
    }

    /// The same, for a terminal of the test's own: `lxc-attach` would put another one between.
    ///
    /// # Errors
    /// It does not run.
    pub fn command_on_terminal(&self, name: &str) -> Result<Command> {
        let init = self.lab.run(&["lxc-info", "-n", &HOST.to_string(), "-p", "-H"])?.succeeded()?.stdout;
        let mut command = Command::new("nsenter");
        command.args(["--target", init.trim(), "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--", name]);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", "/root");
        Ok(command)
    }

    /// Runs a command in its files while it does not run.
    fn offline(&self, words: &[&str]) -> Result<()> {
        let root = format!("/var/lib/lxc/{HOST}/rootfs");
        self.lab.run(&[&["chroot", &root], words].concat())?.succeeded().map(drop)
    }

    /// A path of the host as it is reached from outside: not `/run`, `/proc`, or anything else that is mounted.
    #[must_use]
    pub fn path(&self, inside: &str) -> PathBuf {
        self.lab.path(&format!("/var/lib/lxc/{HOST}/rootfs")).join(inside.trim_start_matches('/'))
    }

    /// Writes a file of root's.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, path: &str, mode: u32, text: &[u8]) -> Result<()> {
        self.lab.write(HOST, path, mode, text)
    }

    /// Replaces the manifest.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write_manifest(&self, manifest: &Value) -> Result<()> {
        self.write("/etc/pinion/certificate-manifest.json", 0o644, format!("{manifest:#}\n").as_bytes())
    }

    /// Boots it; returns when systemd has started what it starts at boot.
    ///
    /// # Errors
    /// It does not come up.
    pub fn boot(&self) -> Result<()> {
        self.lab.start(HOST)
    }

    /// Shuts it down and boots it again.
    ///
    /// # Errors
    /// It does not come up.
    pub fn reboot(&self) -> Result<()> {
        self.lab.reboot(HOST)
    }

    /// Runs a command on it; an exit code is no error.
    ///
    /// # Errors
    /// It does not end within a minute.
    pub fn run(&self, words: &[&str]) -> Result<Finished> {
        self.lab.exec(HOST, words)
    }

    /// Runs a command on it that is to succeed.
    ///
    /// # Errors
    /// It does not, with what it said.
    pub fn well(&self, words: &[&str]) -> Result<Finished> {
        self.run(words)?.succeeded()
    }

    /// Runs a command on it with this input.
    ///
    /// # Errors
    /// It does not end within [`PATIENCE`].
    pub fn run_with(&self, words: &[&str], input: &[u8]) -> Result<Finished> {
        let (name, arguments) = words.split_first().context("a command has a name")?;
        process::run(self.lab.guest_command(HOST, name)?.args(arguments), input, PATIENCE)
    }

    /// Makes a key and a certificate that nobody trusts, as a service has before Pinion comes.
    ///
    /// # Errors
    /// openssl cannot write them.
    pub fn make_pair(&self, certificate: &str, key: &str) -> Result<()> {
        let words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
        let to = ["-days", "1", "-subj", "/CN=snakeoil.invalid", "-keyout", key, "-out", certificate];
        self.well(&[words, to].concat()).map(drop)
    }

    /// One of a unit's properties (systemctl(1), `show`).
    ///
    /// # Errors
    /// systemd does not answer.
    pub fn property(&self, unit: &str, name: &str) -> Result<String> {
        let shown = self.well(&["systemctl", "show", "--value", "--property", name, unit])?;
        Ok(shown.stdout.trim().to_owned())
    }

    /// What `pinion status` says.
    ///
    /// # Errors
    /// The controller does not answer.
    pub fn status(&self) -> Result<StatusJson> {
        let finished = self.run(&["pinion", "status", "--json"])?;
        serde_json::from_str(&finished.stdout).map_err(|error| anyhow!("read the status: {error}: {finished}"))
    }

    /// Waits until `look` is content with the status.
    ///
    /// # Errors
    /// That takes longer than `max`; the status and the journal's end are in the message.
    pub fn wait_status<T>(&self, what: &str, max: Duration, look: impl Fn(&StatusJson) -> Option<T>) -> Result<T> {
        let waited = wait::until(what, max, || {
            let status = self.status().map_err(|error| format!("{error:#}"))?;
            look(&status).ok_or_else(|| format!("{status:?}"))
        });
        waited.map_err(|error| anyhow!("{error:#}\n{}", self.journal()))
    }

    /// The end of its journal.
    #[must_use]
    pub fn journal(&self) -> String {
        self.run(&["journalctl", "--no-pager", "-n", "80"]).map(|told| told.stdout).unwrap_or_default()
    }

    /// Lets the host's own agent join, as docs/proxmox.md says.
    ///
    /// # Errors
    /// It is refused.
    pub fn join(&self) -> Result<()> {
        let token = self.well(&["pinion", "token", "create", "--guest", "host"])?.stdout;
        self.run_with(&["pinion-agent", "join"], token.as_bytes())?.succeeded().map(drop)
    }

    /// Waits until all three daemons run, have their sockets in directories that are theirs, and answer on them.
    ///
    /// # Errors
    /// One does not within [`PATIENCE`]; the journal's end is in the message.
    pub fn wait_well(&self) -> Result<()> {
        let waited =
            wait::until("all three daemons to answer", PATIENCE, || self.check().map_err(|error| format!("{error:#}")));
        waited.map_err(|error| anyhow!("{error:#}\n{}", self.journal()))
    }

    fn check(&self) -> Result<()> {
        for unit in UNITS {
            let state = self.property(unit, "ActiveState")?;
            ensure!(state == "active", "{unit} is {state}");
        }
        for (socket, user) in SOCKETS {
            let directory = socket.rsplit_once('/').map_or("/", |(directory, _)| directory);
            let told = self.well(&["stat", "--format", "%U %a %F", directory])?.stdout;
            ensure!(told.trim() == format!("{user} 755 directory"), "{directory} is {told}");
            let told = self.well(&["stat", "--format", "%F", socket])?.stdout;
            ensure!(told.trim() == "socket", "{socket} is {told}");
        }
        self.status()?;
        self.well(&["pinion-agent", "status"])?;
        // The user of `pinion serve` reaches the root process.
        self.well(&["setpriv", "--reuid=pinion", "--regid=pinion", "--clear-groups", "test", "-w", SOCKETS[0].0])?;
        Ok(())
    }
}

/// What the host's own agent may do: docs/proxmox.md, "The host itself".
const AGENT: &str = "check_every = \"1s\"\n[allow]\ndirectories = [\"/etc/pve/local\", \"/srv/share/certs\"]\nunits = [\"pveproxy.service\"]\n\
                     [retry]\ninitial = \"1s\"\nmax = \"2s\"\nblocked = \"2s\"\n";
