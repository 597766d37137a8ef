//! Which guests of this node run, by what the kernel shows of them.
//!
//! Answers: what `pct status` and `qm status` would say, without starting Perl. A container runs while the process that
//! watches it listens on `@/var/lib/lxc/VMID/command` (LXC's `lxc_make_abstract_socket_name`; `list_active_containers`
//! in pve-container's `PVE/LXC.pm` looks there too). A virtual machine runs while the process lives that
//! `/run/qemu-server/VMID.pid` names (`vm_running_locally` in qemu-server's `PVE/QemuServer/Helpers.pm`).
//! Invariant: a number that was given to another process since says nothing. Guests of other nodes are not here.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, BufRead, BufReader, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use pinion_proto::id::Vmid;

use super::read::limited;
use crate::inventory::GuestKind;

/// A line of some 60 bytes for each socket of the host: far more than one has (bytes).
const MAX_SOCKETS: u64 = 64 * 1024 * 1024;

/// A virtual machine's command line has some 4 KiB (bytes).
const MAX_COMMAND: u64 = 1024 * 1024;

/// In a second (`USER_HZ`), on each processor that Proxmox runs on.
const TICKS: u64 = 100;

/// `__SO_ACCEPTCON` of Linux's `net.h`: the socket is listened on.
const LISTENING: u64 = 1 << 16;

/// Where what runs is seen.
#[derive(Debug, Clone)]
pub struct Running {
    sockets: PathBuf,
    containers: PathBuf,
    machines: PathBuf,
}

/// What runs on this node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunningGuests {
    guests: BTreeSet<(Vmid, bool)>,
}

impl RunningGuests {
    /// Whether a guest of this node and of this kind runs.
    #[must_use]
    pub fn has(&self, vmid: Vmid, kind: GuestKind) -> bool {
        self.guests.contains(&(vmid, kind == GuestKind::Lxc))
    }
}

impl Running {
    /// On the host whose `/` is `root`.
    #[must_use]
    pub fn below(root: &Path) -> Self {
        Self {
            // Of the network namespace that this process is in, which is LXC's too.
            sockets: PathBuf::from("/proc/net/unix"),
            containers: root.join("var/lib/lxc"),
            machines: root.join("run/qemu-server"),
        }
    }

    /// What runs now.
    ///
    /// # Errors
    /// The kernel does not show its sockets, or the directory of process ids cannot be read.
    pub fn look(&self) -> io::Result<RunningGuests> {
        let sockets = BufReader::new(File::open(&self.sockets)?.take(MAX_SOCKETS));
        let mut guests = containers(sockets, &self.containers)?;
        let entries = match fs::read_dir(&self.machines) {
            Ok(entries) => entries,
            // Until the first virtual machine is started.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(RunningGuests { guests }),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let name = entry?.file_name();
            if let Some(vmid) = name.to_str().and_then(|name| vmid(name.strip_suffix(".pid")?))
                && lives(&self.machines.join(&name), vmid)
            {
                guests.insert((vmid, false));
            }
        }
        Ok(RunningGuests { guests })
    }
}

/// The containers that are listened for, in the format of `/proc/net/unix` (proc_net_unix(5)).
fn containers(sockets: impl BufRead, directory: &Path) -> io::Result<BTreeSet<(Vmid, bool)>> {
    let begin = [b"@", directory.as_os_str().as_encoded_bytes(), b"/"].concat();
    let mut found = BTreeSet::new();
    for line in sockets.split(b'\n') {
        let line = line?;
        let mut fields = line.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty());
        // Number, references, protocol, flags, type, state, inode, path.
        let (Some(flags), Some(path)) = (fields.nth(3), fields.nth(3)) else { continue };
        let flags = std::str::from_utf8(flags).ok().and_then(|flags| u64::from_str_radix(flags, 16).ok());
        let number = path.strip_prefix(&begin[..]).and_then(|rest| rest.strip_suffix(b"/command"));
        let vmid = number.and_then(|number| vmid(std::str::from_utf8(number).ok()?));
        if let (Some(flags), Some(vmid)) = (flags, vmid)
            && flags & LISTENING != 0
        {
            found.insert((vmid, true));
        }
    }
    Ok(found)
}

fn vmid(text: &str) -> Option<Vmid> {
    text.parse::<u32>().ok().and_then(|number| Vmid::try_from(number).ok())
}

/// Whether the process lives that a virtual machine's file names. QEMU leaves the file when it is killed.
fn lives(file: &Path, vmid: Vmid) -> bool {
    let Ok(text) = limited(file, 64) else { return false };
    let Some(pid) = std::str::from_utf8(&text).ok().and_then(|text| text.trim().parse::<u32>().ok()) else {
        return false;
    };
    let process = PathBuf::from(format!("/proc/{pid}"));
    let Some(started) = limited(&process.join("stat"), 4096).ok().and_then(|stat| started(&stat)) else {
        return false;
    };
    let command = limited(&process.join("cmdline"), MAX_COMMAND).unwrap_or_default();
    match names(&command, vmid) {
        Some(named) => named,
        // No QEMU by its name: the number may be another's by now, which has begun after the file was written.
        None => began_before(started, file).unwrap_or(false),
    }
}

/// When a process began, in ticks since the boot; none of one that has ended (proc_pid_stat(5)).
fn started(stat: &[u8]) -> Option<u64> {
    // The name, in parentheses, may hold anything.
    let after = stat.iter().rposition(|byte| *byte == b')')?;
    let mut fields = std::str::from_utf8(stat.get(after + 1..)?).ok()?.split_ascii_whitespace();
    let state = fields.next()?;
    // Field 22, of which the state is field 3.
    (!matches!(state, "Z" | "X" | "x")).then(|| fields.nth(18))?.and_then(|ticks| ticks.parse().ok())
}

/// Whether a command line is QEMU's for this machine; none when it is no QEMU's. Proxmox gives each `-id VMID`.
fn names(command: &[u8], vmid: Vmid) -> Option<bool> {
    let words: Vec<&[u8]> = command.split(|byte| *byte == 0).collect();
    let program = words.first()?.rsplit(|byte| *byte == b'/').next()?;
    if program != b"kvm" && !program.starts_with(b"qemu-system-") {
        return None;
    }
    let number = vmid.to_string();
    let pair = |pair: &[&[u8]]| pair[0] == b"-id" && pair[1] == number.as_bytes();
    let identified = words.iter().any(|word| *word == b"-id");
    identified.then(|| words.windows(2).any(pair))
}

/// Whether a process began before this file was written, or in the same moment.
fn began_before(ticks: u64, file: &Path) -> Option<bool> {
    let stat = limited(Path::new("/proc/stat"), 16 * 1024 * 1024).ok()?;
    let text = String::from_utf8_lossy(&stat);
    let booted: i64 = text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    let seconds = i64::try_from(ticks / TICKS).ok()?;
    // Both are in whole seconds.
    Some(booted + seconds <= fs::metadata(file).ok()?.mtime() + 1)
}

#[cfg(test)]
mod tests;
