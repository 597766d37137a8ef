//! Files as one look at them finds them: where a look comes by a path again, it is not asked for again.
//!
//! Answers: what does it take to look at a placement's files? Each of them is looked at several times on the way, and their
//! directories a dozen times, each time with three system calls.
//! Invariant: it is used for as long as one look takes, and what changes a file or a directory (a look makes passwords that are
//! missing) makes it forget all. A file's content is not kept.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use pinion_proto::lock::lock;
use zeroize::Zeroizing;

use super::{
    acl::Acl,
    files::{Files, Found, NewFile},
    mounts::{Guard, MountTable},
};

/// Files, and what was found of them.
#[derive(Debug)]
pub struct Snapshot {
    files: Arc<dyn Files>,
    found: Mutex<BTreeMap<PathBuf, Option<Found>>>,
    mounts: Mutex<Option<MountTable>>,
}

impl Snapshot {
    /// Of these files, from now on.
    #[must_use]
    pub fn of(files: Arc<dyn Files>) -> Self {
        Self { files, found: Mutex::default(), mounts: Mutex::default() }
    }

    /// The files, of which nothing is known after what is done to them now.
    fn changing(&self) -> &dyn Files {
        lock(&self.found).clear();
        &*self.files
    }
}

impl Files for Snapshot {
    fn look(&self, path: &Path) -> io::Result<Option<Found>> {
        if let Some(found) = lock(&self.found).get(path) {
            return Ok(*found);
        }
        let found = self.files.look(path)?;
        lock(&self.found).insert(path.to_owned(), found);
        Ok(found)
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        self.files.read_link(path)
    }

    fn read(&self, path: &Path, max: u64) -> io::Result<Zeroizing<Vec<u8>>> {
        self.files.read(path, max)
    }

    fn acl(&self, path: &Path) -> io::Result<Option<Acl>> {
        self.files.acl(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        self.files.list(directory)
    }

    fn make_directory(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.changing().make_directory(path, mode)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn NewFile>> {
        self.changing().create(path)
    }

    fn make_link(&self, path: &Path, to: &Path) -> io::Result<()> {
        self.changing().make_link(path, to)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.changing().rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.changing().remove(path)
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        self.changing().remove_directory(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.files.sync_directory(path)
    }

    fn mounts(&self) -> io::Result<MountTable> {
        let mut mounts = lock(&self.mounts);
        if let Some(known) = &*mounts {
            return Ok(known.clone());
        }
        let table = self.files.mounts()?;
        *mounts = Some(table.clone());
        Ok(table)
    }

    /// What a guard lets be used is looked at anew.
    fn guarded(&self, guard: &Guard) -> Arc<dyn Files> {
        Arc::new(Self::of(self.files.guarded(guard)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::install::{
        files::RealFiles,
        mounts::{Need, What},
    };

    #[test]
    fn what_was_looked_at_is_not_looked_at_again_until_something_is_changed() {
        let kept = tempfile::tempdir().expect("a temporary directory");
        let directory = kept.path().canonicalize().expect("a real path");
        let (file, other) = (directory.join("file"), directory.join("other"));
        std::fs::write(&file, "x").expect("file");
        let snapshot = Snapshot::of(Arc::new(RealFiles));
        let before = snapshot.look(&file).expect("looked").expect("there");
        assert_eq!(snapshot.look(&other).expect("looked"), None);
        std::fs::write(&file, "longer").expect("file");
        std::fs::write(&other, "x").expect("file");
        assert_eq!(snapshot.look(&file).expect("looked"), Some(before));
        assert_eq!(snapshot.look(&other).expect("looked"), None);
        assert_eq!(snapshot.read(&file, 10).expect("read").as_slice(), b"longer");
        // What cannot be looked at is looked at again.
        let below = directory.join("new/file");
        snapshot.look(&below).expect_err("its directory is not there");
        std::fs::create_dir(directory.join("new")).expect("directory");
        assert_eq!(snapshot.look(&below).expect("looked"), None);
        // What changes something makes all of it unknown.
        drop(snapshot.create(&below).expect("made"));
        assert!(snapshot.look(&below).expect("looked").is_some());
        assert!(snapshot.look(&other).expect("looked").is_some());
        snapshot.rename(&below, &other).expect("renamed");
        assert_eq!(snapshot.look(&below).expect("looked"), None);
        snapshot.remove(&other).expect("removed");
        assert_eq!(snapshot.look(&other).expect("looked"), None);
    }

    #[test]
    fn a_guard_is_asked_also_of_what_is_known() {
        let kept = tempfile::tempdir().expect("a temporary directory");
        let directory = kept.path().canonicalize().expect("a real path");
        let snapshot = Snapshot::of(Arc::new(RealFiles));
        let inside = directory.join("file");
        assert_eq!(snapshot.look(&inside).expect("looked"), None);
        let guarded = snapshot.guarded(&Guard::of([Need { point: directory, what: What::Anything }]));
        guarded.look(&inside).expect_err("nothing is mounted there");
    }
}
