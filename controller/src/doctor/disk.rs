//! Room on the file systems that Pinion writes to.

use std::{io::ErrorKind, path::Path};

use pinion_proto::file_system::{FileSystem, make_room, make_writable, remove_files};

use super::report::{Area, Findings};

const AREA: Area = Area::Disk;

/// Less than this is as good as full: the events of a busy week, and a new state document beside the old one (bytes).
const MIN_BYTES: u64 = 64 * 1024 * 1024;

/// Fewer free inodes than this are as good as none: each guest has a document, which is replaced by another file.
const MIN_INODES: u64 = 1000;

/// Below this share of the whole (percent), and below so much (bytes), a person may want to know.
const SCARCE: u64 = 5;
const SCARCE_BYTES: u64 = 2 * 1024 * 1024 * 1024;

/// Where Pinion writes, and the journal.
const PLACES: [&str; 4] = ["var/lib/pinion", "etc/pinion", "run", "var/log"];

pub(super) fn check(root: &Path, found: &mut Findings) {
    let mut seen: Vec<u64> = Vec::new();
    let before = found.0.len();
    for place in PLACES {
        let path = root.join(place);
        match FileSystem::of(&path, root) {
            // Places on the same file system are reported once.
            Ok(room) if seen.contains(&room.device) => {}
            Ok(room) => {
                seen.push(room.device);
                judge(&path, &room, found);
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                found.skipped(AREA, format!("{} cannot be looked at by this user.", path.display()));
            }
            Err(error) => {
                let message = format!("{} cannot be looked at: {error}.", path.display());
                found.problem(AREA, message, "look at the file system there: `findmnt`, `dmesg`");
            }
        }
    }
    if found.0.len() == before {
        found.good(AREA, "There is room on the file systems that Pinion writes to, and there are free inodes.");
    }
}

fn judge(path: &Path, room: &FileSystem, found: &mut Findings) {
    let (shown, mount) = (path.display(), room.mount.display());
    if room.is_read_only {
        let message = format!("{shown} is on a file system that is mounted read-only.");
        found.problem(AREA, message, make_writable(&mount));
    }
    if room.bytes < MIN_BYTES {
        let message = format!("{shown} is on a file system with {} left.", size(room.bytes));
        found.problem(AREA, message, make_room(&mount));
    } else if room.bytes < SCARCE_BYTES && room.bytes.saturating_mul(100) < room.all_bytes.saturating_mul(SCARCE) {
        let message = format!("{shown} is on a file system that is nearly full: {} left.", size(room.bytes));
        found.note(AREA, message, make_room(&mount));
    }
    if room.lacks_inodes(MIN_INODES) {
        let message = format!("{shown} is on a file system with {} free inodes.", room.inodes);
        found.problem(AREA, message, remove_files(&mount));
    }
}

fn size(bytes: u64) -> String {
    const MIB: u64 = 1024 * 1024;
    match bytes {
        _ if bytes >= 10 * 1024 * MIB => format!("{} GiB", bytes / (1024 * MIB)),
        _ => format!("{} MiB", bytes / MIB),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_full_is_a_problem_and_what_is_scarce_is_a_note() {
        const GIB: u64 = 1024 * 1024 * 1024;
        let good = FileSystem {
            device: 1,
            mount: "/".into(),
            bytes: 50 * GIB,
            all_bytes: 100 * GIB,
            inodes: 5000,
            all_inodes: 10_000,
            is_read_only: false,
        };
        let told = |room: FileSystem| {
            let mut found = Findings::default();
            judge(Path::new("/var"), &room, &mut found);
            let words = found.0.iter().map(|finding| format!("{:?} {}", finding.level, finding.message));
            words.collect::<Vec<_>>().join("; ")
        };
        assert_eq!(told(good.clone()), "");
        let full = told(FileSystem { bytes: MIN_BYTES - 1, ..good.clone() });
        assert_eq!(full, "Problem /var is on a file system with 63 MiB left.");
        assert!(
            told(FileSystem { bytes: MIN_BYTES, ..good.clone() })
                .starts_with("Note /var is on a file system that is nearly full")
        );
        let small = FileSystem { bytes: GIB, all_bytes: 20 * GIB, ..good.clone() };
        assert_eq!(told(small.clone()), "", "exactly what is not scarce");
        assert!(told(FileSystem { bytes: GIB - 1, ..small }).starts_with("Note"));
        assert_eq!(
            told(FileSystem { bytes: 2 * GIB, ..good.clone() }),
            "",
            "there is enough, however large the whole is"
        );
        assert!(told(FileSystem { inodes: 999, ..good.clone() }).contains("999 free inodes"));
        assert_eq!(told(FileSystem { inodes: 0, all_inodes: 0, ..good.clone() }), "", "btrfs has no such number");
        assert!(told(FileSystem { is_read_only: true, ..good }).contains("read-only"));
    }
}
