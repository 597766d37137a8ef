//! A real dockerd as a guest's `docker.service`, with TLS on a loopback port and no network of its own.
//!
//! Invariant: it touches nothing of a dockerd that the machine runs: its data, its containerd, its
//! socket and its pid file are in the guest's directory, and it makes no bridge and no packet filter rule.

use std::{
    fs,
    io::{Read, Write},
    net::SocketAddr,
    os::unix::{fs::symlink, net::UnixStream},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use rustix::process::getuid;
use serde_json::{Value, json};

use crate::{
    guest::Guest,
    port::Port,
    process, program,
    unit::{ReloadBy, Unit, UnitSpec},
    wait::PATIENCE,
};

/// dockerd in a guest.
#[derive(Debug)]
pub struct Docker {
    unit: Unit,
    socket: PathBuf,
    root: PathBuf,
    port: Port,
}

impl Docker {
    /// Writes its hook for the pair and the clients' CA in `directory` inside the guest (`cert.pem`,
    /// `key.pem`, `ca.pem`); starts nothing.
    ///
    /// # Errors
    /// docker.io is not installed, a file cannot be written, or this is not root.
    pub fn install(guest: &Guest, directory: &str) -> Result<Self> {
        if !getuid().is_root() {
            bail!("dockerd runs as root only: run the tests as root");
        }
        let port = Port::reserve()?;
        let path = |inside: &str| guest.path(inside);
        let tls = |name: &str| path(&format!("{directory}/{name}")).display().to_string();
        let socket = path("/run/docker.sock");
        guest.link_program("docker")?;
        let flag = |name: &str, value: String| format!("--{name}={value}");
        let command = vec![
            program::found("dockerd")?.display().to_string(),
            flag("config-file", path("/etc/docker/daemon.json").display().to_string()),
            flag("data-root", path("/var/lib/docker").display().to_string()),
            flag("exec-root", path("/run/docker").display().to_string()),
            flag("pidfile", path("/run/docker.pid").display().to_string()),
            flag("host", format!("unix://{}", socket.display())),
            flag("host", format!("tcp://{}", port.address())),
            "--tlsverify".into(),
            flag("tlscacert", tls("ca.pem")),
            flag("tlscert", tls("cert.pem")),
            flag("tlskey", tls("key.pem")),
            "--iptables=false".into(),
            "--ip6tables=false".into(),
            "--ip-forward=false".into(),
            "--ip-masq=false".into(),
            "--bridge=none".into(),
            // Needs no kernel module, leaves no mount, and no image is ever run.
            "--storage-driver=vfs".into(),
        ];
        // Named explicitly, a configuration file has to be there.
        guest.write("etc/docker/daemon.json", "{}\n")?;
        let spec =
            UnitSpec { name: "docker.service".into(), command, reload: ReloadBy::Nothing, listens: port.address() };
        Ok(Self { unit: Unit::install(guest, spec)?, port, socket, root: guest.root().to_owned() })
    }

    /// The manifest's placement for it, by the shipped recipe, with where it listens.
    #[must_use]
    pub fn placement(&self, guest: &Guest) -> Value {
        json!({ "guest": guest.manifest_name(), "recipe": "docker", "probe": { "connect": self.address() } })
    }

    /// Its Unix socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Where it listens with TLS.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// The unit: start, stop, count restarts.
    #[must_use]
    pub fn unit(&self) -> &Unit {
        &self.unit
    }

    /// The docker command line with these arguments, on the daemon's Unix socket.
    ///
    /// # Errors
    /// docker is not installed, does not end, or fails.
    pub fn cli(&self, arguments: &[&str]) -> Result<String> {
        cli(&self.socket, arguments)
    }

    /// `docker --tlsverify version` through its port, with the client's `cert.pem`, `key.pem` and `ca.pem`
    /// in `pair`; the command line, not started yet.
    ///
    /// # Errors
    /// The docker command line is not installed.
    pub fn client(&self, pair: &Path) -> Result<Command> {
        let mut command = Command::new(program::found("docker")?);
        // Its own configuration too is the pair's directory: nobody's home is looked at.
        command.env_remove("DOCKER_HOST").env_remove("DOCKER_CONTEXT").env("DOCKER_CONFIG", pair).arg("--tlsverify");
        for (flag, file) in [("--tlscacert", "ca.pem"), ("--tlscert", "cert.pem"), ("--tlskey", "key.pem")] {
            command.arg(flag).arg(pair.join(file));
        }
        command.args(["-H", &format!("tcp://{}", self.address()), "version"]);
        Ok(command)
    }

    /// Whether the daemon behind its port is alive: `GET /_ping` on its Unix socket (Docker Engine API).
    ///
    /// # Errors
    /// It does not answer, or not with 200.
    pub fn ping(&self) -> Result<()> {
        let mut stream = UnixStream::connect(&self.socket).context("connect to dockerd's socket")?;
        stream.set_read_timeout(Some(PATIENCE)).context("limit the wait for dockerd")?;
        stream.write_all(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n").context("ask dockerd")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).context("read dockerd's answer")?;
        let status = answer.lines().next().unwrap_or_default();
        if !status.contains(" 200 ") {
            bail!("dockerd answers {status:?}");
        }
        Ok(())
    }
}

impl Drop for Docker {
    /// With live-restore, and for containers in the machine's network, dockerd leaves mounts when it ends; a guest's
    /// directory could not be removed with them.
    fn drop(&mut self) {
        let stopped = self.unit.stop();
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let paths = mounts.lines().filter_map(|line| line.split(' ').nth(1)).map(Path::new);
        let ours: Vec<_> = paths.filter(|path| path.starts_with(&self.root)).collect();
        for path in ours.into_iter().rev() {
            let unmounted = process::run(Command::new("umount").arg(path), b"", PATIENCE);
            if let Err(error) = unmounted.and_then(process::Finished::succeeded) {
                tracing::warn!(path = %path.display(), error = %format!("{error:#}"), "Could not unmount what dockerd left");
            }
        }
        if let Err(error) = stopped {
            tracing::warn!(error = %format!("{error:#}"), "Could not stop dockerd");
        }
    }
}

/// The docker command line with these arguments, on a daemon's Unix socket: what it prints.
///
/// # Errors
/// docker is not installed, does not end, or fails.
pub fn cli(socket: &Path, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(program::found("docker")?);
    command.env_remove("DOCKER_HOST").env_remove("DOCKER_CONTEXT").env("DOCKER_CONFIG", "/nonexistent");
    command.arg("--host").arg(format!("unix://{}", socket.display())).args(arguments);
    Ok(process::run(&mut command, b"", PATIENCE)?.succeeded()?.stdout)
}

/// Makes an image that has nothing but the places for the machine's own programs, which its containers mount: no
/// image can be fetched in a test.
///
/// # Errors
/// It cannot be written or imported.
pub fn import_image(guest: &Guest, socket: &Path) -> Result<()> {
    let tree = guest.path("/var/lib/image");
    for directory in ["usr", "tmp", "certs", "pinion"] {
        fs::create_dir_all(tree.join(directory)).context("make an image's directory")?;
    }
    // As on every merged-usr system: the dynamic loader's path is in each program.
    for link in ["bin", "sbin", "lib", "lib64"] {
        symlink(format!("usr/{link}"), tree.join(link)).context("make an image's link")?;
    }
    let tar = guest.path("/var/lib/image.tar");
    let mut command = Command::new(program::found("tar")?);
    process::run(command.arg("-C").arg(&tree).arg("-cf").arg(&tar).arg("."), b"", PATIENCE)?.succeeded()?;
    cli(socket, &["import", &tar.display().to_string(), IMAGE]).map(drop)
}

/// The image's name.
pub const IMAGE: &str = "pinion-test:1";

/// The options by which a container of [`IMAGE`] has the machine's programs and libraries, and this project's own.
///
/// # Errors
/// The programs are not built.
pub fn machine_mounts() -> Result<Vec<String>> {
    let own = program::own("tls-server")?;
    let own = own.parent().context("a program is in a directory")?;
    Ok(["-v".into(), "/usr:/usr:ro".into(), "-v".into(), format!("{}:/pinion:ro", own.display())].into())
}
