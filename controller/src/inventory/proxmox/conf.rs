//! A guest's configuration: `/etc/pve/nodes/NODE/{lxc,qemu-server}/VMID.conf`.
//!
//! Answers: what does the file say of the guest as it is now?
//! Invariant: total; the lines of snapshots and of changes that are pending say nothing of now, and what is odd is
//! passed over line by line, as Proxmox's own readers do.
//!
//! The format is that of `parse_pct_config` (pve-container, `src/PVE/LXC/Config.pm`) and `parse_vm_config`
//! (qemu-server, `src/PVE/QemuServer.pm`): `key: value` lines, comments that begin with `#`, and after them sections
//! such as `[pve:pending]`, `[PENDING]` and `[NAME-OF-A-SNAPSHOT]`, which never end.

use std::collections::BTreeMap;

use pinion_proto::hwaddr::HwAddr;

use crate::inventory::{GuestInfo, GuestKind};

/// Longer values are none that is looked for here (bytes): names have 255, a line of a network card some 300.
const MAX_VALUE: usize = 4096;

/// Proxmox shows a guest's tags as a row of pills; more are no tags (count).
const MAX_TAGS: usize = 64;

/// Proxmox knows 32 network cards of a virtual machine and 10 of a container.
const MAX_CARDS: u8 = 32;

/// Reads a configuration: what it says of the guest, and nothing of where it is and whether it runs. None when nothing
/// in it is one: an empty file, or something else's.
#[must_use]
pub(super) fn parse(kind: GuestKind, bytes: &[u8]) -> Option<GuestInfo> {
    let mut conf = GuestInfo { kind: Some(kind), ..GuestInfo::default() };
    let mut cards = BTreeMap::new();
    let mut anything = false;
    for line in bytes.split(|byte| *byte == b'\n') {
        // The first section ends what is true now, also when its line is cut off or odd.
        if line.first() == Some(&b'[') {
            break;
        }
        let Some((key, value)) = entry(line) else { continue };
        anything = true;
        take(&mut conf, kind, (key, value), &mut cards);
    }
    conf.hwaddrs = cards.into_values().collect();
    anything.then_some(conf)
}

/// A key that stands twice counts as it stands last.
fn take(conf: &mut GuestInfo, kind: GuestKind, (key, value): (&str, &str), cards: &mut BTreeMap<u8, HwAddr>) {
    match (key, kind) {
        ("hostname", GuestKind::Lxc) | ("name", GuestKind::Qemu) => conf.name = word(value),
        ("tags", _) => conf.tags = tags(value),
        ("lock", _) => conf.lock = word(value),
        ("template", _) => conf.template = truth(value),
        ("unprivileged", GuestKind::Lxc) => conf.unprivileged = truth(value),
        ("agent", GuestKind::Qemu) => conf.agent = agent(value),
        ("vmgenid", GuestKind::Qemu) => conf.vmgenid = uuid(value),
        ("ostype", _) => conf.ostype = word(value),
        ("arch", _) => conf.arch = word(value),
        _ => {
            let number = key.strip_prefix("net").and_then(|digits| digits.parse::<u8>().ok());
            if let Some(number) = number.filter(|number| *number < MAX_CARDS) {
                match card(kind, value) {
                    Some(address) => cards.insert(number, address),
                    None => cards.remove(&number),
                };
            }
        }
    }
}

/// Whether a file ends as one that was written to its end does. One that does not may grow yet.
pub(super) fn is_whole(bytes: &[u8]) -> bool {
    bytes.last() == Some(&b'\n')
}

/// `key: value`; none for every other line.
fn entry(line: &[u8]) -> Option<(&str, &str)> {
    let text = std::str::from_utf8(line).ok()?;
    let (key, value) = text.split_once(':')?;
    let letters = key.trim_end_matches(|c: char| c.is_ascii_digit());
    let legal = |b: u8| b.is_ascii_lowercase() || matches!(b, b'_' | b'-');
    let is_key = letters.bytes().next().is_some_and(|b| b.is_ascii_lowercase()) && letters.bytes().all(legal);
    let value = value.trim();
    (is_key && !value.is_empty() && value.len() <= MAX_VALUE).then_some((key, value))
}

/// A value that is one word which can be shown as it is.
fn word(value: &str) -> Option<String> {
    (value.len() <= 255 && value.bytes().all(|b| b.is_ascii_graphic())).then(|| value.to_owned())
}

/// Proxmox's booleans: 1, on, yes and true.
fn truth(value: &str) -> bool {
    value == "1" || ["on", "yes", "true"].iter().any(|word| value.eq_ignore_ascii_case(word))
}

/// Joined by `;` in newer files, by `,` or spaces in older ones.
fn tags(value: &str) -> Vec<String> {
    let parts = value.split([';', ',', ' ', '\t', '\0']).filter(|part| !part.is_empty());
    parts.filter_map(word).take(MAX_TAGS).collect()
}

/// `1`, `enabled=1`, `1,fstrim_cloned_disks=1`: the first word without a key is `enabled`.
fn agent(value: &str) -> bool {
    value.split(',').any(|part| match part.trim().split_once('=') {
        Some(("enabled", value)) => truth(value),
        Some(_) => false,
        None => truth(part.trim()),
    })
}

fn uuid(value: &str) -> Option<String> {
    let form = |(at, byte): (usize, u8)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    (value.len() == 36 && value.bytes().enumerate().all(form)).then(|| value.to_ascii_lowercase())
}

