//! What may be brought into a guest: the packaged agent and its unit, and nothing else.
//!
//! Invariant: every file was put there by root and can be changed by root alone; the binary is for the processor that
//! the guest has. Otherwise nothing is brought in.

use std::{
    fs::{File, Metadata},
    io::{self, Read},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use pinion_proto::trusted::{self, Name};

use aws_lc_rs::digest::{SHA256, digest};
use rustix::fs::OFlags;

use super::protocol::{Architecture, Cause, Failure};

/// Far above the agent's budget of 6 MiB, and below what a mistake would bring in (bytes).
const MAX_FILE: u64 = 64 * 1024 * 1024;

/// The packaged files.
#[derive(Debug, Clone)]
pub(super) struct Package {
    directory: PathBuf,
}

/// A file to be brought in.
#[derive(Debug)]
pub(super) struct PackagedFile {
    /// Where it is on this host.
    pub(super) path: PathBuf,
    pub(super) bytes: Vec<u8>,
    /// SHA-256 in hexadecimal, as `sha256sum` prints it.
    pub(super) sha256: String,
    /// Its permissions in the guest, in octal.
    pub(super) mode: &'static str,
}

impl Package {
    /// The files below the host's `root`.
    pub(super) fn below(root: &Path) -> Self {
        Self { directory: root.join("usr/lib/pinion/agent") }
    }

    /// The agent for this processor.
    ///
    /// # Errors
    /// There is none, it is another's, or someone else than root could have changed it.
    pub(super) fn binary(&self, architecture: &Architecture) -> Result<PackagedFile, Failure> {
        let folder = match architecture {
            Architecture::Amd64 => "amd64",
            Architecture::Arm64 => "arm64",
            Architecture::Other(name) => {
                let text = format!(
                    "the guest's processor is `{name}`, but agents are packaged only for amd64 and \
                    arm64"
                );
                return Err(Failure::new(Cause::Unpackaged, text));
            }
        };
        check_owner(&self.directory.join(folder))?;
        let file = self.read(&self.directory.join(folder).join("pinion-agent"), "0755")?;
        match machine(&file.bytes) {
            Some(found) if found == *architecture => Ok(file),
            found => {
                let found = found.map_or_else(|| "not a 64-bit ELF program".to_owned(), |found| format!("for {found}"));
                let text = format!(
                    "agent binary of the wrong architecture: {} is {found}, not for {folder}",
                    file.path.display()
                );
                Err(Failure::new(Cause::Unpackaged, text))
            }
        }
    }

    /// systemd's unit.
    ///
    /// # Errors
    /// As [`Self::binary`].
    pub(super) fn unit(&self) -> Result<PackagedFile, Failure> {
        self.read(&self.directory.join("pinion-agent.service"), "0644")
    }

    /// OpenRC's script.
    ///
    /// # Errors
    /// As [`Self::binary`].
    pub(super) fn open_rc(&self) -> Result<PackagedFile, Failure> {
        self.read(&self.directory.join("pinion-agent.openrc"), "0755")
    }

    /// The script for guests with neither.
    ///
    /// # Errors
    /// As [`Self::binary`].
    pub(super) fn start_script(&self) -> Result<PackagedFile, Failure> {
        self.read(&self.directory.join("start-agent"), "0755")
    }

    /// The allow-list that a guest starts with.
    ///
    /// # Errors
    /// As [`Self::binary`].
    pub(super) fn configuration(&self) -> Result<PackagedFile, Failure> {
        self.read(&self.directory.join("agent.toml"), "0644")
    }

    fn read(&self, path: &Path, mode: &'static str) -> Result<PackagedFile, Failure> {
        check_owner(&self.directory)?;
        let (file, metadata) = check_owner(path)?;
        if !metadata.is_file() {
            return Err(unusable(path, "is not a regular file"));
        }
        let mut bytes = Vec::new();
        let read = file.take(MAX_FILE + 1).read_to_end(&mut bytes);
        read.map_err(|error| unusable(path, &format!("cannot be read: {error}")))?;
        if bytes.is_empty() || bytes.len() as u64 > MAX_FILE {
            return Err(unusable(path, &format!("has {} bytes: install the package again", bytes.len())));
        }
        let sha256 = digest(&SHA256, &bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(PackagedFile { path: path.to_owned(), bytes, sha256, mode })
    }
}

/// Opens a file or directory that nobody but root, or whoever this process runs as, can change.
fn check_owner(path: &Path) -> Result<(File, Metadata), Failure> {
    // A link would lead to where others may write; a named pipe would hold up the opening.
    let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits()).map_err(io::Error::other);
    let opened = flags
        .and_then(|flags| File::options().read(true).custom_flags(flags).open(path))
        .and_then(|file| file.metadata().map(|metadata| (file, metadata)));
    let (file, metadata) = opened.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => unusable(path, "is not there"),
        _ => unusable(path, &format!("cannot be opened: {error}")),
    })?;
    match trusted::check(metadata.uid(), metadata.mode(), Name::End) {
        Ok(()) => Ok((file, metadata)),
        Err(doubt) => Err(unusable(path, &doubt.to_string())),
    }
}

