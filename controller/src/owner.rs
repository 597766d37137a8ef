//! Doing something in another user's directory as that user.
//!
//! Answers: whose is this directory, and what would its owner see and make there?
//! Invariant: whoever owns a directory can put a link in the place of any name below it, so root does nothing there by
//! its own rights: the kernel refuses whatever the owner could not do by themselves.

use std::{io, os::unix::fs::MetadataExt, path::Path, thread};

use rustix::{
    process::{Gid, Uid, geteuid},
    thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid},
};

/// A user and a group other than root's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) user: u32,
    pub(crate) group: u32,
}

impl Owner {
    /// Whose `path` is: of all directories from below `root` to it, the first that is not root's decides. None where all
    /// are root's, and for whoever is not root.
    pub(crate) fn of(root: &Path, path: &Path) -> io::Result<Option<Self>> {
        if !geteuid().is_root() {
            return Ok(None);
        }
        let mut on_the_way: Vec<_> = path.ancestors().take_while(|directory| *directory != root).collect();
        on_the_way.reverse();
        for directory in on_the_way {
            match directory.symlink_metadata() {
                Ok(found) if found.uid() != 0 => return Ok(Some(Self { user: found.uid(), group: found.gid() })),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}

/// Does `work` as this user, in a thread of its own; without one, as whoever this process is.
pub(crate) fn act<T: Send>(as_whom: Option<Owner>, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    let Some(Owner { user, group }) = as_whom else { return Ok(work()) };
    let become_owner = move || {
        set_thread_groups(&[])?;
        set_thread_res_gid(None, Gid::from_raw(group), None)?;
        // Only the effective user: the real one stays root's, so that the owner can send this process no signals.
        set_thread_res_uid(None, Uid::from_raw(user), None)
    };
    thread::scope(|scope| {
        let acting = thread::Builder::new().spawn_scoped(scope, move || become_owner().map(|()| work()))?;
        match acting.join() {
            Ok(done) => Ok(done?),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{PermissionsExt, chown},
    };

    use super::*;

    #[test]
    fn what_the_owner_may_not_do_root_does_not_do_for_them() {
        if !geteuid().is_root() {
            return;
        }
        let root = tempfile::tempdir().expect("a directory");
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).expect("open");
        let secret = root.path().join("secret");
        fs::write(&secret, "secret").expect("written");
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).expect("closed");
        let theirs = root.path().join("theirs");
        fs::create_dir(&theirs).expect("made");
        assert_eq!(Owner::of(root.path(), &theirs).expect("looked"), None);
        chown(&theirs, Some(998), Some(997)).expect("given away");
        let owner = Owner::of(root.path(), &theirs.join("below")).expect("looked");
        assert_eq!(owner, Some(Owner { user: 998, group: 997 }));
        std::os::unix::fs::symlink(&secret, theirs.join("link")).expect("a link");
        let refused = act(owner, || fs::read(theirs.join("link"))).expect("acted").expect_err("not theirs");
        assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
        act(owner, || fs::write(theirs.join("made"), "")).expect("acted").expect("written");
        let made = fs::metadata(theirs.join("made")).expect("there");
        assert_eq!((made.uid(), made.gid()), (998, 997));
        // Nobody else's thread has changed.
        assert!(geteuid().is_root());
        fs::read(theirs.join("link")).expect("root reads it");
    }
}
