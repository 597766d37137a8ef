//! How many links this agent has begun since it joined: what shows the controller that a guest was taken back to an
//! earlier state.
//!
//! Invariant: a number is on disk before it is said, so it is said once. Where the disk refuses nothing is said, and the
//! link is begun all the same.

use std::{
    io,
    path::{Path, PathBuf},
};

use tracing::warn;

use crate::{
    config::Config,
    install::{files::Files, replace::replace},
};

/// The file's name, in the agent's own directory.
pub const FILE: &str = "links";

/// The longest number and a line's end (bytes).
const MAX_DOCUMENT: u64 = 32;

/// Where it is kept.
#[must_use]
pub fn path(config: &Config) -> PathBuf {
    config.state.join(FILE)
}

/// The number of the link that begins now; 0 when it cannot be counted.
#[must_use]
pub fn next(config: &Config, files: &dyn Files) -> u64 {
    let path = path(config);
    let counted = read(files, &path).and_then(|before| {
        let next = before.checked_add(1).ok_or_else(|| io::Error::other("there is no higher number"))?;
        replace(files, &path, format!("{next}\n").as_bytes(), 0o600)?;
        Ok(next)
    });
    counted.unwrap_or_else(|error| {
        warn!(path = %path.display(), %error, "Cannot count this link; the controller may not notice a rollback of \
            this guest");
        0
    })
}

/// Begins to count anew: the guest joins.
///
/// # Errors
/// The file cannot be removed.
pub fn forget(config: &Config, files: &dyn Files) -> io::Result<()> {
    match files.remove(&path(config)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn read(files: &dyn Files, path: &Path) -> io::Result<u64> {
    match files.read(path, MAX_DOCUMENT) {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            text.trim().parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it does not contain a number"))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::install::files::RealFiles;

    #[test]
    fn each_link_has_a_number_of_its_own_until_the_guest_joins_anew() {
        let (_root, config) = Config::for_test();
        assert_eq!([(); 3].map(|()| next(&config, &RealFiles)), [1, 2, 3]);
        forget(&config, &RealFiles).expect("forgotten");
        forget(&config, &RealFiles).expect("nothing to forget");
        assert_eq!(next(&config, &RealFiles), 1);
    }

    #[test]
    fn a_number_that_is_not_on_disk_is_not_said() {
        let (_root, config) = Config::for_test();
        for broken in ["", "seven\n", "18446744073709551615\n"] {
            fs::write(path(&config), broken).expect("written");
            assert_eq!(next(&config, &RealFiles), 0, "{broken:?}");
        }
        fs::remove_dir_all(&config.state).expect("removed");
        assert_eq!(next(&config, &RealFiles), 0);
    }
}
