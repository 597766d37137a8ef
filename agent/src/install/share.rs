//! Directories that a server shares, such as NFS: what their own failures mean.
//!
//! Answers: is this the share's doing rather than this machine's, and who must act?
//! Invariant: nothing is opened for it; a file system is asked for its kind only after it has answered an operation.

use std::{io, path::Path};

use rustix::fs::{FsWord, NFS_SUPER_MAGIC, statfs};

/// File systems on which a server decides who may do what: NFS, SMB, 9p and Ceph (linux/magic.h). FUSE is not among them:
/// Proxmox's `/etc/pve` is of that kind, and refuses for reasons of its own.
const SHARED: [FsWord; 5] = [NFS_SUPER_MAGIC, 0xff53_4d42, 0xfe53_4d42, 0x0102_1997, 0x00c3_6400];

/// Whether the share is not there now: it passes when it is mounted or reached again, however long that takes.
pub(super) fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{HostUnreachable, NetworkUnreachable, NotConnected, StaleNetworkFileHandle, TimedOut};
    matches!(error.kind(), StaleNetworkFileHandle | NotConnected | TimedOut | HostUnreachable | NetworkUnreachable)
}

/// What a person can do about a cluster without quorum.
pub(super) const QUORUM: &str = "nobody can write below /etc/pve while the cluster has no quorum: `pvecm status` \
    shows the missing nodes; Pinion continues by itself when they are back";

/// Whether Proxmox's own file system refuses root to write, as it does while the cluster has no quorum.
pub(super) fn has_no_quorum(error: &io::Error, path: &Path) -> bool {
    path.starts_with("/etc/pve")
        && rustix::process::geteuid().is_root()
        && matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

/// What a person can do about an operation that failed there; none when it has nothing to do with a share.
pub(super) fn remedy(error: &io::Error, path: &Path) -> Option<String> {
    let refused_to_root =
        error.kind() == io::ErrorKind::PermissionDenied && rustix::process::geteuid().is_root() && is_shared(path);
    words(error, refused_to_root, path)
}

fn words(error: &io::Error, refused_to_root: bool, path: &Path) -> Option<String> {
    let directory = path.parent().unwrap_or(path).display();
    let path = path.display();
    if error.kind() == io::ErrorKind::StaleNetworkFileHandle {
        return Some(format!(
            "the share that {path} is on went away and must be mounted again: run `umount -l` and `mount` for its \
             mount point; Pinion then continues by itself"
        ));
    }
    if is_gone(error) {
        return Some(format!(
            "the server that {path} is on does not answer: check the server and the network; Pinion continues by \
             itself when it is back"
        ));
    }
    refused_to_root.then(|| {
        format!(
            "the server maps root to another user: let root of this machine be root there (`no_root_squash` in the \
             server's exports), or give {directory} to the user that root becomes, often `nobody`, and name that \
             user as the files' owner and group in the manifest"
        )
    })
}

/// Whether the nearest directory that is there is on a share.
pub(crate) fn is_shared(path: &Path) -> bool {
    path.ancestors().find_map(|at| statfs(at).ok()).is_some_and(|found| SHARED.contains(&found.f_type))
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    fn remedy_of(errno: Errno, refused_to_root: bool) -> Option<String> {
        words(&errno.into(), refused_to_root, Path::new("/srv/share/key.pem"))
    }

    #[test]
    fn each_failure_is_told_as_what_it_is() {
        for (errno, refused_to_root, says) in [
            (Errno::STALE, false, "went away and must be mounted again"),
            (Errno::NOTCONN, false, "does not answer"),
            (Errno::TIMEDOUT, false, "does not answer"),
            (Errno::ACCESS, true, "maps root to another user"),
            (Errno::PERM, true, "maps root to another user"),
        ] {
            let remedy = remedy_of(errno, refused_to_root).unwrap_or_default();
            assert!(remedy.contains(says) && remedy.contains("/srv/share"), "{errno}: {remedy}");
        }
        for errno in [Errno::ACCESS, Errno::NOSPC, Errno::ROFS, Errno::IO] {
            assert_eq!(remedy_of(errno, false), None, "{errno} is this machine's own");
        }
    }

    #[test]
    fn root_is_refused_below_etc_pve_for_want_of_quorum() {
        let refused = |errno: Errno, path| has_no_quorum(&errno.into(), Path::new(path));
        let root = rustix::process::geteuid().is_root();
        assert_eq!(refused(Errno::ACCESS, "/etc/pve/local/pveproxy-ssl.pem"), root);
        assert_eq!(refused(Errno::ROFS, "/etc/pve/local/pveproxy-ssl.pem"), root);
        assert!(!refused(Errno::ACCESS, "/etc/pveproxy") && !refused(Errno::NOSPC, "/etc/pve/local/x"));
    }

    #[test]
    fn a_directory_of_this_machine_is_no_share() {
        let directory = tempfile::tempdir().expect("a directory");
        assert!(!is_shared(&directory.path().join("not/there/yet")));
        assert_eq!(remedy(&Errno::PERM.into(), &directory.path().join("file")), None);
    }
}
