//! Paths at which no file of a certificate may be, whoever allows the directory: stores of trusted roots, and files that
//! configure a program.
//!
//! Answers: what would whoever reads this path do with it?
//! Invariant: a root gets into a store by a placement of roots alone, and there only as an entry of its own, never in the
//! place of the store. Names are compared without regard to case, because some file systems do so too.

use std::fmt;

/// A placement's generations are in a directory of this name beside its files; a dot, so that `include *.crt` and the like
/// pass it by.
pub const GENERATIONS_DIRECTORY: &str = ".pinion";

/// Where distributions keep what has to do with TLS; services have directories of their own in it.
pub const SSL: &str = "/etc/ssl";

/// What a path is to those who read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protected {
    /// Programs trust what is in it.
    Store,
    /// Programs do what it says.
    Configuration,
    /// Proxmox's cluster file system, with its own keys and what it does.
    Cluster,
    /// Pinion keeps a placement's generations there.
    Generations,
}

impl fmt::Display for Protected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Store => "part of a store of trusted roots",
            Self::Configuration => "a file that configures a program",
            Self::Cluster => "Proxmox's own",
            Self::Generations => "in one of Pinion's own directories of generations",
        })
    }
}

/// What an absolute path without `.` and `..` is; none where a certificate's files may be. `roots`: only roots are placed.
#[must_use]
pub fn of(path: &str, roots: bool) -> Option<Protected> {
    if let Some(whole) = whole(path) {
        return Some(whole);
    }
    let path = path.to_ascii_lowercase();
    let extension = path.rsplit_once('.').map(|(_, extension)| extension).unwrap_or_default();
    let below =
        |stores: &[&str]| stores.iter().any(|store| path.strip_prefix(store).is_some_and(|rest| rest.starts_with('/')));
    if below(&REGISTRIES) {
        // `HOST/*.crt` are roots, `HOST/*.cert` and `*.key` a client's pair (docs.docker.com/engine/security/certificates).
        let is_entry = extension == "crt";
        return (is_entry != roots).then_some(Protected::Store);
    }
    let is_entry = roots && below(&ENTRIES);
    (!is_entry && below(&STORES)).then_some(Protected::Store)
}

/// What a path is whose name alone says it: a file that configures a program, or a whole store.
#[must_use]
pub fn whole(path: &str) -> Option<Protected> {
    let path = path.to_ascii_lowercase();
    if path.split('/').any(|part| part == GENERATIONS_DIRECTORY) {
        return Some(Protected::Generations);
    }
    if is_clusters(&path) {
        return Some(Protected::Cluster);
    }
    let (directory, name) = path.rsplit_once('/')?;
    let extension = name.rsplit_once('.').map(|(_, extension)| extension).unwrap_or_default();
    if name.starts_with('.') || CONFIGURATIONS.contains(&extension) {
        return Some(Protected::Configuration);
    }
    let is_store = STORE_FILES.contains(&name) || is_hash(name) || (name == "cert.pem" && OPENSSL.contains(&directory));
    is_store.then_some(Protected::Store)
}

/// Whether a path is on Proxmox's cluster file system and not one of the two files that pveproxy(8) takes from whoever
/// runs the node. The others are the cluster's own: `pve-ssl.pem` and `pve-ssl.key`, guests, storages, users, keys.
fn is_clusters(path: &str) -> bool {
    let Some(rest) = path.strip_prefix(CLUSTER) else { return false };
    let names: Vec<&str> = rest.split('/').collect();
    match names.as_slice() {
        ["", "local", name] | ["", "nodes", _, name] => !PVEPROXY.contains(name),
        ["", ..] => true,
        _ => false,
    }
}

/// Where pmxcfs is mounted.
const CLUSTER: &str = "/etc/pve";

/// A certificate of one's own for Proxmox's web interface, in a node's directory.
const PVEPROXY: [&str; 2] = ["pveproxy-ssl.pem", "pveproxy-ssl.key"];

/// OpenSSL finds a trusted certificate by its name's hash: `9d04f354.0`, and revocations as `9d04f354.r0`
/// (openssl-rehash(1)).
fn is_hash(name: &str) -> bool {
    let Some((hash, number)) = name.split_once('.') else { return false };
    let number = number.strip_prefix('r').unwrap_or(number);
    let all = |text: &str, legal: fn(&u8) -> bool| !text.is_empty() && text.bytes().all(|b| legal(&b));
    hash.len() == 8 && all(hash, u8::is_ascii_hexdigit) && all(number, u8::is_ascii_digit)
}

/// Everything below these is somebody's store: Debian's and Alpine's, RHEL's, SUSE's, Arch's.
const STORES: [&str; 9] = [
    "/etc/ssl/certs",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
    "/etc/ca-certificates",
    "/etc/pki/ca-trust",
    "/usr/share/pki",
    "/etc/pki/trust",
    "/var/lib/ca-certificates",
    "/etc/pki/java",
];

/// Where a program of the distribution's takes entries of its store from.
const ENTRIES: [&str; 4] = [
    "/usr/local/share/ca-certificates",
    "/etc/pki/ca-trust/source/anchors",
    "/etc/pki/trust/anchors",
    "/etc/ca-certificates/trust-source/anchors",
];

/// A directory for each registry, with its roots and a client's pair.
const REGISTRIES: [&str; 2] = ["/etc/docker/certs.d", "/etc/containers/certs.d"];

