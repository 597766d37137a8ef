//! Who listens in this guest, as the kernel tells it (proc_pid_net(5)).
//!
//! Invariant: nothing is connected to here; the files are read with limits.

use std::{collections::BTreeMap, net::SocketAddr, path::Path};

use pinion_proto::{
    examination::{Listener, MAX_LISTENERS},
    listeners::{TABLES, holders, listening},
};

use super::ports;

/// Everyone who listens below `root`, each address once.
pub(super) fn list(root: &Path, left_out: &mut Vec<String>) -> Vec<Listener> {
    let mut sockets: BTreeMap<SocketAddr, u64> = BTreeMap::new();
    for table in TABLES {
        match listening(&root.join(table)) {
            Ok(found) => sockets.extend(found.into_iter().map(|socket| (socket.address, socket.inode))),
            Err(error) => left_out.push(format!("cannot read /{table}: {error}")),
        }
    }
    let more = sockets.len().saturating_sub(MAX_LISTENERS);
    if more > 0 {
        left_out.push(format!("{more} more listeners"));
    }
    let holders = holders(root, &sockets.values().copied().collect());
    let listener = |(address, inode): (SocketAddr, u64)| Listener {
        address,
        // Of a process whose files may not be looked at, there is no name.
        program: holders.get(&inode).map(|holder| holder.name.clone()).unwrap_or_default(),
        starttls: ports::starttls(address.port()),
        shows: None,
        why_not: "it was not asked".into(),
    };
    sockets.into_iter().take(MAX_LISTENERS).map(listener).collect()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

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
