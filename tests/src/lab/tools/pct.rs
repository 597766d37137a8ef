//! `pct`: status, start, exec, push, list, config.
//!
//! Invariant: where the real one hides a failure, so does this. `push` writes the file in a worker whose
//! failure it prints and forgets: exit code 0; each is a [task](super::task). And `--user root` is such a failure, because a user id of 0
//! counts as none; `--user 0` is not.

use std::{
    fs::{File, OpenOptions, Permissions},
    io,
    os::fd::AsFd as _,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown},
    os::unix::process::CommandExt as _,
    process::{Command, ExitCode},
};

use rustix::{
    fs::{Gid, Uid},
    thread::{LinkNameSpaceType, move_into_link_name_space, set_thread_gid, set_thread_groups, set_thread_uid},
};

use super::{
    Failure,
    grammar::{Asked, Kind, Parameter, Tool, Verb},
    node, start,
    task::Task,
};

/// Does what the command line asks.
#[must_use]
pub fn main() -> ExitCode {
    super::run("pct", |arguments| {
        let asked = TOOL.parse(arguments)?;
        let vmid = asked.text("vmid");
        match asked.verb.words {
            ["status"] => status(vmid, asked.flag("verbose") == Some(true)),
            ["exec"] => Err(exec(vmid, asked.flag("keep-env") != Some(false), &asked.rest)),
            ["push"] => push(vmid, &asked),
            ["start"] => start::start(node::Kind::Container, vmid),
            ["config"] => {
                node::print_config(&node::load(node::Kind::Container, vmid)?);
                Ok(0)
            }
            _ => Ok(list()),
        }
    })
}

const VMID: Parameter = Parameter { name: "vmid", kind: Kind::Vmid };

static TOOL: Tool = Tool {
    name: "pct",
    verbs: &[
        Verb {
            words: &["config"],
            arguments: &[VMID],
            options: &[
                Parameter { name: "current", kind: Kind::Flag },
                Parameter { name: "snapshot", kind: Kind::Text },
            ],
        },
        Verb {
            words: &["exec"],
            arguments: &[VMID, Parameter { name: "extra-args", kind: Kind::Rest }],
            options: &[Parameter { name: "keep-env", kind: Kind::Flag }],
        },
        Verb { words: &["list"], arguments: &[], options: &[] },
        Verb {
            words: &["push"],
            arguments: &[
                VMID,
                Parameter { name: "file", kind: Kind::Text },
                Parameter { name: "destination", kind: Kind::Text },
            ],
            options: &[
                Parameter { name: "group", kind: Kind::Text },
                Parameter { name: "perms", kind: Kind::Text },
                Parameter { name: "user", kind: Kind::Text },
            ],
        },
        Verb { words: &["start"], arguments: &[VMID], options: &[] },
        Verb { words: &["status"], arguments: &[VMID], options: &[Parameter { name: "verbose", kind: Kind::Flag }] },
    ],
    others: &[
        "clone",
        "console",
        "cpusets",
        "create",
        "delsnapshot",
        "destroy",
        "df",
        "enter",
        "fsck",
        "fstrim",
        "help",
        "listsnapshot",
        "migrate",
        "mount",
        "move-volume",
        "pending",
        "pull",
        "reboot",
        "remote-migrate",
        "rescan",
        "resize",
        "restore",
        "resume",
        "rollback",
        "set",
        "shutdown",
        "snapshot",
        "stop",
        "suspend",
        "template",
        "unlock",
        "unmount",
    ],
    aliases: &[],
};

fn status(vmid: &str, verbose: bool) -> Result<u8, Failure> {
    let conf = node::load(node::Kind::Container, vmid)?;
    if verbose {
        if let Some(lock) = conf.current.get("lock") {
            println!("lock: {lock}");
        }
        println!("name: {}", conf.current.get("hostname").unwrap_or_default());
    }
    println!("status: {}", node::status(vmid));
    if verbose {
        println!("type: lxc\nvmid: {vmid}");
    }
    Ok(0)
}

/// Becomes `lxc-attach`, whose exit code is the command's.
fn exec(vmid: &str, keep_environment: bool, command: &[String]) -> Failure {
    if let Err(failure) = node::load(node::Kind::Container, vmid) {
        return failure;
    }
    if node::init(vmid).is_none() {
        return Failure::died(format!("container '{vmid}' not running!"));
    }
    if command.is_empty() {
        return Failure::died("missing command at /usr/share/perl5/PVE/CLI/pct.pm");
    }
    let environment = if keep_environment { "--keep-env" } else { "--clear-env" };
    let failed = Command::new("lxc-attach").args(["-n", vmid, environment, "--"]).args(command).exec();
    Failure::died(format!("can't exec \"lxc-attach\": {failed}"))
}

