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
use crate::{config::Config, manifest::source::Source};

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
    /// Whether it is a socket, which is there only while its daemon runs.
    is_socket: bool,
    /// What mends its mode.
    remedy: Remedy,
}

/// What mends an owner or a mode.
#[derive(Debug, Clone, Copy)]
enum Remedy {
    /// The owner's and this mode's commands.
    Mode(&'static str),
    /// A start of this unit, which makes it anew. Where another user than root has the directory, root's commands could be
    /// led to something else by then.
    Restart(&'static str),
}

const fn directory(path: &'static str, owner: Owner, forbidden: u32, mode: &'static str) -> Expected {
    Expected { path, owner, forbidden, is_socket: false, remedy: Remedy::Mode(mode) }
}

const fn socket(path: &'static str, forbidden: u32, unit: &'static str) -> Expected {
    Expected { path, owner: Owner::Controller, forbidden, is_socket: true, remedy: Remedy::Restart(unit) }
}

/// A file of the manifest.
const MANIFEST: Expected = directory("etc/pinion/certificate-manifest.json", Owner::Root, 0o022, "0644");

const EXPECTED: [Expected; 12] = [
    directory("etc/pinion", Owner::Root, 0o022, "0755"),
    directory("etc/pinion/controller.toml", Owner::Root, 0o022, "0644"),
    MANIFEST,
    directory("etc/pinion/certificate-manifest.d", Owner::Root, 0o022, "0755"),
    directory("var/lib/pinion", Owner::Controller, 0o077, "0700"),
    // Without what is in these, every guest must join again. The directory above them is closed, whatever their modes are.
    directory("var/lib/pinion/local", Owner::Controller, 0, "0700"),
    directory("var/lib/pinion/shared", Owner::Controller, 0, "0700"),
    directory("var/lib/pinion-channel", Owner::Root, 0o077, "0700"),
    directory("run/pinion", Owner::Controller, 0o022, "0755"),
    directory("run/pinion-channel", Owner::Root, 0o022, "0755"),
    socket("run/pinion/controller.sock", 0o117, "pinion"),
    socket("run/pinion-channel/channel.sock", 0o177, "pinion-channel"),
];

/// What a controller that answers has made.
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
        one(&root.join(expected.path), expected, number, &users, found);
    }
    // That the directory cannot be listed is said of the configuration.
    for file in Source::of(&root.join(MANIFEST.path)).more_files().unwrap_or_default() {
        one(&file, &MANIFEST, number, &users, found);
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

fn one(path: &Path, expected: &Expected, user: Option<u32>, users: &LocalUsers, found: &mut Findings) {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        // Units tell whether daemons run, and the configuration has its own words for a file that is not there.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(error) => return unseen(path, &error, "run this command as root", found),
    };
    let shown = path.display();
    if expected.is_socket != metadata.file_type().is_socket() {
        let what = if expected.is_socket { "no socket" } else { "a socket" };
        let unit = match expected.remedy {
            Remedy::Restart(unit) => unit,
            Remedy::Mode(_) => "pinion-channel pinion",
        };
        let remedy = format!("run `rm -r {shown}` and `systemctl restart {unit}`");
        return found.problem(AREA, format!("{shown} is {what}."), remedy);
    }
    let metadata = match metadata.is_symlink() {
        // An administrator's own doing; what it leads to is judged.
        true if expected.owner == Owner::Root || metadata.uid() == 0 => match fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) => return unseen(path, &error, "it is a link that leads nowhere: replace it", found),
        },
        // Root's commands would follow it.
        true => {
            let remedy = format!("`ls -l {shown}` shows where it leads: remove it if you did not make it");
            return found.problem(AREA, format!("{shown} is a link that root did not make."), remedy);
        }
        false => metadata,
    };
    let wanted = match expected.owner {
        Owner::Root => Some(0),
        Owner::Controller => user,
    };
    if let Some((owner, wanted)) = wrong_owner(&metadata, expected.owner, wanted) {
        let (owner, wanted) = (users.shown(owner), users.name(wanted).map_or_else(|| wanted.to_string(), Into::into));
        let message = format!("{shown} belongs to {owner}, not to {wanted}.");
        let remedy = match expected.remedy {
            // Not what a link leads to.
            Remedy::Mode(_) => format!("run `chown -h {wanted}: {shown}`"),
            Remedy::Restart(unit) => format!("run `systemctl restart {unit}`"),
        };
        found.problem(AREA, message, remedy);
    }
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & expected.forbidden != 0 {
        let message = format!("{shown} has mode {mode:04o}, which lets others in.");
        let remedy = match expected.remedy {
            Remedy::Mode(mode) => format!("run `chmod {mode} {shown}`"),
            Remedy::Restart(unit) => format!("run `systemctl restart {unit}`"),
        };
        found.problem(AREA, message, remedy);
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
