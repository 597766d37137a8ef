//! Who listens in this guest, as the kernel tells it (proc_pid_net(5)).
//!
//! Invariant: nothing is connected to here; the files are read with limits.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
};

use pinion_proto::{
    examination::{Listener, MAX_LISTENERS},
    printable::line,
};

use super::ports;

/// More lines than a busy guest has connections (bytes).
const MAX_TABLE: u64 = 16 * 1024 * 1024;

/// More processes are not searched for the sockets' owners.
const MAX_PROCESSES: usize = 4096;

/// More open files of one process are not looked at.
const MAX_DESCRIPTORS: usize = 4096;

/// The state of a socket that listens (`TCP_LISTEN` of the kernel's include/net/tcp_states.h).
const LISTEN: &str = "0A";

/// Everyone who listens below `root`, each address once.
pub(super) fn list(root: &Path, left_out: &mut Vec<String>) -> Vec<Listener> {
    let mut sockets: BTreeMap<SocketAddr, u64> = BTreeMap::new();
    for table in ["proc/net/tcp", "proc/net/tcp6"] {
        match File::open(root.join(table)) {
            Ok(file) => {
                let lines = BufReader::new(file.take(MAX_TABLE)).lines().map_while(Result::ok);
                sockets.extend(lines.filter_map(|line| socket(&line)));
            }
            // A guest without IPv6 has no such file.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => left_out.push(format!("cannot read /{table}: {error}")),
        }
    }
    let more = sockets.len().saturating_sub(MAX_LISTENERS);
    if more > 0 {
        left_out.push(format!("{more} more listeners"));
    }
    let programs = programs(&root.join("proc"), &sockets.values().copied().collect());
    let listener = |(address, inode): (SocketAddr, u64)| Listener {
        address,
        program: programs.get(&inode).cloned().unwrap_or_default(),
        starttls: ports::starttls(address.port()),
        shows: None,
        why_not: "it was not asked".into(),
    };
    sockets.into_iter().take(MAX_LISTENERS).map(listener).collect()
}

/// The address and the inode of a socket that listens.
fn socket(line: &str) -> Option<(SocketAddr, u64)> {
    let mut fields = line.split_whitespace();
    let (local, state) = (fields.nth(1)?, fields.nth(1)?);
    let inode = fields.nth(5)?.parse().ok()?;
    if state != LISTEN {
        return None;
    }
    let (ip, port) = local.split_once(':')?;
    Some((SocketAddr::new(address(ip)?, u16::from_str_radix(port, 16).ok()?), inode))
}

/// An address, in 32-bit words of the machine's own order.
fn address(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| Some(u32::from_str_radix(hex.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    match hex.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let mut bytes = [0; 16];
            for (at, four) in bytes.chunks_exact_mut(4).enumerate() {
                four.copy_from_slice(&word(at * 8)?);
            }
            Some(Ipv6Addr::from(bytes).into())
        }
        _ => None,
    }
}

/// The names of the programs that have these sockets, by inode; of a process whose files may not be looked at, none.
fn programs(proc: &Path, inodes: &BTreeSet<u64>) -> BTreeMap<u64, String> {
    let mut programs = BTreeMap::new();
    let processes = fs::read_dir(proc).into_iter().flatten().filter_map(Result::ok);
    let is_process =
        |name: &std::ffi::OsStr| name.to_str().is_some_and(|name| name.bytes().all(|b| b.is_ascii_digit()));
    for process in processes.filter(|entry| is_process(&entry.file_name())).take(MAX_PROCESSES) {
        let descriptors = fs::read_dir(process.path().join("fd")).into_iter().flatten().filter_map(Result::ok);
        for descriptor in descriptors.take(MAX_DESCRIPTORS) {
            let Ok(target) = fs::read_link(descriptor.path()) else { continue };
            let inode =
                target.to_str().and_then(|target| target.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
            let Some(inode) = inode.filter(|inode| inodes.contains(inode)) else { continue };
            let name = || line(fs::read_to_string(process.path().join("comm")).unwrap_or_default().trim(), 64);
            programs.entry(inode).or_insert_with(name);
        }
    }
    programs
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// As the kernel writes it on a machine whose least significant byte comes first.
    const TCP: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
        0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1234 1 0 100 0 0 10 0\n   \
        1: 00000000:0019 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 5678 1 0 100 0 0 10 0\n   \
        2: 0100007F:1F90 0100007F:D431 01 00000000:00000000 00:00000000 00000000     0        0 9999 1 0 20 4 30 10 -1\n \
        nonsense\n";
    const TCP6: &str = "   0: 00000000000000000000000001000000:01BB 00000000000000000000000000000000:0000 0A \
        00000000:00000000 00:00000000 00000000     0        0 77 1 0 100 0 0 10 0\n";

    #[test]
    #[cfg(target_endian = "little")]
    fn who_listens_is_read_from_the_kernels_tables() {
        let root = tempfile::tempdir().expect("a directory");
        for directory in ["proc/net", "proc/42/fd", "proc/self/fd"] {
            fs::create_dir_all(root.path().join(directory)).expect("made");
        }
        fs::write(root.path().join("proc/net/tcp"), TCP).expect("written");
        fs::write(root.path().join("proc/net/tcp6"), TCP6).expect("written");
        fs::write(root.path().join("proc/42/comm"), "nginx\n").expect("written");
        symlink("socket:[1234]", root.path().join("proc/42/fd/3")).expect("a link");
        symlink("/dev/null", root.path().join("proc/42/fd/4")).expect("a link");
        let mut left_out = Vec::new();
        let told: Vec<_> = list(root.path(), &mut left_out)
            .into_iter()
            .map(|listener| format!("{} {} {:?}", listener.address, listener.program, listener.starttls))
            .collect();
        assert_eq!(told, ["0.0.0.0:25  Some(Smtp)", "127.0.0.1:8080 nginx None", "[::1]:443  None"]);
        assert!(left_out.is_empty(), "{left_out:?}");
    }

    #[test]
    fn of_very_many_the_first_are_told() {
        let root = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(root.path().join("proc/net")).expect("made");
        let line = |port| format!("0: 0100007F:{port:04X} 00000000:0000 0A 0:0 00:0 0 0 0 {port} 1\n");
        let table: String = (1..=u16::try_from(MAX_LISTENERS).expect("few") + 3).map(line).collect();
        fs::write(root.path().join("proc/net/tcp"), table).expect("written");
        let mut left_out = Vec::new();
        assert_eq!(list(root.path(), &mut left_out).len(), MAX_LISTENERS);
        assert_eq!(left_out, ["3 more listeners"]);
    }
}
