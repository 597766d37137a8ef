//! Who is at the other end of a local socket? The kernel says so (SO_PEERCRED, unix(7)).
//!
//! Invariant: nothing is sent to a socket before it is known whose process listens there.

use std::{io, path::Path};

use thiserror::Error;
use tokio::net::UnixStream;

/// Why a daemon's socket could not be used.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// Nobody answers there, or it may not be opened.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Somebody else listens there.
    #[error("a process of another user (uid {uid}) listens there, so its answer is not trusted")]
    Stranger {
        /// The user of the process that listens there.
        uid: u32,
    },
}

impl ConnectError {
    /// Whether nobody listens there: there is no socket, or one that a process left behind.
    #[must_use]
    pub fn is_nobody(&self) -> bool {
        matches!(self, Self::Io(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused))
    }

    /// Whose process listens there, where that was somebody who is not believed.
    #[must_use]
    pub fn stranger(&self) -> Option<u32> {
        match self {
            Self::Io(_) => None,
            Self::Stranger { uid } => Some(*uid),
        }
    }
}

/// Connects to a daemon's socket. Believes root, and the processes of `users`.
///
/// # Errors
/// Nobody listens there, or somebody else does.
pub async fn connect(path: &Path, users: &[u32]) -> Result<UnixStream, ConnectError> {
    let stream = UnixStream::connect(path).await?;
    let uid = stream.peer_cred()?.uid();
    if uid == 0 || users.contains(&uid) { Ok(stream) } else { Err(ConnectError::Stranger { uid }) }
}
