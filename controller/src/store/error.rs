//! Why a document could not be read or written, in words that help at three in the morning.

use std::{io, path::PathBuf};

use thiserror::Error;

use super::{document::VERSION, writable::is_full};

/// Why a document could not be read or written.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The operating system refuses.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// The operation.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Shared state cannot be written: the nodes that share it have no quorum, or its disk is full.
    #[error("the shared state at {} cannot be written ({})", path.display(), guess(source))]
    ReadOnly {
        /// The shared directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Shared state that was there is not there any more, while this controller runs.
    #[error(
        "{} is gone: it was removed while the controller runs, or its file system is not mounted any more, and nothing is \
         made in its place; put it back, from a backup if there is no other way, and restart pinion",
        path.display()
    )]
    Gone {
        /// The file or directory.
        path: PathBuf,
    },
    /// Another process has the store open.
    #[error(
        "{} is locked: another pinion controller runs with these directories; \
         stop it (systemctl stop pinion) or give this one directories of its own",
        path.display()
    )]
    Locked {
        /// The lock.
        path: PathBuf,
    },
    /// The file holds something else than the document.
    #[error("{} cannot be understood: {why}; restore it from a backup, or move it away to start without it", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and column.
        why: String,
    },
    /// The file was written by a newer program.
    #[error(
        "{} has format {version}, written by a newer Pinion, and this one reads format {VERSION}; \
         upgrade pinion on this host, or restore the file of before the upgrade",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format's number.
        version: u32,
    },
    /// Larger than any document.
    #[error("{} is larger than the {most} bytes a document may have; if it is not pinion's, move it away", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit in bytes.
        most: usize,
    },
    /// The value has no form as JSON.
    #[error("cannot put {} into JSON", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// Not a document's name.
    #[error("`{0}` is not the name of a document")]
    Name(String),
}

/// What is behind it most likely; the system's own reason follows.
fn guess(source: &io::Error) -> &'static str {
    if is_full(source) { "its disk is full" } else { "no quorum?" }
}
