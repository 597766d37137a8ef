//! What Debian has packages of.
//!
//! Invariant: what is installed is announced before, and no package starts a service.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, bail};
use rustix::process::getuid;

use super::program::find;
use crate::children::{Children, shown};

/// A program, and the Debian package that has it.
pub(super) const TESTS: [(&str, &str); 33] = [
    ("nginx", "nginx-light"),
    ("haproxy", "haproxy"),
    ("caddy", "caddy"),
    // The server itself is not on PATH; this comes with it.
    ("pg_lsclusters", "postgresql"),
    ("postfix", "postfix"),
    ("dovecot", "dovecot-imapd"),
    ("doveadm", "dovecot-pop3d"),
    ("mariadbd", "mariadb-server-core"),
    ("slapd", "slapd"),
    ("vsftpd", "vsftpd"),
    // Java's own reader of its keystores.
    ("keytool", "default-jre-headless"),
    ("apache2", "apache2-bin"),
    ("mosquitto", "mosquitto"),
    ("redis-server", "redis-server"),
    ("rabbitmq-server", "rabbitmq-server"),
    ("cupsd", "cups-daemon"),
    ("samba", "samba-ad-dc"),
    // It has no program: what a new domain is made of.
    ("/usr/share/samba/setup/provision.ldif", "samba-ad-provision"),
    // What scrapes the controller, checks its rules, and reads its textfile.
    ("prometheus", "prometheus"),
    ("promtool", "prometheus"),
    ("prometheus-node-exporter", "prometheus-node-exporter"),
    ("setpriv", "util-linux"),
    ("dockerd", "docker.io"),
    ("openssl", "openssl"),
    ("pgrep", "procps"),
    // For the scripts in packaging: what they read, and what reads them.
    ("jq", "jq"),
    ("shellcheck", "shellcheck"),
    // For the roles in packaging/ansible.
    ("ansible-playbook", "ansible-core"),
    ("ssh", "openssh-client"),
    // The lab: its containers, its guests' file systems, its network, its namespaces.
    ("lxc-start", "lxc"),
    ("debootstrap", "debootstrap"),
    ("ip", "iproute2"),
    ("unshare", "util-linux"),
];

/// What makes packages, looks at them, and signs what is released.
pub(super) const PACKAGING: [(&str, &str); 5] = [
    ("dpkg-buildpackage", "dpkg-dev"),
    ("dh", "debhelper"),
    ("readelf", "binutils"),
    ("gpg", "gnupg"),
    ("lintian", "lintian"),
];

/// Other tools that renew certificates, and the bus on which one of them is asked.
pub(super) const PEERS: [(&str, &str); 4] =
    [("certmonger", "certmonger"), ("dbus-daemon", "dbus-daemon"), ("lego", "lego"), ("caddy", "caddy")];

/// What installs programs of Python's package index.
pub(super) const PIP: [(&str, &str); 1] = [("pip3", "python3-pip")];

/// A browser, what drives it, letters for it, and npm for what judges pages.
pub(super) const BROWSER: [(&str, &str); 4] = [
    ("chromium", "chromium"),
    ("chromedriver", "chromium-driver"),
    // It has no program.
    ("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf", "fonts-dejavu-core"),
    ("npm", "npm"),
];

/// An emulated machine, and its disk.
pub(super) const MACHINE: [(&str, &str); 2] = [("qemu-system-x86_64", "qemu-system-x86"), ("mkfs.ext4", "e2fsprogs")];

/// Sees to it that these are there.
pub(super) fn ensure(wanted: &[(&'static str, &'static str)], children: &Children, may_install: bool) -> Result<()> {
    let mut missing: Vec<(&str, &str)> = Vec::new();
    for &(program, package) in wanted {
        match find(program) {
            Some(path) => println!("{program}: {}", path.display()),
            None => missing.push((program, package)),
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let programs = missing.iter().map(|(program, _)| *program).collect::<Vec<_>>().join(", ");
    let packages: Vec<&str> = missing.iter().map(|(_, package)| *package).collect();
    install(children, may_install, &packages)
        .with_context(|| format!("{programs} not found; the packages {} have them", packages.join(", ")))
}

pub(super) fn install(children: &Children, may_install: bool, packages: &[&str]) -> Result<()> {
    if !may_install {
        bail!("not installing, as asked");
    }
    if find("apt-get").is_none() {
        bail!("this machine has no apt-get: install them by hand");
    }
    let _quiet = ServicesStayDown::begin(children)?;
    let apt = |words: &[&str]| -> Result<Command> {
        let mut command = as_root("apt-get")?;
        command.args(["-q", "-y"]).args(words);
        Ok(command)
    };
    let mut wanted = apt(&["install", "--no-install-recommends"])?;
    wanted.args(packages);
    println!("installing: {}", shown(&wanted));
    if children.run(&mut wanted)?.success() {
        return Ok(());
    }
    println!("that failed: the package lists may be old");
    children.run_well(&mut apt(&["update"])?)?;
    children.run_well(&mut wanted)
}

/// A command as root: itself, or through sudo.
fn as_root(program: &str) -> Result<Command> {
    let mut command = if getuid().is_root() {
        Command::new("env")
    } else if let Some(sudo) = find("sudo") {
        let mut command = Command::new(sudo);
        // Never asks: nobody may be there to answer.
        command.args(["-n", "env"]);
        command
    } else {
        bail!("this needs root, and there is no sudo");
    };
    command.args(["DEBIAN_FRONTEND=noninteractive", program]);
    Ok(command)
}

/// While this lives, packages start no services: Debian's own switch for it, `policy-rc.d`
/// (invoke-rc.d(8)). The tests start what they need, on ports and in directories of their own.
struct ServicesStayDown<'a> {
    children: &'a Children,
    ours: bool,
}

impl<'a> ServicesStayDown<'a> {
    const POLICY: &'static str = "/usr/sbin/policy-rc.d";

    fn begin(children: &'a Children) -> Result<Self> {
        if Path::new(Self::POLICY).exists() {
            return Ok(Self { children, ours: false });
        }
        let file = tempfile::NamedTempFile::new().context("make a file for policy-rc.d")?;
        // 101: the action is forbidden.
        fs::write(file.path(), "#!/bin/sh\nexit 101\n").context("write policy-rc.d")?;
        let mut copy = as_root("install")?;
        children.run_well(copy.args(["-m", "0755"]).arg(file.path()).arg(Self::POLICY))?;
        Ok(Self { children, ours: true })
    }
}

impl Drop for ServicesStayDown<'_> {
    fn drop(&mut self) {
        let removed = || self.children.run_well(as_root("rm")?.args(["-f", Self::POLICY]));
        if self.ours
            && let Err(error) = removed()
        {
            eprintln!("please remove {}, or packages start no services on this machine: {error:#}", Self::POLICY);
        }
    }
}
