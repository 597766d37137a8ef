//! The mount points of `/etc/fstab` (fstab(5)).

use std::{io, path::PathBuf};

use pinion_proto::spec::GuestPath;

use super::table::unescaped;
use crate::{
    config::Config,
    install::{files::Files, place},
};

/// Below the root.
const FSTAB: &str = "/etc/fstab";

/// A page of text; more is some other file (bytes).
const MAX_FSTAB: u64 = 1024 * 1024;

/// Each mount is looked for at every operation below it.
const MAX_ENTRIES: usize = 4096;

/// Where something is to be mounted; nothing where there is no such file.
///
/// # Errors
/// The file is there and cannot be read, and its path.
pub(super) fn points(files: &dyn Files, config: &Config) -> Result<Vec<PathBuf>, (PathBuf, io::Error)> {
    let fstab: GuestPath = FSTAB.parse().expect("the constant is a path");
    let at = config.under_root(&fstab);
    // Some distributions have a link there.
    let at = place::real(files, config, &fstab).map_or(at, |real| real.path);
    let text = match files.read(&at, MAX_FSTAB) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        // Somebody's directory or device is no list of mounts.
        Err(e) if e.kind() == io::ErrorKind::InvalidInput => return Ok(Vec::new()),
        Err(e) => return Err((at, e)),
    };
    let named = text.split(|byte| *byte == b'\n').filter_map(point).take(MAX_ENTRIES);
    let real = |path: GuestPath| place::real(files, config, &path).map_or(config.under_root(&path), |real| real.path);
    Ok(named.map(real).filter(|point| *point != config.root).collect())
}

/// The second field of a line; none for a comment, swap space, or what is mounted at `/`.
fn point(line: &[u8]) -> Option<GuestPath> {
    let mut fields = line.split(|byte| byte.is_ascii_whitespace()).filter(|field| !field.is_empty());
    fields.next().filter(|device| !device.starts_with(b"#"))?;
    let point = unescaped(fields.next()?);
    point.to_str()?.trim_end_matches('/').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::install::files::RealFiles;

    #[test]
    fn mount_points_are_found_and_nothing_else() {
        let kept = tempfile::tempdir().expect("a temporary directory");
        let config = Config::shipped(kept.path().canonicalize().expect("a real path"));
        assert_eq!(points(&RealFiles, &config).expect("no file"), Vec::<PathBuf>::new());
        std::fs::create_dir_all(config.root.join("etc")).expect("directory");
        std::os::unix::fs::symlink("/data/srv", config.root.join("srv")).expect("link");
        let text = "# /dev/sda9 /commented ext4 defaults 0 0\n\nUUID=1 / ext4 errors=remount-ro 0 1\n\
                    UUID=2 none swap sw 0 0\n/dev/sdb1\t/mnt/with\\040blank/ ext4 noauto 0 2\n\
                    host:/x /srv/share nfs _netdev 0 0\nbroken\nproc proc proc\n";
        std::fs::write(config.root.join("etc/fstab"), text).expect("written");
        let found = points(&RealFiles, &config).expect("read");
        assert_eq!(found, ["mnt/with blank", "data/srv/share"].map(|point| config.root.join(point)));
    }
}
