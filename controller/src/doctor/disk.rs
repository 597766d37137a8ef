//! Room on the file systems that Pinion writes to.

use std::path::Path;

use rustix::{
    fs::{StatVfs, statvfs},
    io::Errno,
};

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
        match statvfs(&path) {
            // Several places of one file system are told once.
            Ok(room) if seen.contains(&room.f_fsid) && room.f_fsid != 0 => {}
            Ok(room) => {
                seen.push(room.f_fsid);
                judge(&path, Room::of(&room), found);
            }
            Err(Errno::NOENT) => {}
            Err(Errno::ACCESS) => found.skipped(AREA, format!("{} cannot be looked at by this user.", path.display())),
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

/// What is left of a file system, for others than root.
#[derive(Debug, Clone, Copy)]
struct Room {
    bytes: u64,
    all_bytes: u64,
    inodes: u64,
    all_inodes: u64,
    is_read_only: bool,
}

impl Room {
    fn of(room: &StatVfs) -> Self {
        Self {
            bytes: room.f_bavail.saturating_mul(room.f_frsize),
            all_bytes: room.f_blocks.saturating_mul(room.f_frsize),
            inodes: room.f_favail,
            all_inodes: room.f_files,
            is_read_only: room.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY),
        }
    }
}

fn judge(path: &Path, room: Room, found: &mut Findings) {
    let shown = path.display();
    let free = "free some space: `du -xh --max-depth=2 / | sort -h | tail` shows what takes it";
    if room.is_read_only {
        let remedy = "find out why with `dmesg`; after a repair run `mount -o remount,rw` on it";
        found.problem(AREA, format!("{shown} is on a file system that is mounted read-only."), remedy);
    }
    if room.bytes < MIN_BYTES {
        found.problem(AREA, format!("{shown} is on a file system with {} left.", size(room.bytes)), free);
    } else if room.bytes < SCARCE_BYTES && room.bytes.saturating_mul(100) < room.all_bytes.saturating_mul(SCARCE) {
        let message = format!("{shown} is on a file system that is nearly full: {} left.", size(room.bytes));
        found.note(AREA, message, free.to_owned());
    }
    // File systems that make inodes as they need them say that they have none at all.
    if room.all_inodes > 0 && room.inodes < MIN_INODES {
        let remedy = "remove small files: `du -x --inodes / | sort -n | tail` shows where they are";
        found.problem(AREA, format!("{shown} is on a file system with {} free inodes.", room.inodes), remedy);
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
        let good =
            Room { bytes: 50 * GIB, all_bytes: 100 * GIB, inodes: 5000, all_inodes: 10_000, is_read_only: false };
        let told = |room| {
            let mut found = Findings::default();
            judge(Path::new("/var"), room, &mut found);
            found
                .0
                .iter()
                .map(|finding| format!("{:?} {}", finding.level, finding.message))
                .collect::<Vec<_>>()
                .join("; ")
        };
        assert_eq!(told(good), "");
        let full = told(Room { bytes: MIN_BYTES - 1, ..good });
        assert_eq!(full, "Problem /var is on a file system with 63 MiB left.");
        assert!(
            told(Room { bytes: MIN_BYTES, ..good }).starts_with("Note /var is on a file system that is nearly full")
        );
        let small = Room { bytes: GIB, all_bytes: 20 * GIB, ..good };
        assert_eq!(told(small), "", "exactly what is not scarce");
        assert!(told(Room { bytes: GIB - 1, ..small }).starts_with("Note"));
        assert_eq!(told(Room { bytes: 2 * GIB, ..good }), "", "there is enough, however large the whole is");
        assert!(told(Room { inodes: 999, ..good }).contains("999 free inodes"));
        assert_eq!(told(Room { inodes: 0, all_inodes: 0, ..good }), "", "btrfs has no such number");
        assert!(told(Room { is_read_only: true, ..good }).contains("read-only"));
    }
}
