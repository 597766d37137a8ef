//! Where Proxmox keeps its files is known in one place, `controller/src/inventory/proxmox`.
//!
//! A path is a string without spaces: a sentence for people may name one.

use super::{Crates, Finding};

pub(super) fn check(crates: &Crates<'_>) -> Vec<Finding> {
    let mut found: Vec<Finding> = Vec::new();
    for module in crates.product() {
        let file = crates.file(module);
        if ALLOWED.iter().any(|allowed| file.path.starts_with(allowed)) {
            continue;
        }
        let strings = &crates.scope(module).code.strings;
        if let Some(path) = strings.iter().find(|text| is_path_of_proxmox(text)) {
            let why = format!("knows Proxmox's path {path}: ask controller/src/inventory/proxmox for it");
            found.push(Finding::new(file.path.as_str(), 1, why));
        }
    }
    found.dedup_by(|one, other| one.subject == other.subject);
    found
}

fn is_path_of_proxmox(text: &str) -> bool {
    let names = |path: &str| {
        text.match_indices(path).any(|(at, _)| !text[at + path.len()..].starts_with(|c: char| c.is_alphanumeric()))
    };
    !text.contains(char::is_whitespace) && PATHS.iter().any(|path| names(path))
}

/// pmxcfs (pmxcfs(8)), LXC's sockets, the monitors of VMs, and their tools.
const PATHS: [&str; 6] =
    ["/etc/pve", "/var/lib/lxc", "/run/qemu-server", "/var/run/qemu-server", "/usr/sbin/pct", "/usr/sbin/qm"];

/// The one place, the tests' host in a box, and this rule.
const ALLOWED: [&str; 3] = ["controller/src/inventory/proxmox/", "tests/", "xtask/src/tidy/rules/"];

#[cfg(test)]
mod tests {
    use super::{
        super::{MANIFEST, found},
        *,
    };

    #[test]
    fn a_path_of_proxmox_is_found_and_a_sentence_is_none() {
        let good = [
            MANIFEST,
            (
                "a/src/lib.rs",
                "/// Not /etc/pve.\nconst A: &str = \"start what mounts /etc/pve\"; const B: &str = \"/etc/pvex\";",
            ),
        ];
        assert!(found(check, &good).is_empty());
        let bad = [MANIFEST, ("a/src/lib.rs", "fn f() { g!(\"{}/etc/pve/.vmlist\") }")];
        assert_eq!(
            found(check, &bad),
            ["a/src/lib.rs: knows Proxmox's path {}/etc/pve/.vmlist: ask controller/src/inventory/proxmox for it"]
        );
    }
}