fn push(vmid: &str, asked: &Asked) -> Result<u8, Failure> {
    let Some(init) = node::init(vmid) else {
        return Err(Failure::died("can only push files to a running CT"));
    };
    let conf = node::load(node::Kind::Container, vmid)?;
    let unprivileged = conf.current.get("unprivileged") == Some("1");
    // From here on it is the worker's work, a task in Proxmox's log. Its failures are told on standard error, of which
    // the log's `TASK ERROR: ` is taken off, and forgotten.
    let task = Task::begin("push_file", vmid);
    let pushed = pushed(init, unprivileged, asked).map_err(|reason| reason.replace('\n', " "));
    task.end(&pushed);
    pushed.map_err(|reason| Failure { text: reason + "\n", code: 0 })?;
    Ok(0)
}

/// Opens the source here, enters the guest, and makes the file there as the guest's own root.
fn pushed(init: u32, unprivileged: bool, asked: &Asked) -> Result<(), String> {
    let (file, destination) = (asked.text("file"), asked.text("destination"));
    let mut source = File::open(file).map_err(|_| format!("failed to open {file} for reading"))?;
    let open = |kind: &str, named: &str| {
        File::open(format!("/proc/{init}/ns/{kind}"))
            .map_err(|_| format!("failed to open the container's {named} namespace"))
    };
    let mounts = open("mnt", "mount")?;
    let users = if unprivileged { Some(open("user", "user")?) } else { None };
    let enter = |space: &File, kind, named: &str| {
        move_into_link_name_space(space.as_fd(), Some(kind))
            .map_err(|_| format!("failed to enter the container's {named} namespace"))
    };
    enter(&mounts, LinkNameSpaceType::Mount, "mount")?;
    if let Some(users) = users {
        enter(&users, LinkNameSpaceType::User, "user")?;
        set_thread_groups(&[]).map_err(|error| format!("setgroups failed: {error}"))?;
        set_thread_gid(Gid::ROOT).map_err(|error| format!("setgid failed: {error}"))?;
        set_thread_uid(Uid::ROOT).map_err(|error| format!("setuid failed: {error}"))?;
    }
    let mut target = create(destination, asked.get("perms"), asked.get("user"), asked.get("group"))?;
    // The real one does not look at the result of its copy either.
    io::copy(&mut source, &mut target).ok();
    Ok(())
}

/// Owners first, then a file that is new or emptied, then its mode and owner.
fn create(path: &str, perms: Option<&str>, user: Option<&str>, group: Option<&str>) -> Result<File, String> {
    let owner = |name: Option<&str>, file: &str, kind: &str| match name {
        None => Ok(None),
        Some(name) => match name.parse::<u32>() {
            Ok(number) => Ok(Some(number)),
            Err(_) => match number_of(name, file) {
                None | Some(0) => Err(format!("failed to get {kind} for: {name}")),
                known => Ok(known),
            },
        },
    };
    let uid = owner(user, "/etc/passwd", "uid")?;
    let gid = owner(group, "/etc/group", "gid")?;
    let mode = perms.map(|perms| mode(perms).ok_or_else(|| format!("invalid mode: '{perms}'"))).transpose()?;
    let fresh = OpenOptions::new().write(true).create_new(true).mode(0o000).open(path);
    let (file, mode) = match fresh {
        Ok(file) => (file, mode.or(Some(0o644))),
        Err(_) => {
            let old = OpenOptions::new().write(true).create(true).truncate(true).open(path);
            (old.map_err(|error| format!("failed to create file: {path}: {error}"))?, mode)
        }
    };
    if let Some(mode) = mode {
        file.set_permissions(Permissions::from_mode(mode)).ok();
    }
    if uid.is_some() || gid.is_some() {
        let now = file.metadata().map_err(|error| format!("failed to change file owner: {error}"))?;
        let changed = fchown(&file, Some(uid.unwrap_or(now.uid())), Some(gid.unwrap_or(now.gid())));
        changed.map_err(|error| format!("failed to change file owner: {error}"))?;
    }
    Ok(file)
}

/// The third field of an account's line.
fn number_of(name: &str, file: &str) -> Option<u32> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.split(':').next() == Some(name))?;
    line.split(':').nth(2)?.parse().ok()
}

/// Octal, or hexadecimal after `0x`.
fn mode(perms: &str) -> Option<u32> {
    match perms.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => u32::from_str_radix(perms, 8).ok(),
    }
}

fn list() -> u8 {
    let guests = node::list(&node::name(), node::Kind::Container);
    if guests.is_empty() {
        return 0;
    }
    println!("{:<10} {:<10} {:<12} {:<20}", "VMID", "Status", "Lock", "Name");
    for (vmid, conf) in guests {
        let (lock, name) = (conf.current.get("lock"), conf.current.get("hostname"));
        let status = node::status(&vmid.to_string());
        println!("{vmid:<10} {status:<10} {:<12} {:<20}", lock.unwrap_or_default(), name.unwrap_or_default());
    }
    0
}
