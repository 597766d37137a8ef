//! Who listens on this machine's TCP ports, as the kernel tells it (proc_net_tcp(5)).
//!
//! Invariant: nothing is connected to here; the files are read with limits.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fs::{self, File},
    io::{self, BufRead as _, BufReader, Read as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
};

use crate::printable::line;

/// The tables, below `/`. The second has the sockets of IPv6, of which some take IPv4 too.
pub const TABLES: [&str; 2] = ["proc/net/tcp", "proc/net/tcp6"];

/// More lines than a busy machine has connections (bytes). Those that listen come first.
const MAX_TABLE: u64 = 16 * 1024 * 1024;

/// More processes are not searched for the sockets' owners.
const MAX_PROCESSES: usize = 4096;

/// More open files of one process are not looked at.
const MAX_DESCRIPTORS: usize = 4096;

/// The longest name of a program; the kernel keeps 15 bytes of it.
const MAX_NAME: usize = 64;

/// The state of a socket that listens (`TCP_LISTEN` of the kernel's include/net/tcp_states.h).
const LISTEN: &str = "0A";

/// A socket that listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListeningSocket {
    /// Where.
    pub address: SocketAddr,
    /// The number of the user whose process made it.
    pub uid: u32,
    /// Tells it from every other socket that there is now.
    pub inode: u64,
}

impl ListeningSocket {
    /// Whether it may be the one that gets a connection to this address.
    #[must_use]
    pub fn takes(&self, address: SocketAddr) -> bool {
        let ip = self.address.ip().to_canonical();
        self.address.port() == address.port() && (ip == address.ip().to_canonical() || ip.is_unspecified())
    }
}

/// The sockets that listen, of one of the [`TABLES`].
///
/// # Errors
/// It cannot be read. A table that is not there is empty: a kernel without IPv6 has no second one.
pub fn listening(table: &Path) -> io::Result<Vec<ListeningSocket>> {
    match File::open(table) {
        Ok(file) => {
            let lines = BufReader::new(file.take(MAX_TABLE)).lines().map_while(Result::ok);
            Ok(lines.filter_map(|line| socket(&line)).collect())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn socket(line: &str) -> Option<ListeningSocket> {
    let mut fields = line.split_whitespace();
    let (local, state) = (fields.nth(1)?, fields.nth(1)?);
    let uid = fields.nth(3)?.parse().ok()?;
    let inode = fields.nth(1)?.parse().ok()?;
    if state != LISTEN {
        return None;
    }
    let (ip, port) = local.split_once(':')?;
    let address = SocketAddr::new(address(ip)?, u16::from_str_radix(port, 16).ok()?);
    Some(ListeningSocket { address, uid, inode })
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

/// A process that has a socket open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its number.
    pub pid: u32,
    /// Its program's name, as far as the kernel keeps it.
    pub name: String,
}

/// The processes below `root` that have these sockets, by inode; those whose files may not be looked at are left out.
#[must_use]
pub fn holders(root: &Path, inodes: &BTreeSet<u64>) -> BTreeMap<u64, Holder> {
    let mut holders = BTreeMap::new();
    let entries = fs::read_dir(root.join("proc")).into_iter().flatten().filter_map(Result::ok);
    let processes = entries.filter_map(|entry| Some((number(&entry.file_name())?, entry.path())));
    for (pid, process) in processes.take(MAX_PROCESSES) {
        let descriptors = fs::read_dir(process.join("fd")).into_iter().flatten().filter_map(Result::ok);
        for descriptor in descriptors.take(MAX_DESCRIPTORS) {
            let Ok(target) = fs::read_link(descriptor.path()) else { continue };
            let inode =
                target.to_str().and_then(|target| target.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
            let Some(inode) = inode.filter(|inode| inodes.contains(inode)) else { continue };
            let name = || line(fs::read_to_string(process.join("comm")).unwrap_or_default().trim(), MAX_NAME);
            holders.entry(inode).or_insert_with(|| Holder { pid, name: name() });
        }
    }
    holders
}

/// The number of a process's directory.
fn number(name: &OsStr) -> Option<u32> {
    name.to_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// As the kernel writes it on a machine whose least significant byte comes first.
    #[cfg(target_endian = "little")]
    const TABLE: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
        0: 0100007F:0055 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1234 1 0 100 0 0 10 0\n   \
        1: 00000000:0019 00000000:0000 0A 00000000:00000000 00:00000000 00000000   998        0 5678 1 0 100 0 0 10 0\n   \
        2: 0100007F:0055 0100007F:D431 01 00000000:00000000 00:00000000 00000000     0        0 9999 1 0 20 4 30 10 -1\n   \
        3: 00000000000000000000000001000000:01BB 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 \
        00000000     0        0 77 1 0 100 0 0 10 0\n nonsense\n";

    #[test]
    #[cfg(target_endian = "little")]
    fn the_kernels_table_is_read() {
        let root = tempfile::tempdir().expect("a directory");
        let table = root.path().join("tcp");
        assert!(listening(&table).expect("no table").is_empty());
        fs::write(&table, TABLE).expect("written");
        let found = listening(&table).expect("read");
        let told: Vec<_> = found.iter().map(|it| format!("{} {} {}", it.address, it.uid, it.inode)).collect();
        assert_eq!(told, ["127.0.0.1:85 0 1234", "0.0.0.0:25 998 5678", "[::1]:443 0 77"]);
    }

    #[test]
    fn a_socket_takes_connections_to_its_own_address_and_one_for_all_takes_all() {
        let socket =
            |address: &str| ListeningSocket { address: address.parse().expect("an address"), uid: 0, inode: 1 };
        let wanted: SocketAddr = "127.0.0.1:85".parse().expect("an address");
        for (address, takes) in [
            ("127.0.0.1:85", true),
            ("0.0.0.0:85", true),
            ("[::]:85", true),
            ("[::ffff:127.0.0.1]:85", true),
            ("127.0.0.2:85", false),
            ("[::1]:85", false),
            ("127.0.0.1:86", false),
        ] {
            assert_eq!(socket(address).takes(wanted), takes, "{address}");
        }
    }

    #[test]
    fn a_listener_of_this_process_is_in_the_real_table() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let all = listening(&Path::new("/").join(TABLES[0])).expect("read");
        let own: Vec<_> = all.into_iter().filter(|socket| socket.takes(address)).collect();
        assert_eq!(own.len(), 1, "{own:?}");
        assert_eq!((own[0].address, own[0].uid), (address, rustix::process::geteuid().as_raw()));
        let holders = holders(Path::new("/"), &[own[0].inode].into());
        assert_eq!(holders.get(&own[0].inode).map(|holder| holder.pid), Some(std::process::id()));
    }
}