/// `name=eth0,hwaddr=BC:…` of a container; `virtio=BC:…,bridge=vmbr0` or `macaddr=BC:…` of a virtual machine.
fn card(kind: GuestKind, value: &str) -> Option<HwAddr> {
    value.split(',').filter_map(|part| part.trim().split_once('=')).find_map(|(key, value)| {
        (kind == GuestKind::Qemu || key == "hwaddr").then(|| HwAddr::parse(value.trim())).flatten()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LXC: &str = "#gateway of hostname%3A old\n#lock%3A backup\narch: amd64\ncores: 2\nhostname: gateway\n\
        net0: name=eth0,bridge=vmbr0,hwaddr=bc:24:11:00:00:01,ip=dhcp,type=veth\n\
        net1: name=eth1,bridge=vmbr100,hwaddr=BC:24:11:00:00:02,ip=172.16.100.101/24\nostype: debian\n\
        rootfs: local-lvm:vm-101-disk-0,size=8G\ntags: web;Pinion\nunprivileged: 1\n\
        lxc.cgroup2.devices.allow: c 10:200 rwm\n\n[before-upgrade]\nhostname: old\nlock: snapshot\ntemplate: 1\n";

    const QEMU: &str = "agent: 1,fstrim_cloned_disks=1\nboot: order=scsi0\nname: docker\n\
        net0: virtio=BC:24:11:00:10:01,bridge=vmbr0,firewall=1\nostype: l26\ntags: a, b\n\
        vmgenid: 0BE35C7B-0c0e-4f4c-9b48-6a1f0f6ce0a1\n[PENDING]\nname: later\nagent: 0\n";

    fn lxc(text: &str) -> GuestInfo {
        parse(GuestKind::Lxc, text.as_bytes()).expect("a configuration")
    }

    fn qemu(text: &str) -> GuestInfo {
        parse(GuestKind::Qemu, text.as_bytes()).expect("a configuration")
    }

    #[test]
    fn a_container_is_as_its_first_section_says() {
        let conf = lxc(LXC);
        assert_eq!(conf.name.as_deref(), Some("gateway"));
        assert_eq!((conf.lock, conf.template, conf.unprivileged), (None, false, true));
        assert_eq!(conf.tags, ["web", "Pinion"]);
        let cards: Vec<_> = conf.hwaddrs.iter().map(ToString::to_string).collect();
        assert_eq!(cards, ["BC:24:11:00:00:01", "BC:24:11:00:00:02"]);
        assert_eq!((conf.ostype.as_deref(), conf.arch.as_deref()), (Some("debian"), Some("amd64")));
    }

    #[test]
    fn a_machine_is_as_its_first_section_says() {
        let conf = qemu(QEMU);
        assert_eq!((conf.name.as_deref(), conf.agent), (Some("docker"), true));
        assert_eq!(conf.vmgenid.as_deref(), Some("0be35c7b-0c0e-4f4c-9b48-6a1f0f6ce0a1"));
        assert_eq!(conf.tags, ["a", "b"]);
        assert_eq!(conf.hwaddrs, [HwAddr::parse("bc:24:11:00:10:01").expect("an address")]);
    }

    #[test]
    fn every_way_to_say_agent_is_understood() {
        for (said, meant) in [
            ("1", true),
            ("enabled=1", true),
            ("enabled=1,fstrim_cloned_disks=1", true),
            ("fstrim_cloned_disks=1,enabled=1", true),
            ("type=virtio,1", true),
            ("0", false),
            ("enabled=0", false),
            ("fstrim_cloned_disks=1", false),
        ] {
            assert_eq!(qemu(&format!("agent: {said}\n")).agent, meant, "{said}");
        }
    }

    #[test]
    fn what_is_none_is_told_apart_from_one_with_odd_lines() {
        for nothing in
            ["", "\n\n", "# only words\n", "[snapshot]\nhostname: x\n", "\u{1f}\u{8b} zipped", "Hostname: x\n"]
        {
            assert_eq!(parse(GuestKind::Lxc, nothing.as_bytes()), None, "{nothing:?}");
        }
        let odd = lxc("what is this\n: x\nhostname: a b\nhostname:\nunprivileged: yes\nnet0: none\nnet99: hwaddr=x\n");
        let expected = GuestInfo { kind: Some(GuestKind::Lxc), unprivileged: true, ..GuestInfo::default() };
        assert_eq!(odd, expected);
        let twice = lxc("hostname: first\nhostname: last\n");
        assert_eq!(twice.name.as_deref(), Some("last"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..2048)) {
            for kind in [GuestKind::Lxc, GuestKind::Qemu] {
                prop_assert!(parse(kind, &bytes).is_none_or(|conf| conf.hwaddrs.len() <= 32));
            }
        }

        #[test]
        fn what_follows_the_first_section_says_nothing(rest in "[ -~\n]{0,200}") {
            let (before, _) = LXC.split_once('[').expect("a section");
            prop_assert_eq!(lxc(&format!("{before}[x]\n{rest}")), lxc(LXC));
        }

        #[test]
        fn a_cut_file_says_no_more_than_the_whole_one(cut in 0..LXC.len()) {
            let whole = lxc(LXC);
            // Up to the last line that is whole, nothing is read otherwise.
            let lines = LXC[..cut].rfind('\n').map_or("", |end| &LXC[..=end]);
            if let Some(cut) = parse(GuestKind::Lxc, lines.as_bytes()) {
                prop_assert!(cut.name.is_none() || cut.name == whole.name);
                prop_assert!(cut.tags.is_empty() || cut.tags == whole.tags);
                prop_assert!(whole.hwaddrs.starts_with(&cut.hwaddrs));
                prop_assert!(cut.lock.is_none() && !cut.template);
            }
        }
    }
}
