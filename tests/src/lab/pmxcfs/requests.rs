//! The kernel's requests, one by one.
//!
//! Invariant: what reads is answered at once, whatever the cluster is like; what changes waits or is refused as the
//! [trouble](super::trouble) of the moment has it. Errors are those of pve-cluster's `pmxcfs.c` and of libfuse 2 below it.

use std::{
    ffi::OsStr,
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use fuser::{
    BsdFileFlags, FileAttr, FileHandle, Filesystem, FopenFlags, Generation, INodeNo, KernelConfig, LockOwner,
    OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen,
    ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use rustix::io::{Errno, Result};

use super::{
    entry::Operation,
    state::{BLOCK, BLOCKS, INODES, State, WWW_DATA},
    trouble::{Mode, Switch},
};

/// What the session calls; a copy is the same server.
#[derive(Debug, Clone)]
pub(super) struct Server {
    state: Arc<Mutex<State>>,
    switch: Switch,
}

/// libfuse's default for names and attributes.
const TTL: Duration = Duration::from_secs(1);

/// No number is ever used again.
const GENERATION: Generation = Generation(0);

/// Without its option `big_writes`, libfuse 2 has the kernel write a page at a time.
const MAX_WRITE: u32 = 4096;

impl Server {
    pub(super) fn new(state: State, switch: Switch) -> Self {
        Self { state: Arc::new(Mutex::new(state)), switch }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it has the lock")
    }

    /// Makes a change as soon as that is possible, or tells why it is not.
    fn change<T>(
        &self,
        work: impl FnOnce(&mut State) -> Result<T> + Send + 'static,
        answer: impl FnOnce(Result<T>) + Send + 'static,
    ) {
        match self.switch.mode() {
            Mode::Well => answer(work(&mut self.state())),
            Mode::WithoutQuorum => answer(Err(Errno::ACCESS)),
            Mode::Hanging(..) => {
                let server = self.clone();
                // Others are answered meanwhile.
                thread::spawn(move || answer(server.switch.wait().and_then(|()| work(&mut server.state()))));
            }
        }
    }

    fn entry(
        &self,
        parent: INodeNo,
        name: &OsStr,
        reply: ReplyEntry,
        work: impl FnOnce(String) -> Operation + Send + 'static,
    ) {
        let name = name.to_owned();
        let made = move |state: &mut State| made(state, parent, &name, work);
        self.change(made, |answer| match answer {
            Ok(attributes) => reply.entry(&TTL, &attributes, GENERATION),
            Err(error) => reply.error(told(error)),
        });
    }

    fn empty(&self, reply: ReplyEmpty, work: impl FnOnce(&mut State) -> Result<()> + Send + 'static) {
        self.change(work, |answer| match answer {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(told(error)),
        });
    }
}

impl Filesystem for Server {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        config.set_max_write(MAX_WRITE).map(drop).map_err(|_| io::Error::other("the kernel writes no pages"))
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let mut state = self.state();
        let found = text(name).and_then(|name| state.lookup(parent, name));
        match found.and_then(|inode| state.attributes(inode)) {
            Ok(attributes) => reply.entry(&TTL, &attributes, GENERATION),
            Err(error) => reply.error(told(error)),
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.state().attributes(inode.0) {
            Ok(attributes) => reply.attr(&TTL, &attributes),
            Err(error) => reply.error(told(error)),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        inode: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        accessed: Option<TimeOrNow>,
        modified: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let inode = inode.0;
        // libfuse 2 passes times on only when both are given.
        let time = accessed.and(modified).map(seconds);
        let refused = {
            let state = self.state();
            let now = |given: Option<u32>, own: u32| given.is_none_or(|given| given == own);
            mode.is_some_and(|mode| !state.allows_mode(inode, mode)) || !now(uid, 0) || !now(gid, WWW_DATA)
        };
        let answer = |answer: Result<FileAttr>| match answer {
            Ok(attributes) => reply.attr(&TTL, &attributes),
            Err(error) => reply.error(told(error)),
        };
        if refused {
            return answer(Err(Errno::PERM));
        }
        if size.is_none() && time.is_none() {
            return answer(self.state().attributes(inode));
        }
        let work = move |state: &mut State| {
            if let Some(size) = size {
                match state.path(inode) {
                    Ok(path) => state.submit(Operation::Truncate { path, size })?,
                    // Of pmxcfs's own files only `.debug` is written, and not at a place.
                    Err(error) if error == Errno::ACCESS => state.write(inode, 0, Vec::new())?,
                    Err(error) => return Err(error),
                }
            }
            if let Some(time) = time {
                let path = state.path(inode)?;
                let asks = time == 0 && state.is_lock(&path);
                state.submit(if asks { Operation::Unlock { path } } else { Operation::Touch { path, time } })?;
                if asks {
                    return Ok(None);
                }
            }
            state.attributes(inode).map(Some)
        };
        let was = self.state().attributes(inode);
        // A lock that has gone by being asked for has no attributes any more; whoever asked is told that it went well.
        self.change(work, move |done| answer(done.and_then(|now| now.map_or(was, Ok))));
    }

    fn readlink(&self, _: &Request, inode: INodeNo, reply: ReplyData) {
        match self.state().link(inode.0) {
            Ok(target) => reply.data(target.as_bytes()),
            Err(error) => reply.error(told(error)),
        }
    }

    fn mknod(&self, _: &Request, _: INodeNo, _: &OsStr, _: u32, _: u32, _: u32, reply: ReplyEntry) {
        reply.error(fuser::Errno::ENOSYS);
    }

    fn symlink(&self, _: &Request, _: INodeNo, _: &OsStr, _: &Path, reply: ReplyEntry) {
        reply.error(fuser::Errno::ENOSYS);
    }

    fn link(&self, _: &Request, _: INodeNo, _: INodeNo, _: &OsStr, reply: ReplyEntry) {
        reply.error(fuser::Errno::EPERM);
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, _: u32, _: u32, reply: ReplyEntry) {
        self.entry(parent, name, reply, |path| Operation::MakeDirectory { path });
    }

    fn create(&self, _: &Request, parent: INodeNo, name: &OsStr, _: u32, _: u32, _: i32, reply: ReplyCreate) {
        let name = name.to_owned();
        let work = move |state: &mut State| {
            let attributes = made(state, parent, &name, |path| Operation::Create { path })?;
            state.opened(attributes.ino.0)?;
            Ok(attributes)
        };
        self.change(work, |answer| match answer {
            Ok(attributes) => {
                reply.created(&TTL, &attributes, GENERATION, FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
            }
            Err(error) => reply.error(told(error)),
        });
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let name = name.to_owned();
        self.empty(reply, move |state| {
            let path = state.child(parent, text(&name)?)?;
            state.submit(Operation::Delete { path })
        });
    }

    fn rmdir(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.unlink(request, parent, name, reply);
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if !flags.is_empty() {
            // libfuse 2 knows no flags.
            return reply.error(fuser::Errno::EINVAL);
        }
        let (name, new_name) = (name.to_owned(), new_name.to_owned());
        self.empty(reply, move |state| {
            let from = state.child(parent, text(&name)?)?;
            let to = state.child(new_parent, text(&new_name)?)?;
            state.submit(Operation::Rename { from, to })
        });
    }

    fn open(&self, _: &Request, inode: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.state().opened(inode.0) {
            // Contents are never older than the last change that has come here.
            Ok(()) => reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO),
            Err(error) => reply.error(told(error)),
        }
    }

    fn read(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.state().read(inode.0, offset, size) {
            Ok(data) => reply.data(data),
            Err(error) => reply.error(told(error)),
        }
    }

    fn write(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let (inode, data) = (inode.0, data.to_owned());
        let written = u32::try_from(data.len()).unwrap_or(MAX_WRITE);
        self.change(
            move |state| state.write(inode, offset, data),
            move |answer| match answer {
                Ok(()) => reply.written(written),
                Err(error) => reply.error(told(error)),
            },
        );
    }

    fn release(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.state().closed(inode.0);
        reply.ok();
    }

    fn opendir(&self, _: &Request, inode: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.state().list(inode.0) {
            Ok(handle) => reply.opened(FileHandle(handle), FopenFlags::empty()),
            Err(error) => reply.error(told(error)),
        }
    }

    fn readdir(&self, _: &Request, _: INodeNo, handle: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let state = self.state();
        let skipped = usize::try_from(offset).unwrap_or(usize::MAX);
        for (index, entry) in state.listing(handle.0).iter().enumerate().skip(skipped) {
            if reply.add(INodeNo(entry.inode), index as u64 + 1, entry.kind, &entry.name) {
                break;
            }
        }
        reply.ok();
    }

    fn releasedir(&self, _: &Request, _: INodeNo, handle: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        self.state().listed(handle.0);
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let (bytes, number) = self.state().size();
        let free = BLOCKS.saturating_sub(bytes.div_ceil(u64::from(BLOCK)));
        reply.statfs(BLOCKS, free, free, INODES, INODES.saturating_sub(number), BLOCK, 256, BLOCK);
    }
}

/// Makes what an operation makes; its attributes.
fn made(state: &mut State, parent: INodeNo, name: &OsStr, work: impl FnOnce(String) -> Operation) -> Result<FileAttr> {
    let name = text(name)?;
    let path = state.child(parent, name)?;
    state.submit(work(path))?;
    let inode = state.lookup(parent, name)?;
    state.attributes(inode)
}

fn text(name: &OsStr) -> Result<&str> {
    name.to_str().ok_or(Errno::INVAL)
}

fn told(error: Errno) -> fuser::Errno {
    fuser::Errno::from_i32(error.raw_os_error())
}

/// Whole seconds, as pmxcfs keeps them.
fn seconds(time: TimeOrNow) -> u64 {
    let time = match time {
        TimeOrNow::SpecificTime(time) => time,
        TimeOrNow::Now => SystemTime::now(),
    };
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
