//! A file system whose power goes, or that has one fault: for tests that do so at every operation.

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
use rustix::io::Errno;
use zeroize::Zeroizing;

use crate::install::{
    acl::Acl,
    files::{Files, Found, NewFile, RealFiles},
    mounts::{Guard, MountTable},
};

/// Does so many more changes, and then fails: a write that fails is half done.
#[derive(Debug, Clone)]
pub(crate) struct Failing {
    left: Arc<AtomicUsize>,
    fault: Fault,
    /// So many one after the other.
    span: usize,
    /// What is left of it without the fault.
    inner: Arc<dyn Files>,
}

/// How it fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Nothing is done any more.
    PowerCut,
    /// One change is refused so, and the next ones are done again.
    Once(Errno),
    /// The same for some operations of any kind, looks and reads too.
    SomeOfAny(Errno),
}

impl Failing {
    /// The power goes as soon as `left` is spent.
    pub(crate) fn after(left: &Arc<AtomicUsize>) -> Self {
        Self { left: Arc::clone(left), fault: Fault::PowerCut, span: 1, inner: Arc::new(RealFiles) }
    }

    /// One change fails when `left` is spent; then it is far from being spent again.
    pub(crate) fn once_after(left: &Arc<AtomicUsize>, with: Errno) -> Self {
        Self { left: Arc::clone(left), fault: Fault::Once(with), span: 1, inner: Arc::new(RealFiles) }
    }

    /// So many operations of any kind fail, one after the other, when `left` is less than that; then it is far from being
    /// spent again.
    pub(crate) fn some_of_any_after(left: &Arc<AtomicUsize>, with: Errno, span: usize) -> Self {
        Self { left: Arc::clone(left), fault: Fault::SomeOfAny(with), span, inner: Arc::new(RealFiles) }
    }

    fn change(&self) -> io::Result<()> {
        let next = |left: usize| match self.fault {
            Fault::PowerCut => left.checked_sub(1),
            Fault::Once(_) | Fault::SomeOfAny(_) => Some(left.checked_sub(1).unwrap_or(usize::MAX)),
        };
        let before = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next);
        match (before, self.fault) {
            (Err(_), _) => Err(io::Error::other("the power is gone")),
            (Ok(left), Fault::Once(with) | Fault::SomeOfAny(with)) if left < self.span => Err(with.into()),
            (Ok(_), _) => Ok(()),
        }
    }

    fn look_only(&self) -> io::Result<()> {
        if let Fault::SomeOfAny(_) = self.fault { self.change() } else { Ok(()) }
    }
}

struct FailingFile(Box<dyn NewFile>, Failing);

impl NewFile for FailingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Err(e) = self.1.change() {
            self.0.write(&bytes[..bytes.len() / 2])?;
            return Err(e);
        }
        self.0.write(bytes)
    }

    fn set_owner(&mut self, uid: u32, gid: u32) -> io::Result<()> {
        self.1.change()?;
        self.0.set_owner(uid, gid)
    }

    fn set_mode(&mut self, mode: u32) -> io::Result<()> {
        self.1.change()?;
        self.0.set_mode(mode)
    }

    fn set_acl(&mut self, acl: Option<&Acl>, mode: FileMode) -> io::Result<()> {
        if acl.is_some() {
            self.1.change()?;
        }
        self.0.set_acl(acl, mode)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.1.change()?;
        self.0.sync()
    }
}

impl Files for Failing {
    fn look(&self, path: &Path) -> io::Result<Option<Found>> {
        self.look_only()?;
        self.inner.look(path)
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        self.look_only()?;
        self.inner.read_link(path)
    }

    fn read(&self, path: &Path, max: u64) -> io::Result<Zeroizing<Vec<u8>>> {
        self.look_only()?;
        self.inner.read(path, max)
    }

    fn acl(&self, path: &Path) -> io::Result<Option<Acl>> {
        self.look_only()?;
        self.inner.acl(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        self.look_only()?;
        self.inner.list(directory)
    }

    fn make_directory(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.change()?;
        self.inner.make_directory(path, mode)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn NewFile>> {
        self.change()?;
        Ok(Box::new(FailingFile(self.inner.create(path)?, self.clone())))
    }

    fn make_link(&self, path: &Path, to: &Path) -> io::Result<()> {
        self.change()?;
        self.inner.make_link(path, to)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change()?;
        self.inner.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.change()?;
        self.inner.remove(path)
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        self.change()?;
        self.inner.remove_directory(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.change()?;
        self.inner.sync_directory(path)
    }

    fn mounts(&self) -> io::Result<MountTable> {
        self.look_only()?;
        self.inner.mounts()
    }

    fn guarded(&self, guard: &Guard) -> Arc<dyn Files> {
        Arc::new(Self { inner: self.inner.guarded(guard), ..self.clone() })
    }
}
