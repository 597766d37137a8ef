//! A package of agents that are no more than the begin of an ELF program.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// A program for the processor with this number (`e_machine` of elf(5)), of which `body` is told apart by its text.
pub(crate) fn elf(machine: u8, body: &str) -> Vec<u8> {
    let mut program = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0".to_vec();
    program.extend([machine, 0]);
    program.extend(body.as_bytes());
    program
}

/// Writes a package below a host's root; returns where it is.
pub(crate) fn package_in(root: &Path, body: &str) -> PathBuf {
    let directory = root.join("usr/lib/pinion/agent");
    for (folder, machine) in [("amd64", 62), ("arm64", 183)] {
        fs::create_dir_all(directory.join(folder)).expect("made");
        fs::write(directory.join(folder).join("pinion-agent"), elf(machine, body)).expect("written");
    }
    for name in ["pinion-agent.service", "pinion-agent.openrc", "start-agent", "agent.toml"] {
        fs::write(directory.join(name), format!("# {name} {body}\n")).expect("written");
    }
    for path in [directory.clone(), directory.join("amd64"), directory.join("arm64")] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("changed");
    }
    directory
}
