//! Why a document could not be read or written, in words that help at three in the morning.

use std::{io, path::PathBuf};

use thiserror::Error;

use super::{document::VERSION, refusal::is_full};

/// Why a document could not be read or written.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The operating system refuses.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// The operation that failed, as a verb: `read`, `rename`.
        doing: &'static str,
        /// The file or directory that it was for.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Shared state cannot be written: the nodes that share it have no quorum, or its disk is full.
    #[error("the shared state at {} cannot be written ({})", path.display(), guess(source))]
    ReadOnly {
        /// The directory of the shared state.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Shared state that was there is not there any more, while this controller runs.
    #[error(
        "{} is gone: someone removed it while the controller was running, or its file system is no longer mounted. \
         Pinion does not recreate it: put it back, from a backup if necessary, and restart pinion",
        path.display()
    )]
    Gone {
        /// The file or directory.
        path: PathBuf,
    },
    /// Another process has the store open.
    #[error(
        "{} is locked: another controller uses these directories; stop it (systemctl stop pinion), or give this one \
         its own directories",
        path.display()
    )]
    Locked {
        /// The lock's file.
        path: PathBuf,
    },
    /// The file holds something else than the document.
    #[error("cannot read {}: {why}; restore it from a backup, or move it away to start without it", path.display())]
    Malformed {
        /// The document's file.
        path: PathBuf,
        /// What is wrong, with line and column.
        why: String,
    },
    /// The file was written by a newer program.
    #[error(
        "{} has format {version}, written by a newer Pinion, but this one reads format {VERSION}; upgrade pinion on \
         this host, or restore the file from before the upgrade",
        path.display()
    )]
    Newer {
        /// The document's file.
        path: PathBuf,
        /// The format number in the document.
        version: u32,
    },
    /// Larger than any document.
    #[error("{} is larger than the {max} bytes that a document may have; if it is not Pinion's, move it away", path.display())]
    TooLarge {
        /// The document's file.
        path: PathBuf,
        /// The limit in bytes.
        max: usize,
    },
    /// The value has no form as JSON.
    #[error("cannot write {} as JSON", path.display())]
    Unwritable {
        /// The document's file.
        path: PathBuf,
        /// The serializer's reason.
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
