//! Owners and modes of what Pinion reads and writes on this host.
//!
//! Invariant: names are looked at and not followed where they may belong to another user than root; nothing is opened.

use std::{
    fs::{self, Metadata},
    io,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
    path::Path,
};

use pinion_proto::{trusted, users::LocalUsers};

use super::report::{Area, Findings};
use crate::config::Config;

const AREA: Area = Area::Files;

/// Whom something should belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// Root, and only root may write it.
    Root,
    /// The user of `pinion serve`.
    Controller,
}

/// What something should be.
#[derive(Debug, Clone, Copy)]
struct Expected {
    path: &'static str,
    owner: Owner,
    /// Permission bits that it must not have.
    forbidden: u32,
    /// Whether it is there while its daemon runs only.
    is_socket: bool,
    /// What is to be done about its mode.
    mode: &'static str,
}

const EXPECTED: [Expected; 8] = [
    Expected { path: "etc/pinion", owner: Owner::Root, forbidden: 0o022, is_socket: false, mode: "0755" },
    Expected {
        path: "etc/pinion/controller.toml",
        owner: Owner::Root,
        forbidden: 0o022,
        is_socket: false,
        mode: "0644",
    },
    Expected {
        path: "etc/pinion/certificate-manifest.json",
        owner: Owner::Root,
        forbidden: 0o022,
        is_socket: false,
        mode: "0644",
    },
    Expected { path: "var/lib/pinion", owner: Owner::Controller, forbidden: 0o077, is_socket: false, mode: "0700" },
    Expected { path: "var/lib/pinion-channel", owner: Owner::Root, forbidden: 0o077, is_socket: false, mode: "0700" },
    Expected { path: "run/pinion", owner: Owner::Controller, forbidden: 0o022, is_socket: false, mode: "0755" },
    Expected {
        path: "run/pinion/controller.sock",
        owner: Owner::Controller,
        forbidden: 0o117,
        is_socket: true,
        mode: "0660",
    },
    Expected {
        path: "run/pinion-channel/channel.sock",
        owner: Owner::Controller,
        forbidden: 0o177,
        is_socket: true,
        mode: "0600",
    },
];

/// The state, without which every guest must join again.
const STATE: [&str; 2] = ["var/lib/pinion/local", "var/lib/pinion/shared"];

pub(super) fn check(root: &Path, config: Option<&Config>, is_answering: bool, found: &mut Findings) {
    let users = LocalUsers::read(root).unwrap_or_default();
    let user = config.map_or("pinion", |config| config.channel.user.as_str());
    let number = user.parse().ok().or_else(|| users.number(user));
    if number.is_none() && root.join("etc/passwd").exists() {
        let remedy = "run `systemd-sysusers`, which creates it from Pinion's sysusers.d file".to_owned();
        found.problem(AREA, format!("There is no user {user}, as which `pinion serve` runs."), remedy);
    }
    let before = found.0.len();
    for expected in &EXPECTED {
        one(root, expected, number, &users, found);
    }
    if is_answering {
        for path in STATE {
            if let Err(error) = fs::symlink_metadata(root.join(path)) {
                unseen(
                    &root.join(path),
                    &error,
                    "the controller writes its state there: look at `pinion status`",
                    found,
                );
            }
        }
    }
    if found.0.len() == before {
        found.good(AREA, "Configuration, state and sockets have the owners and modes that they should have.");
    }
}

fn one(root: &Path, expected: &Expected, user: Option<u32>, users: &LocalUsers, found: &mut Findings) {
    let path = root.join(expected.path);
    let metadata = match fs::symlink_metadata(&path) {
        Ok(metadata) => metadata,
        // Units tell whether daemons run, and the configuration has its own words for a file that is not there.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(error) => return unseen(&path, &error, "run this command as root", found),
    };
    let shown = path.display();
    if expected.is_socket != metadata.file_type().is_socket() {
        let what = if expected.is_socket { "no socket" } else { "a socket" };
        let remedy = format!("remove it and restart Pinion's units: `rm {shown}`");
        return found.problem(AREA, format!("{shown} is {what}."), remedy);
    }
    // A link to the configuration is an administrator's own doing; what it leads to is judged.
    let metadata = if metadata.is_symlink() && expected.owner == Owner::Root {
        match fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) => return unseen(&path, &error, "it is a link that leads nowhere: replace it", found),
        }
    } else {
        metadata
    };
    let wanted = match expected.owner {
        Owner::Root => Some(0),
        Owner::Controller => user,
    };
    if let Some((owner, wanted)) = wrong_owner(&metadata, expected.owner, wanted) {
        let (owner, wanted) = (users.shown(owner), users.name(wanted).map_or_else(|| wanted.to_string(), Into::into));
        let message = format!("{shown} belongs to {owner}, not to {wanted}.");
        found.problem(AREA, message, format!("run `chown {wanted}: {shown}`"));
    }
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & expected.forbidden != 0 {
        let message = format!("{shown} has mode {mode:04o}, which lets others in.");
        found.problem(AREA, message, format!("run `chmod {} {shown}`", expected.mode));
    }
}

/// Whose it is instead of whose it should be, if so.
fn wrong_owner(metadata: &Metadata, owner: Owner, wanted: Option<u32>) -> Option<(u32, u32)> {
    match (owner, wanted) {
        // Whoever runs Pinion without root has a directory of their own as its root.
        (Owner::Root, _) => trusted::check(metadata.uid(), 0, trusted::Name::End).err().map(|_| (metadata.uid(), 0)),
        (Owner::Controller, Some(wanted)) if metadata.uid() != wanted => Some((metadata.uid(), wanted)),
        (Owner::Controller, _) => None,
    }
}

fn unseen(path: &Path, error: &io::Error, remedy: &str, found: &mut Findings) {
    let shown = path.display();
    if error.kind() == io::ErrorKind::PermissionDenied {
        return found.skipped(AREA, format!("{shown} cannot be looked at by this user: run `pinion doctor` as root."));
    }
    found.problem(AREA, format!("{shown} cannot be looked at: {error}."), remedy);
}