/// Whole stores, wherever they are.
const STORE_FILES: [&str; 10] = [
    "ca-certificates.crt",
    "ca-bundle.crt",
    "ca-bundle.pem",
    "ca-bundle.trust.crt",
    "tls-ca-bundle.pem",
    "email-ca-bundle.pem",
    "objsign-ca-bundle.pem",
    "cacerts",
    "cert9.db",
    "key4.db",
];

/// Where OpenSSL looks for `cert.pem`, its default store, on one system or another (`openssl version -d`).
const OPENSSL: [&str; 8] = [
    "/etc/ssl",
    "/usr/lib/ssl",
    "/usr/local/ssl",
    "/usr/local/etc/ssl",
    "/etc/pki/tls",
    "/etc/openssl",
    "/usr/local/openssl",
    "/etc/libressl",
];

/// What ends so is read by a program for what to do.
const CONFIGURATIONS: [&str; 37] = [
    "cnf",
    "conf",
    "cfg",
    "config",
    "ini",
    "json",
    "toml",
    "yaml",
    "yml",
    "xml",
    "properties",
    "env",
    "list",
    "rules",
    "repo",
    "sources",
    "desktop",
    "service",
    "socket",
    "timer",
    "mount",
    "automount",
    "path",
    "target",
    "network",
    "link",
    "sh",
    "bash",
    "py",
    "pl",
    "rb",
    "lua",
    "js",
    "php",
    "so",
    "ko",
    "rc",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_and_configuration_are_no_place_for_a_certificates_files() {
        use Protected::{Cluster, Configuration, Generations, Store};
        for (path, what) in [
            ("/etc/ssl/certs/ca-certificates.crt", Store),
            ("/etc/ssl/certs/web.crt", Store),
            ("/etc/ssl/Certs/web.crt", Store),
            ("/etc/ssl/certs/deep/web.crt", Store),
            ("/etc/ssl/cert.pem", Store),
            ("/etc/pki/tls/cert.pem", Store),
            ("/etc/pki/tls/certs/ca-bundle.crt", Store),
            ("/srv/app/ca-certificates.crt", Store),
            ("/srv/app/9D04F354.0", Store),
            ("/srv/app/9d04f354.r12", Store),
            ("/usr/local/share/ca-certificates/web.crt", Store),
            ("/etc/pki/ca-trust/source/anchors/web.pem", Store),
            ("/etc/docker/certs.d/registry:5000/ca.crt", Store),
            ("/etc/ssl/web/.pinion/other/current/web.crt", Generations),
            ("/etc/ssl/web/.Pinion/other/3/web.crt", Generations),
            ("/etc/ssl/openssl.cnf", Configuration),
            ("/etc/ssl/private/OpenSSL.CNF", Configuration),
            ("/root/.docker/config.json", Configuration),
            ("/etc/docker/daemon.json", Configuration),
            ("/root/.bashrc", Configuration),
            ("/etc/pinion/agent.toml", Configuration),
            ("/etc/systemd/system/evil.service", Configuration),
            ("/etc/pve/local/pve-ssl.pem", Cluster),
            ("/etc/pve/local/pve-ssl.key", Cluster),
            ("/etc/pve/nodes/pve1/pve-ssl.key", Cluster),
            ("/etc/PVE/nodes/pve1/PVE-ssl.pem", Cluster),
            ("/etc/pve/nodes/pve1/deep/pveproxy-ssl.pem", Cluster),
            ("/etc/pve/nodes/pveproxy-ssl.pem", Cluster),
            ("/etc/pve/pveproxy-ssl.pem", Cluster),
            ("/etc/pve/pve-root-ca.pem", Cluster),
            ("/etc/pve/priv/pve-root-ca.key", Cluster),
            ("/etc/pve", Cluster),
        ] {
            assert_eq!(of(path, false), Some(what), "{path}");
        }
        for good in [
            "/etc/ssl/vllm/vllm.crt",
            "/etc/ssl/private/web.key",
            "/etc/ssl/docker-client/cert.pem",
            "/etc/docker/tls/cert.pem",
            "/etc/docker/tls/ca.pem",
            "/root/.docker/cert.pem",
            "/etc/docker/certs.d/registry:5000/client.cert",
            "/etc/docker/certs.d/registry:5000/client.key",
            "/etc/ssl/certs-of-mine/web.crt",
            "/mnt/pve/nfs/archive/cert.pem",
            "/etc/pve/local/pveproxy-ssl.pem",
            "/etc/pve/nodes/pve1/pveproxy-ssl.key",
            "/etc/pvecert/web.crt",
            "/etc/nginx/ssl/_wildcard.internal.example.crt",
            "/srv/app/9d04f354.crt",
        ] {
            assert_eq!(of(good, false), None, "{good}");
        }
    }

    #[test]
    fn roots_become_entries_of_a_store_and_never_the_store() {
        for entry in [
            "/usr/local/share/ca-certificates/pinion-1234.crt",
            "/etc/pki/ca-trust/source/anchors/pinion-1234.crt",
            "/etc/docker/certs.d/registry:5000/ca.crt",
            "/etc/pinion/certs/roots.pem",
        ] {
            assert_eq!(of(entry, true), None, "{entry}");
        }
        for store in [
            "/etc/ssl/certs/ca-certificates.crt",
            "/etc/ssl/certs/mine.crt",
            "/etc/ssl/cert.pem",
            "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
            "/usr/local/share/ca-certificates/9d04f354.0",
            "/etc/docker/certs.d/registry:5000/client.cert",
            "/usr/share/ca-certificates/mozilla/mine.crt",
        ] {
            assert_eq!(of(store, true), Some(Protected::Store), "{store}");
        }
    }
}
