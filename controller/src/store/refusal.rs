//! What a refused write says about the file system.

use std::io;

/// Whether nothing can be written there: what pmxcfs says without quorum or when it has died, and other file systems
/// when they are full, read-only, another user's or broken.
pub(super) fn is_refusal(error: &io::Error) -> bool {
    use io::ErrorKind::{
        NotConnected, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, ResourceBusy, StaleNetworkFileHandle,
        StorageFull, TimedOut,
    };
    let kinds = [
        NotConnected,
        PermissionDenied,
        QuotaExceeded,
        ReadOnlyFilesystem,
        ResourceBusy,
        StaleNetworkFileHandle,
        StorageFull,
        TimedOut,
    ];
    kinds.contains(&error.kind()) || error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}

/// Whether a disk is full, for words.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
