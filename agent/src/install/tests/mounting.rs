//! A file system in which a directory is a mount point that the test mounts and unmounts, also between any two operations:
//! for tests that need no privileges.

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

use pinion_proto::lock::lock;

use zeroize::Zeroizing;

use crate::install::{
    acl::Acl,
    files::{Files, Found, NewFile, RealFiles},
    mounts::{Guard, Mount, MountTable, What},
};

/// The real files, with one mount point among them.
#[derive(Debug, Clone)]
pub(crate) struct Mounting {
    state: Arc<Mutex<State>>,
    guard: Guard,
}

#[derive(Debug)]
struct State {
    point: PathBuf,
    /// The directory that stands for the device that is mounted.
    device: Option<PathBuf>,
    /// A file system in user space.
    fuse: bool,
    /// It is unmounted when so many operations more were done.
    unmount_after: Option<usize>,
    operations: usize,
}

impl Mounting {
    /// Nothing is mounted at `point`, which is there.
    pub(crate) fn at(point: &Path) -> Self {
        let state = State { point: point.into(), device: None, fuse: false, unmount_after: None, operations: 0 };
        Self { state: Arc::new(Mutex::new(state)), guard: Guard::default() }
    }

    /// Mounts a directory that stands for a device.
    pub(crate) fn mount(&self, device: &Path, fuse: bool) {
        let mut state = self.lock();
        (state.device, state.fuse) = (Some(device.into()), fuse);
    }

    /// Unmounts what is mounted.
    pub(crate) fn unmount(&self) {
        self.lock().device = None;
    }

    /// Unmounts it when so many operations more were done.
    pub(crate) fn unmount_after(&self, operations: usize) {
        self.lock().unmount_after = Some(operations);
    }

    /// Whether that has happened; it does not any more.
    pub(crate) fn has_unmounted(&self) -> bool {
        let mut state = self.lock();
        state.unmount_after = None;
        state.device.is_none()
    }

    /// How many operations were done.
    pub(crate) fn operations(&self) -> usize {
        self.lock().operations
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// One operation that goes through `directory` and is about `path`: the check and the use are one, as with descriptors.
    fn on<T>(&self, through: &Path, path: &Path, work: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.lock();
        state.operations += 1;
        match state.unmount_after {
            Some(0) => (state.device, state.unmount_after) = (None, None),
            Some(left) => state.unmount_after = Some(left - 1),
            None => {}
        }
        for need in self.guard.needs(through).map_err(io::Error::from)? {
            let mounted = need.point == state.point && state.device.is_some();
            let is_there = match need.what {
                What::Anything => mounted,
                What::Fuse => mounted && state.fuse,
                What::FuseOrFilled => true,
            };
            if !is_there {
                return Err(need.missing().into());
            }
        }
        work(&state.real(path))
    }

    fn made<T>(&self, path: &Path, work: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
        if let Some(need) = self.guard.needs(path).map_err(io::Error::from)?.iter().find(|need| need.point == path) {
            return Err(need.missing().into());
        }
        self.on(parent(path), path, work)
    }
}

impl State {
    fn real(&self, path: &Path) -> PathBuf {
        match (&self.device, path.strip_prefix(&self.point)) {
            (Some(device), Ok(inside)) if inside.as_os_str().is_empty() => device.clone(),
            (Some(device), Ok(inside)) => device.join(inside),
            _ => path.to_owned(),
        }
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

impl Files for Mounting {
    fn look(&self, path: &Path) -> io::Result<Option<Found>> {
        self.on(parent(path), path, |real| RealFiles.look(real))
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        self.on(parent(path), path, |real| RealFiles.read_link(real))
    }

    fn read(&self, path: &Path, max: u64) -> io::Result<Zeroizing<Vec<u8>>> {
        self.on(parent(path), path, |real| RealFiles.read(real, max))
    }

    fn acl(&self, path: &Path) -> io::Result<Option<Acl>> {
        self.on(parent(path), path, |real| RealFiles.acl(real))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        self.on(directory, directory, |real| RealFiles.list(real))
    }

    fn make_directory(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.made(path, |real| RealFiles.make_directory(real, mode))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn NewFile>> {
        self.made(path, |real| RealFiles.create(real))
    }

    fn make_link(&self, path: &Path, to: &Path) -> io::Result<()> {
        self.made(path, |real| RealFiles.make_link(real, to))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let from_there = self.on(parent(from), from, |real| Ok(real.to_owned()))?;
        self.made(to, |real| RealFiles.rename(&from_there, real))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.on(parent(path), path, |real| RealFiles.remove(real))
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        self.on(parent(path), path, |real| RealFiles.remove_directory(real))
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.on(path, path, |real| RealFiles.sync_directory(real))
    }

    fn mounts(&self) -> io::Result<MountTable> {
        let state = self.lock();
        let mount = |id, parent, point: &Path| Mount {
            id,
            parent,
            device: format!("0:{id}"),
            root: "/".into(),
            point: point.into(),
            kind: "ext4".into(),
        };
        let share = state.device.as_ref().map(|_| mount(2, 1, &state.point));
        Ok(MountTable::of([mount(1, 0, Path::new("/"))].into_iter().chain(share).collect()))
    }

    fn guarded(&self, guard: &Guard) -> Arc<dyn Files> {
        Arc::new(Self { guard: guard.clone(), ..self.clone() })
    }
}
