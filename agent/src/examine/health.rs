//! What is wrong with this guest, as far as agent.toml lets it be looked at (`[doctor]`).

use std::{net::SocketAddr, path::Path, time::Duration};

use pinion_proto::{
    clock::Timestamp,
    examination::{Examined, GuestFinding},
    file_system::{self, FileSystem},
    trusted,
};
use rustix::fs::{Mode, stat};
use tokio::{net::TcpStream, time::timeout};

use crate::config::Config;

/// A firewall that drops everything does not answer at all.
const PATIENCE: Duration = Duration::from_secs(3);

/// Less than this is as good as full: keys and certificates of many placements, twice (bytes).
const MIN_BYTES: u64 = 16 * 1024 * 1024;

/// Fewer free inodes are as good as none: each file is replaced by another one.
const MIN_INODES: u64 = 200;

/// An identity is renewed at two thirds of 30 days: one that ends this soon was not.
const SOON: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Looks at everything that `config` allows; `identity_ends` is the end of the agent's identity.
pub(super) async fn look(config: &Config, joined_at: &[SocketAddr], identity_ends: Timestamp, examined: &mut Examined) {
    let (doctor, now) = (config.doctor, examined.now);
    let mut looks = Looks(examined);
    if looks.may(doctor.controllers, "controllers") {
        addresses(joined_at, &mut looks).await;
    }
    if looks.may(doctor.disk, "disk") {
        disk(&config.root, &config.state, &mut looks);
    }
    if looks.may(doctor.files, "files") {
        files(config, &mut looks);
    }
    if identity_ends <= now + SOON {
        let remedy = "look at `journalctl -u pinion-agent`; if it has ended, join again with a new token";
        looks.problem(format!("The agent's identity ends at {}, and is not renewed.", identity_ends), remedy);
    } else {
        looks.good(format!("The agent's identity is valid until {}.", identity_ends));
    }
}

struct Looks<'e>(&'e mut Examined);

impl Looks<'_> {
    fn may(&mut self, allowed: bool, setting: &str) -> bool {
        if !allowed {
            self.0.left_out.push(format!("/etc/pinion/agent.toml says `{setting} = false` under [doctor]"));
        }
        allowed
    }

    fn good(&mut self, message: impl Into<String>) {
        self.0.findings.push(GuestFinding { is_problem: false, message: message.into(), remedy: String::new() });
    }

    fn problem(&mut self, message: impl Into<String>, remedy: impl Into<String>) {
        let finding = GuestFinding { is_problem: true, message: message.into(), remedy: remedy.into() };
        self.0.findings.push(finding);
    }
}

/// Whether the controller's addresses can be reached from here. Only those that the agent joined with are dialled, and no
/// more than that a connection comes about is reported.
async fn addresses(joined_at: &[SocketAddr], looks: &mut Looks<'_>) {
    for address in joined_at {
        let why = match timeout(PATIENCE, TcpStream::connect(address)).await {
            Ok(Ok(_)) => {
                looks.good(format!("The controller's address {address} can be reached."));
                continue;
            }
            Ok(Err(error)) => error.kind().to_string(),
            Err(_) => format!("no answer within {} s", PATIENCE.as_secs()),
        };
        let remedy = "let this guest's and the host's firewall pass TCP to this address and port, or take it out of \
                      `advertise` in controller.toml and join again";
        looks.problem(format!("The controller's address {address} cannot be reached: {why}."), remedy);
    }
}

fn disk(root: &Path, state: &Path, looks: &mut Looks<'_>) {
    let before = looks.0.findings.len();
    let mut seen = Vec::new();
    let inside = |path: &Path| format!("/{}", path.strip_prefix(root).unwrap_or(path).display());
    for place in [state.to_owned(), root.join("etc"), root.join("run")] {
        let Ok(found) = FileSystem::of(&place, root) else { continue };
        // Places on the same file system are reported once.
        if seen.contains(&found.device) {
            continue;
        }
        seen.push(found.device);
        let (place, mount) = (inside(&place), inside(&found.mount));
        if found.is_read_only {
            let remedy = file_system::make_writable(mount.as_str());
            looks.problem(format!("{place} is on a file system that is mounted read-only."), remedy);
        }
        if found.bytes < MIN_BYTES {
            let remedy = file_system::make_room(mount.as_str());
            looks.problem(format!("{place} is on a file system with {} KiB left.", found.bytes / 1024), remedy);
        }
        if found.lacks_inodes(MIN_INODES) {
            let remedy = file_system::remove_files(mount.as_str());
            looks.problem(format!("{place} is on a file system with {} free inodes.", found.inodes), remedy);
        }
    }
    if looks.0.findings.len() == before {
        looks.good("There is room where the agent writes.");
    }
}

/// Owners and modes of what the agent believes.
fn files(config: &Config, looks: &mut Looks<'_>) {
    let mut is_good = true;
    for (path, closed) in [
        (config.root.join(crate::config::CONFIG_FILE), false),
        (config.hooks.clone(), false),
        (config.recipes.clone(), false),
        (config.state.clone(), true),
    ] {
        let Ok(found) = stat(&path) else { continue };
        let inside = path.strip_prefix(&config.root).unwrap_or(&path).display().to_string();
        let mode = Mode::from_raw_mode(found.st_mode).bits() & 0o7777;
        let open = if closed && mode & 0o077 != 0 { Some(format!("has mode {mode:04o}")) } else { None };
        let doubt = trusted::check(found.st_uid, mode, trusted::Name::End).err().map(|doubt| doubt.to_string());
        if let Some(why) = doubt.or(open) {
            is_good = false;
            let remedy =
                format!("run `chown root: /{inside}` and `chmod {} /{inside}`", if closed { "0700" } else { "go-w" });
            looks.problem(format!("/{inside} {why}."), remedy);
        }
    }
    if is_good {
        looks.good("The agent's configuration and state have the owners and modes that they should have.");
    }
}
