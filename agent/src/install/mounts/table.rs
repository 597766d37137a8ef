//! The mount table as this process sees it: `/proc/self/mountinfo` (proc_pid_mountinfo(5)).
//!
//! Answers: which mounts does a path go through, and is this mount the one at that mount point?
//! Invariants: a path is followed as the kernel follows it, from mount to mount, so what is hidden by a later mount is not
//! found. A directory that is bound to its own place, as systemd does for a sandboxed unit, is no mount point of its own:
//! the same files are there without it.

use std::{
    ffi::OsString,
    io,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
};

/// The kernel allows 100,000 mounts (`fs.mount-max`); with paths of ordinary length that is 20 MB (bytes).
pub const MAX_TABLE: u64 = 32 * 1024 * 1024;

/// `fs.mount-max`.
const MAX_MOUNTS: usize = 100_000;

/// Every mount of this process's namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MountTable(Vec<Mount>);

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Its number, which is nobody else's while it is mounted.
    pub id: u64,
    /// The mount that it is on.
    pub parent: u64,
    /// The device, `MAJOR:MINOR`.
    pub device: String,
    /// What of the device's file system is there.
    pub root: PathBuf,
    /// Where it is.
    pub point: PathBuf,
    /// The kind of file system.
    pub kind: String,
}

/// systemd's automount points wait there for their file system.
const AUTOMOUNT: &str = "autofs";

impl MountTable {
    /// A table of these mounts.
    #[must_use]
    pub fn of(mounts: Vec<Mount>) -> Self {
        Self(mounts)
    }

    /// Reads the text of mountinfo.
    ///
    /// # Errors
    /// A line is not as proc_pid_mountinfo(5) has it, or there are more than any kernel allows.
    pub fn parse(text: &[u8]) -> io::Result<Self> {
        let malformed = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
        let mut mounts = Vec::new();
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            if mounts.len() == MAX_MOUNTS {
                return Err(malformed("it has more than 100,000 mounts"));
            }
            mounts.push(mount(line).ok_or_else(|| malformed("a line of it is malformed"))?);
        }
        Ok(Self(mounts))
    }

    /// The innermost mount point at or above a path and below `root`; none when that is `root`'s own file system.
    #[must_use]
    pub fn above(&self, path: &Path, root: &Path) -> Option<&Path> {
        let chain = self.chain(path);
        let real = (0..chain.len()).rev().find(|at| !is_bound_to_itself(&chain, *at))?;
        let point = chain.get(real)?.point.as_path();
        (point != root && point.starts_with(root)).then_some(point)
    }

    /// Whether the mount with this number is one at `point`, and has a file system.
    #[must_use]
    pub fn is_mounted(&self, id: u64, point: &Path) -> bool {
        let mut at = self.get(id);
        // A directory that is bound to its own place is as its parent is.
        for _ in 0..MAX_STACKED {
            match at {
                Some(mount) if mount.point == point => match self.get(mount.parent) {
                    Some(parent) if mount.shows_the_same_as(parent) => at = Some(parent),
                    _ => return mount.kind != AUTOMOUNT,
                },
                _ => return false,
            }
        }
        false
    }

    fn get(&self, id: u64) -> Option<&Mount> {
        self.0.iter().find(|mount| mount.id == id)
    }

    /// The mounts that the kernel goes through on its way to a path, the outermost first.
    fn chain(&self, path: &Path) -> Vec<&Mount> {
        let mut chain: Vec<&Mount> = Vec::new();
        while chain.len() < MAX_STACKED {
            let on = |mount: &&Mount| match chain.last() {
                Some(last) => mount.parent == last.id && mount.id != last.id,
                // The outermost is on a mount that is not of this namespace, or on itself.
                None => mount.parent == mount.id || self.get(mount.parent).is_none(),
            };
            let crossed = self.0.iter().filter(|mount| path.starts_with(&mount.point)).filter(on);
            match crossed.min_by_key(|mount| mount.point.components().count()) {
                Some(next) => chain.push(next),
                None => break,
            }
        }
        chain
    }
}

/// So many mounts lie in each other, or on each other, at most: more is no sensible machine.
const MAX_STACKED: usize = 1000;

impl Mount {
    /// Whether the same files are there without it.
    fn shows_the_same_as(&self, parent: &Self) -> bool {
        let inside = self.point.strip_prefix(&parent.point).ok();
        self.device == parent.device && inside.is_some_and(|inside| self.root == join(&parent.root, inside))
    }
}

fn is_bound_to_itself(chain: &[&Mount], at: usize) -> bool {
    let parent = at.checked_sub(1).and_then(|before| chain.get(before));
    chain.get(at).zip(parent).is_some_and(|(mount, parent)| mount.shows_the_same_as(parent))
}

/// `join` puts a slash behind what it adds nothing to.
fn join(path: &Path, more: &Path) -> PathBuf {
    if more.as_os_str().is_empty() { path.to_owned() } else { path.join(more) }
}

/// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`
fn mount(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let text = |field: &[u8]| String::from_utf8(field.to_vec()).ok();
    let id = text(fields.next()?)?.parse().ok()?;
    let parent = text(fields.next()?)?.parse().ok()?;
    let device = text(fields.next()?)?;
    let root = unescaped(fields.next()?);
    let point = unescaped(fields.next()?);
    // Any number of optional fields, and then a hyphen.
    let kind = text(fields.skip_while(|field| *field != b"-").nth(1)?)?;
    point.is_absolute().then_some(Mount { id, parent, device, root, point, kind })
}

/// A path whose blanks, tabs, line breaks and backslashes are written as three octal digits (`\040`).
pub(super) fn unescaped(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let escaped =
            after.get(..3).filter(|digits| *first == b'\\' && digits.iter().all(|d| (b'0'..=b'7').contains(d)));
        let number =
            escaped.map(|digits| digits.iter().fold(0_u32, |number, digit| number * 8 + u32::from(digit - b'0')));
        match number.and_then(|number| u8::try_from(number).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
        25 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
        26 25 0:5 / /dev rw - devtmpfs udev rw\n\
        40 25 0:45 / /mnt/pve/nfs rw,relatime shared:22 master:1 - nfs4 10.0.0.5:/x rw\n\
        41 25 0:46 / /mnt/with\\040blank\\134x rw - tmpfs none rw\n\
        42 40 0:47 / /mnt/pve/nfs/inner rw - tmpfs none rw\n\
        50 25 8:1 /etc/ssl /etc/ssl rw - ext4 /dev/sda1 rw\n\
        51 40 0:45 / /mnt/pve/nfs rw - nfs4 10.0.0.5:/x rw\n\
        60 25 8:1 /srv/elsewhere /srv/bound rw - ext4 /dev/sda1 rw\n\
        70 25 0:60 / /auto rw - autofs systemd-1 rw\n\
        80 25 0:61 / /hidden/inner rw - tmpfs none rw\n\
        81 25 0:62 / /hidden rw - tmpfs none rw\n\
        90 25 8:1 /not/mounted /not/mounted rw - ext4 /dev/sda1 rw\n";

    fn above(path: &str) -> Option<String> {
        let table = MountTable::parse(TABLE.as_bytes()).expect("a table");
        table.above(Path::new(path), Path::new("/")).map(|point| point.display().to_string())
    }

    #[test]
    fn a_path_goes_through_the_mounts_that_the_kernel_takes() {
        for (path, point) in [
            ("/etc/nginx", None),
            // Bound to its own place: a unit's sandbox.
            ("/etc/ssl/vllm", None),
            ("/mnt/pve", None),
            ("/mnt/pve/nfs", Some("/mnt/pve/nfs")),
            ("/mnt/pve/nfs/archive", Some("/mnt/pve/nfs")),
            ("/mnt/pve/nfsx", None),
            ("/mnt/with blank\\x/a", Some("/mnt/with blank\\x")),
            ("/srv/bound/a", Some("/srv/bound")),
            // Under the later mount of its parent directory.
            ("/hidden/inner/a", Some("/hidden")),
        ] {
            assert_eq!(above(path).as_deref(), point, "{path}");
        }
        let table = MountTable::parse(TABLE.as_bytes()).expect("a table");
        let below = |root: &str| table.above(Path::new("/mnt/pve/nfs/a"), Path::new(root));
        assert_eq!(below("/mnt/pve/nfs"), None, "what the root itself is on is not asked for");
        assert_eq!(MountTable::default().above(Path::new("/a"), Path::new("/")), None);
    }

    #[test]
    fn a_mount_is_known_by_its_number() {
        let table = MountTable::parse(TABLE.as_bytes()).expect("a table");
        let is = |id, point: &str| table.is_mounted(id, Path::new(point));
        assert!(is(40, "/mnt/pve/nfs") && is(51, "/mnt/pve/nfs") && is(60, "/srv/bound"));
        assert!(!is(25, "/mnt/pve/nfs") && !is(42, "/mnt/pve/nfs") && !is(99, "/mnt/pve/nfs"));
        assert!(!is(70, "/auto"), "nothing is mounted there yet");
        assert!(!is(90, "/not/mounted"), "a sandbox's directory is bound to its own place");
    }

    #[test]
    fn what_is_no_table_is_refused() {
        for bad in ["x", "25 1 8:1 / /", "25 1 8:1 / mnt rw - ext4 x rw", "a 1 8:1 / / rw - ext4 x rw"] {
            assert!(MountTable::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        let many = "25 1 8:1 / / rw - ext4 x rw\n".repeat(MAX_MOUNTS + 1);
        assert!(MountTable::parse(many.as_bytes()).is_err());
        let own = std::fs::read("/proc/self/mountinfo").expect("read");
        assert!(
            MountTable::parse(&own).expect("the kernel's own").above(Path::new("/proc/self"), Path::new("/")).is_some()
        );
    }

    proptest::proptest! {
        #[test]
        fn whatever_the_text_is_it_is_read_or_refused(text in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            drop(MountTable::parse(&text));
            let path = unescaped(&text);
            proptest::prop_assert!(path.as_os_str().len() <= text.len());
        }
    }
}
