//! A file system on which somebody else exchanges two names in the middle of the work: for tests that do so after every
//! operation.

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use pinion_proto::spec::FileMode;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use zeroize::Zeroizing;

use crate::install::{
    acl::Acl,
    files::{Files, Found, NewFile, RealFiles},
    mounts::{Guard, MountTable},
};

/// The real files, and somebody who exchanges two of them by one renameat2(2) when so many operations were done.
#[derive(Debug, Clone)]
pub(crate) struct Racing {
    left: Arc<AtomicUsize>,
    names: Arc<[PathBuf; 2]>,
}

impl Racing {
    /// Exchanges these names when `left` operations more were done, and only once.
    pub(crate) fn after(left: usize, names: [PathBuf; 2]) -> Self {
        Self { left: Arc::new(AtomicUsize::new(left)), names: Arc::new(names) }
    }

    /// Whether they were exchanged.
    pub(crate) fn has_happened(&self) -> bool {
        self.left.load(Ordering::SeqCst) == usize::MAX
    }

    fn then<T>(&self, done: T) -> T {
        let next =
            |left: usize| Some(if left == usize::MAX { left } else { left.checked_sub(1).unwrap_or(usize::MAX) });
        if self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next) == Ok(0) {
            let [one, other] = &*self.names;
            renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).expect("exchanged");
        }
        done
    }
}

struct RacingFile(Box<dyn NewFile>, Racing);

impl NewFile for RacingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.1.then(self.0.write(bytes))
    }

    fn set_owner(&mut self, uid: u32, gid: u32) -> io::Result<()> {
        self.1.then(self.0.set_owner(uid, gid))
    }

    fn set_mode(&mut self, mode: u32) -> io::Result<()> {
        self.1.then(self.0.set_mode(mode))
    }

    fn set_acl(&mut self, acl: Option<&Acl>, mode: FileMode) -> io::Result<()> {
        self.1.then(self.0.set_acl(acl, mode))
    }

    fn sync(&mut self) -> io::Result<()> {
        self.1.then(self.0.sync())
    }
}

impl Files for Racing {
    fn look(&self, path: &Path) -> io::Result<Option<Found>> {
        self.then(RealFiles.look(path))
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        self.then(RealFiles.read_link(path))
    }

    fn read(&self, path: &Path, max: u64) -> io::Result<Zeroizing<Vec<u8>>> {
        self.then(RealFiles.read(path, max))
    }

    fn acl(&self, path: &Path) -> io::Result<Option<Acl>> {
        self.then(RealFiles.acl(path))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        self.then(RealFiles.list(directory))
    }

    fn make_directory(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.then(RealFiles.make_directory(path, mode))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn NewFile>> {
        let made = RealFiles.create(path);
        self.then(made.map(|file| Box::new(RacingFile(file, self.clone())) as Box<dyn NewFile>))
    }

    fn make_link(&self, path: &Path, to: &Path) -> io::Result<()> {
        self.then(RealFiles.make_link(path, to))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.then(RealFiles.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.then(RealFiles.remove(path))
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        self.then(RealFiles.remove_directory(path))
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.then(RealFiles.sync_directory(path))
    }

    fn mounts(&self) -> io::Result<MountTable> {
        RealFiles.mounts()
    }

    fn guarded(&self, _: &Guard) -> Arc<dyn Files> {
        Arc::new(self.clone())
    }
}