fn unusable(path: &Path, why: &str) -> Failure {
    Failure::new(Cause::Unpackaged, format!("the packaged {} {why}", path.display()))
}

/// For which processor a program is: the ELF header's class, byte order and `e_machine` (elf(5)).
fn machine(program: &[u8]) -> Option<Architecture> {
    let header = program.first_chunk::<20>()?;
    // 64 bits, little-endian: all that is packaged.
    if header[..6] != *b"\x7fELF\x02\x01" {
        return None;
    }
    Some(match u16::from_le_bytes([header[18], header[19]]) {
        62 => Architecture::Amd64,
        183 => Architecture::Arm64,
        other => Architecture::Other(format!("machine {other}")),
    })
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;
    use crate::channel::tests::package::{elf, package_in};

    fn packaged() -> (tempfile::TempDir, Package) {
        let root = tempfile::tempdir().expect("a directory");
        package_in(root.path(), "1");
        let package = Package::below(root.path());
        (root, package)
    }

    #[test]
    fn each_processor_gets_its_own_binary() {
        let (_root, package) = packaged();
        for (architecture, number) in [(Architecture::Amd64, 62), (Architecture::Arm64, 183)] {
            let file = package.binary(&architecture).expect("packaged");
            assert_eq!(file.bytes, elf(number, "1"));
            assert_eq!(file.sha256.len(), 64);
        }
        let failure = package.binary(&Architecture::Other("riscv64".into())).expect_err("not packaged");
        assert!(failure.cause == Cause::Unpackaged && failure.text.contains("`riscv64`"), "{failure}");
    }

    #[test]
    fn a_binary_in_the_wrong_folder_is_named() {
        let (root, package) = packaged();
        let path = root.path().join("usr/lib/pinion/agent/arm64/pinion-agent");
        fs::write(&path, elf(62, "1")).expect("written");
        let failure = package.binary(&Architecture::Arm64).expect_err("it is for amd64");
        assert!(failure.text.contains("arm64/pinion-agent is for amd64, not for arm64"), "{failure}");
        fs::write(&path, "#!/bin/sh\n").expect("written");
        let failure = package.binary(&Architecture::Arm64).expect_err("it is a script");
        assert!(failure.text.contains("not a 64-bit ELF program"), "{failure}");
        fs::remove_file(&path).expect("removed");
        let failure = package.binary(&Architecture::Arm64).expect_err("it is gone");
        assert!(failure.text.contains("is not there"), "{failure}");
    }

    #[test]
    fn what_others_can_write_is_not_brought_in() {
        let (root, package) = packaged();
        let directory = root.path().join("usr/lib/pinion/agent");
        let binary = directory.join("amd64/pinion-agent");
        for path in [binary.as_path(), &directory.join("amd64"), &directory] {
            let before = fs::metadata(path).expect("it is there").permissions();
            fs::set_permissions(path, fs::Permissions::from_mode(0o777)).expect("changed");
            let failure = package.binary(&Architecture::Amd64).expect_err("anyone can change it");
            assert!(failure.text.contains("can be written by users other than root"), "{failure}");
            fs::set_permissions(path, before).expect("changed back");
        }
        package.binary(&Architecture::Amd64).expect("all is well again");
        fs::rename(&binary, root.path().join("elsewhere")).expect("moved");
        std::os::unix::fs::symlink(root.path().join("elsewhere"), &binary).expect("linked");
        package.binary(&Architecture::Amd64).expect_err("a link leads where it likes");
    }
}
