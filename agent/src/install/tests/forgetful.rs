//! A disk that forgets what was not synced when its power goes: for tests that cut at every operation.
//!
//! Invariant: what was synced stays, whatever is lost; and of the rest a test chooses what is lost, because a real
//! disk may lose any of it.

use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
};

use pinion_proto::{lock::lock, spec::FileMode};

use zeroize::Zeroizing;

use super::failing::Failing;
use crate::install::{
    acl::Acl,
    files::{Files, Found, NewFile},
    mounts::{Guard, MountTable},
};

/// What of the things that were not synced is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Nothing: all had come to the disk by itself.
    Nothing,
    /// The contents, as where a renamed file is found empty.
    Contents,
    /// The changes in directories whose path ends so.
    EntriesOf(&'static str),
    /// Everything.
    Everything,
}

/// Fails as [`Failing`] does, and remembers what was not synced.
#[derive(Debug, Clone)]
pub(crate) struct Forgetful {
    failing: Arc<dyn Files>,
    log: Arc<Mutex<Log>>,
    /// Old contents are kept here, on the same file system, until nobody can ask for them any more.
    kept: Arc<tempfile::TempDir>,
    count: Arc<AtomicUsize>,
}

#[derive(Debug, Default)]
struct Log {
    contents: Vec<(usize, File)>,
    entries: Vec<Entry>,
}

/// A change in a directory, and how it is undone.
#[derive(Debug)]
struct Entry {
    directory: PathBuf,
    undo: Undo,
}

#[derive(Debug)]
enum Undo {
    Made(PathBuf),
    Created(PathBuf),
    Renamed { from: PathBuf, to: PathBuf, old: Option<PathBuf> },
    Removed { path: PathBuf, old: PathBuf },
    Unmade(PathBuf),
}

impl Forgetful {
    /// Fails as soon as `left` is spent; what it keeps is below `beside`, on the file system of what it changes.
    pub(crate) fn after(left: &Arc<AtomicUsize>, beside: &Path) -> Self {
        let kept = Arc::new(tempfile::tempdir_in(beside).expect("a directory"));
        Self { failing: Arc::new(Failing::after(left)), log: Arc::default(), kept, count: Arc::default() }
    }

    /// The power is gone: what was not synced is lost so.
    pub(crate) fn lose(&self, loss: Loss) {
        let log = std::mem::take(&mut *self.lock());
        if matches!(loss, Loss::Contents | Loss::Everything) {
            for (_, file) in log.contents {
                file.set_len(0).expect("it forgets");
            }
        }
        for Entry { directory, undo } in log.entries.into_iter().rev() {
            let lost = match loss {
                Loss::Nothing | Loss::Contents => false,
                Loss::EntriesOf(end) => directory.ends_with(end),
                Loss::Everything => true,
            };
            // What was in a directory that is gone for good is gone with it.
            if lost && directory.is_dir() {
                take_back(&undo).unwrap_or_else(|e| panic!("cannot take back {undo:?}: {e}"));
            }
        }
    }

    fn note(&self, path: &Path, undo: Undo) {
        let directory = path.parent().expect("a parent").to_owned();
        self.lock().entries.push(Entry { directory, undo });
    }

    /// Another name for what is at a path, so that it outlives its own.
    fn keep(&self, path: &Path) -> Option<PathBuf> {
        let kept = self.kept.path().join(self.count.fetch_add(1, Ordering::SeqCst).to_string());
        fs::hard_link(path, &kept).ok().map(|()| kept)
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        lock(&self.log)
    }
}

fn take_back(undo: &Undo) -> io::Result<()> {
    match undo {
        // Whatever came to the disk of what is in it.
        Undo::Made(path) => fs::remove_dir_all(path),
        Undo::Created(path) => fs::remove_file(path),
        Undo::Renamed { from, to, old } => {
            fs::rename(to, from)?;
            old.as_ref().map_or(Ok(()), |old| fs::rename(old, to))
        }
        Undo::Removed { path, old } => fs::rename(old, path),
        Undo::Unmade(path) => fs::create_dir(path),
    }
}

struct ForgetfulFile {
    inner: Box<dyn NewFile>,
    log: Arc<Mutex<Log>>,
    number: usize,
}

impl NewFile for ForgetfulFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.inner.write(bytes)
    }

    fn set_owner(&mut self, uid: u32, gid: u32) -> io::Result<()> {
        self.inner.set_owner(uid, gid)
    }

    fn set_mode(&mut self, mode: u32) -> io::Result<()> {
        self.inner.set_mode(mode)
    }

    fn set_acl(&mut self, acl: Option<&Acl>, mode: FileMode) -> io::Result<()> {
        self.inner.set_acl(acl, mode)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.inner.sync()?;
        lock(&self.log).contents.retain(|(number, _)| *number != self.number);
        Ok(())
    }
}

impl Files for Forgetful {
    fn look(&self, path: &Path) -> io::Result<Option<Found>> {
        self.failing.look(path)
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        self.failing.read_link(path)
    }

    fn read(&self, path: &Path, max: u64) -> io::Result<Zeroizing<Vec<u8>>> {
        self.failing.read(path, max)
    }

    fn acl(&self, path: &Path) -> io::Result<Option<Acl>> {
        self.failing.acl(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        self.failing.list(directory)
    }

    fn make_directory(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.failing.make_directory(path, mode)?;
        self.note(path, Undo::Made(path.into()));
        Ok(())
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn NewFile>> {
        let inner = self.failing.create(path)?;
        let number = self.count.fetch_add(1, Ordering::SeqCst);
        let file = File::options().write(true).open(path)?;
        self.lock().contents.push((number, file));
        self.note(path, Undo::Created(path.into()));
        Ok(Box::new(ForgetfulFile { inner, log: Arc::clone(&self.log), number }))
    }

    fn make_link(&self, path: &Path, to: &Path) -> io::Result<()> {
        self.failing.make_link(path, to)?;
        self.note(path, Undo::Created(path.into()));
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let old = self.keep(to);
        self.failing.rename(from, to)?;
        self.note(to, Undo::Renamed { from: from.into(), to: to.into(), old });
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let old = self.keep(path);
        self.failing.remove(path)?;
        if let Some(old) = old {
            self.note(path, Undo::Removed { path: path.into(), old });
        }
        Ok(())
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        self.failing.remove_directory(path)?;
        self.note(path, Undo::Unmade(path.into()));
        Ok(())
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.failing.sync_directory(path)?;
        self.lock().entries.retain(|entry| entry.directory != path);
        Ok(())
    }

    fn mounts(&self) -> io::Result<MountTable> {
        self.failing.mounts()
    }

    fn guarded(&self, guard: &Guard) -> Arc<dyn Files> {
        let failing = self.failing.guarded(guard);
        Arc::new(Self { failing, ..self.clone() })
    }
}
