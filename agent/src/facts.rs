//! What this guest says of itself when it joins and links.
//!
//! Invariant: read from the kernel's own files, each time anew; what is not there is left empty, never guessed.

use std::{fs, path::Path};

use pinion_proto::{hwaddr::HwAddr, report::GuestFacts, spec::SPEC_LEVEL, wire::MAX_HWADDRS};

use crate::config::Config;

/// What this guest is now.
#[must_use]
pub fn facts(config: &Config) -> GuestFacts {
    let root = &config.root;
    GuestFacts {
        agent_version: env!("CARGO_PKG_VERSION").into(),
        hostname: hostname(),
        machine_id: machine_id(config),
        boot_id: boot_id(root),
        looks: true,
        examines: true,
        hwaddrs: hwaddrs(&root.join("sys/class/net")),
        spec_level: SPEC_LEVEL,
    }
}

/// What this guest's copies would have in common with it, unless they are made with care; empty where it has none.
pub(crate) fn machine_id(config: &Config) -> String {
    first_line(&config.root.join("etc/machine-id"))
}

/// What this guest calls itself.
#[must_use]
pub fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The kernel's boot id with the start of process 1: all containers of a host have the kernel's in common.
fn boot_id(root: &Path) -> String {
    let kernel = first_line(&root.join("proc/sys/kernel/random/boot_id"));
    let stat = first_line(&root.join("proc/1/stat"));
    // The program's name, in parentheses, may have spaces; the start time is field 22 (proc_pid_stat(5)).
    let started = stat.rsplit(')').next().and_then(|fields| fields.split_whitespace().nth(19));
    match started {
        Some(started) if !kernel.is_empty() => format!("{kernel}/{started}"),
        _ => String::new(),
    }
}

/// The addresses of all cards, those of the guest's own bridges last.
fn hwaddrs(net: &Path) -> Vec<HwAddr> {
    let entries = fs::read_dir(net).into_iter().flatten().filter_map(Result::ok);
    let mut cards: Vec<(bool, HwAddr)> = entries
        .filter_map(|entry| {
            let address = HwAddr::parse(&first_line(&entry.path().join("address")))?;
            (!address.is_zero()).then(|| (entry.path().join("bridge").exists(), address))
        })
        .collect();
    cards.sort_unstable();
    cards.dedup();
    cards.into_iter().map(|(_, address)| address).take(MAX_HWADDRS).collect()
}

fn first_line(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().next().unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().expect("a directory")).expect("made");
        fs::write(path, text).expect("written");
    }

    #[test]
    fn a_start_of_the_guest_makes_another_boot_id() {
        let root = tempfile::tempdir().expect("a directory");
        write(&root.path().join("proc/sys/kernel/random/boot_id"), "0b5f\n");
        let stat = |start: u32| format!("1 (my init) S 0 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 {start} 1 2\n");
        write(&root.path().join("proc/1/stat"), &stat(71));
        let first = boot_id(root.path());
        assert_eq!(first, "0b5f/71");
        write(&root.path().join("proc/1/stat"), &stat(99));
        assert_ne!(boot_id(root.path()), first);
        fs::remove_file(root.path().join("proc/1/stat")).expect("removed");
        assert_eq!(boot_id(root.path()), "", "half of it says nothing");
    }

    #[test]
    fn cards_come_before_bridges_and_loopback_never() {
        let net = tempfile::tempdir().expect("a directory");
        write(&net.path().join("docker0/address"), "02:42:00:00:00:01\n");
        write(&net.path().join("docker0/bridge/id"), "1\n");
        write(&net.path().join("eth0/address"), "bc:24:11:00:00:01\n");
        write(&net.path().join("lo/address"), "00:00:00:00:00:00\n");
        write(&net.path().join("tun0/address"), "\n");
        let found: Vec<_> = hwaddrs(net.path()).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["BC:24:11:00:00:01", "02:42:00:00:00:01"]);
    }
}
