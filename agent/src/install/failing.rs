//! A file system whose power goes: for tests that cut at every operation.

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use zeroize::Zeroizing;

use super::files::{Files, Found, NewFile, RealFiles};

/// Does so many more changes, and then nothing any more: a write that is cut is half done.
#[derive(Debug)]
pub(crate) struct Failing(Arc<AtomicUsize>);

impl Failing {
    /// Fails as soon as `left` is spent.
    pub(crate) fn after(left: &Arc<AtomicUsize>) -> Self {
        Self(Arc::clone(left))
    }

    fn change(&self) -> io::Result<()> {
        spend(&self.0)
    }
}

fn spend(left: &AtomicUsize) -> io::Result<()> {
    let spent = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
    spent.map(drop).map_err(|_| io::Error::other("the power is gone"))
}

struct FailingFile(Box<dyn NewFile>, Arc<AtomicUsize>);

impl NewFile for FailingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Err(e) = spend(&self.1) {
            self.0.write(&bytes[..bytes.len() / 2])?;
            return Err(e);
        }
        self.0.write(bytes)
    }

    fn set_owner(&mut self, uid: u32, gid: u32) -> io::Result<()> {
        spend(&self.1)?;
        self.0.set_owner(uid, gid)
    }

    fn set_mode(&mut self, mode: u32) -> io::Result<()> {
        spend(&self.1)?;
        self.0.set_mode(mode)
    }

    fn sync(&mut self) -> io::Result<()> {
        spend(&self.1)?;
        self.0.sync()
    }
}

impl Files for Failing {
    fn look(&self, path: &Path) -> io::Result<Option<Found>> {
        RealFiles.look(path)
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        RealFiles.read_link(path)
    }

    fn read(&self, path: &Path, most: u64) -> io::Result<Zeroizing<Vec<u8>>> {
        RealFiles.read(path, most)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        RealFiles.list(directory)
    }

    fn make_directory(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.change()?;
        RealFiles.make_directory(path, mode)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn NewFile>> {
        self.change()?;
        Ok(Box::new(FailingFile(RealFiles.create(path)?, Arc::clone(&self.0))))
    }

    fn make_link(&self, path: &Path, to: &Path) -> io::Result<()> {
        self.change()?;
        RealFiles.make_link(path, to)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change()?;
        RealFiles.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.change()?;
        RealFiles.remove(path)
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        self.change()?;
        RealFiles.remove_directory(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.change()?;
        RealFiles.sync_directory(path)
    }
}
