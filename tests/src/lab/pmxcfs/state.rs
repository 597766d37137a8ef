//! One node's server: the shared files, its log, and what is open.
//!
//! Answers: what does a request of the kernel's get? Invariant: every change goes through [`State::submit`], which logs it
//! before it is answered; whoever brings entries of other nodes in applies them there too, in one order for all.

use std::{
    collections::HashMap,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use fuser::{FileAttr, FileType, INodeNo};
use rustix::io::{Errno, Result};

use super::{
    entry::Operation,
    log::Log,
    names,
    status::{LINKS, Local, MADE, Peer},
    tree::{FIRST_INODE, Tree},
    trouble::{Mode, Switch},
};

/// All of it; one lock guards it.
#[derive(Debug)]
pub(super) struct State {
    tree: Tree,
    log: Log,
    local: Local,
    switch: Switch,
    /// The texts of the files of [`MADE`], as they were when their attributes were last asked for.
    made: [String; MADE.len()],
    /// How often each file is open, and its content when it has been removed since.
    open: HashMap<u64, (u64, Option<Vec<u8>>)>,
    listings: HashMap<u64, Vec<Listed>>,
    handles: u64,
}

/// An entry of a directory's list.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) inode: u64,
    pub(super) kind: FileType,
    pub(super) name: String,
}

/// What an inode's number stands for.
enum Item<'s> {
    Root,
    Made(usize),
    Link(usize),
    Path(&'s str),
}

/// Debian's group `www-data` (base-passwd), which Proxmox's web server reads with.
pub(super) const WWW_DATA: u32 = 33;

/// The mount point's number is FUSE's own.
const ROOT: u64 = 1;
const FIRST_MADE: u64 = 10;
const FIRST_LINK: u64 = 30;

/// pve-cluster's `MEMDB_BLOCKSIZE`, `MEMDB_BLOCKS` and `MEMDB_MAX_INODES`.
pub(super) const BLOCK: u32 = 4096;
pub(super) const BLOCKS: u64 = 32 * 1024;
pub(super) const INODES: u64 = 256 * 1024;

impl State {
    /// The files of the server with this directory, as its log tells them.
    pub(super) fn open(data: &Path, node: &str, peers: Vec<Peer>) -> anyhow::Result<Self> {
        let (log, entries) = Log::open(&data.join("operations.jsonl"), node)?;
        let tree = Tree::replay(&entries).context("replay the log")?;
        let local = Local { node: node.to_owned(), peers, started: seconds() };
        let mut state = Self {
            tree,
            log,
            local,
            switch: Switch::of(data),
            made: Default::default(),
            open: HashMap::new(),
            listings: HashMap::new(),
            handles: 0,
        };
        state.submit(Operation::Start).context("log the start")?;
        Ok(state)
    }

    /// What `pvecm updatecerts` sees to after each start of the service: the nodes' directories.
    pub(super) fn furnish(&mut self) -> Result<()> {
        if self.switch.mode() != Mode::Well {
            return Ok(());
        }
        let mut wanted: Vec<String> = ["priv", "priv/lock", "priv/acme", "nodes"].map(str::to_owned).to_vec();
        let names = self.local.peers.iter().map(|peer| peer.name.clone());
        for name in names.chain([self.local.node.clone()]) {
            wanted.extend(["", "/lxc", "/openvz", "/priv", "/qemu-server"].map(|below| format!("nodes/{name}{below}")));
        }
        for path in wanted {
            if self.tree.get(&path).is_none() {
                self.submit(Operation::MakeDirectory { path })?;
            }
        }
        Ok(())
    }

    /// Makes a change.
    pub(super) fn submit(&mut self, operation: Operation) -> Result<()> {
        let orphans = self.orphans(&operation);
        let entry = self.log.next(seconds(), operation);
        self.tree.apply(&entry)?;
        for (inode, content) in orphans {
            if let Some((_, kept)) = self.open.get_mut(&inode) {
                *kept = Some(content);
            }
        }
        // As pmxcfs when its database cannot be written.
        self.log.append(&entry).map_err(|error| {
            tracing::error!(error = format!("{error:#}"), "The log cannot be written");
            Errno::IO
        })
    }

    /// The files that a change takes away while they are open.
    fn orphans(&self, operation: &Operation) -> Vec<(u64, Vec<u8>)> {
        let gone = match operation {
            Operation::Delete { path } | Operation::Rename { to: path, .. } => self.tree.get(path),
            _ => None,
        };
        let open = gone.filter(|node| self.open.contains_key(&node.inode));
        open.and_then(|node| Some((node.inode, node.content.clone()?))).into_iter().collect()
    }

    /// The number of a name in a directory.
    pub(super) fn lookup(&self, parent: INodeNo, name: &str) -> Result<u64> {
        if parent.0 == ROOT
            && let Some(inode) = own(name)
        {
            return Ok(inode);
        }
        Ok(self.tree.get(&self.below(parent, name)?).ok_or(Errno::NOENT)?.inode)
    }

    /// The path of a name in a directory, for a change; pmxcfs's own files are not to be changed.
    pub(super) fn child(&self, parent: INodeNo, name: &str) -> Result<String> {
        if parent.0 == ROOT && own(name).is_some() {
            return Err(Errno::ACCESS);
        }
        self.below(parent, name)
    }

    fn below(&self, parent: INodeNo, name: &str) -> Result<String> {
        match self.item(parent.0)? {
            Item::Root => Ok(name.to_owned()),
            Item::Path(directory) => Ok(format!("{directory}/{name}")),
            Item::Made(_) | Item::Link(_) => Err(Errno::NOTDIR),
        }
    }

    /// The path of an inode, for a change.
    pub(super) fn path(&self, inode: u64) -> Result<String> {
        match self.item(inode)? {
            Item::Path(path) => Ok(path.to_owned()),
            Item::Root | Item::Made(_) | Item::Link(_) => Err(Errno::ACCESS),
        }
    }

    fn item(&self, inode: u64) -> Result<Item<'_>> {
        let within = |first: u64, count: usize| {
            inode.checked_sub(first).and_then(|index| usize::try_from(index).ok()).filter(|index| *index < count)
        };
        if inode == ROOT {
            Ok(Item::Root)
        } else if let Some(index) = within(FIRST_MADE, MADE.len()) {
            Ok(Item::Made(index))
        } else if let Some(index) = within(FIRST_LINK, LINKS.len()) {
            Ok(Item::Link(index))
        } else {
            self.tree.path(inode).map(Item::Path).ok_or(Errno::NOENT)
        }
    }

    /// An inode's attributes; asked for those of a file that is made when it is read, it is made.
    pub(super) fn attributes(&mut self, inode: u64) -> Result<FileAttr> {
        let quorate = !matches!(self.switch.mode(), Mode::WithoutQuorum);
        let (kind, mode, size, time) = match self.item(inode)? {
            Item::Root => (FileType::Directory, mask("", true, quorate), 0, 0),
            Item::Link(_) => (FileType::Symlink, if quorate { 0o755 } else { 0o555 }, 0, 0),
            Item::Made(index) => {
                let (name, mode) = MADE[index];
                let text = self.local.text(name, &self.tree, quorate);
                self.made[index] = text;
                (FileType::RegularFile, mode, self.made[index].len(), 0)
            }
            Item::Path(path) => {
                let node = self.tree.get(path).ok_or(Errno::NOENT)?;
                let mode = mask(path, node.content.is_none(), quorate);
                match &node.content {
                    Some(content) => (FileType::RegularFile, mode, content.len(), node.time),
                    None => (FileType::Directory, mode, 0, node.time),
                }
            }
        };
        let (size, time) = (size as u64, UNIX_EPOCH + Duration::from_secs(time));
        Ok(FileAttr {
            ino: INodeNo(inode),
            size,
            blocks: size.div_ceil(u64::from(BLOCK)),
            atime: time,
            mtime: time,
            ctime: time,
            crtime: time,
            kind,
            perm: mode,
            nlink: if kind == FileType::Directory { 2 } else { 1 },
            uid: 0,
            gid: WWW_DATA,
            rdev: 0,
            blksize: BLOCK,
            flags: 0,
        })
    }

    /// The target of a link.
    pub(super) fn link(&self, inode: u64) -> Result<String> {
        match self.item(inode)? {
            Item::Link(index) => Ok(self.local.target(LINKS[index].1)),
            _ => Err(Errno::INVAL),
        }
    }

    /// Bytes of a file.
    pub(super) fn read(&self, inode: u64, offset: u64, size: u32) -> Result<&[u8]> {
        let content = match self.item(inode) {
            Ok(Item::Made(index)) => self.made[index].as_bytes(),
            Ok(Item::Path(path)) => self.tree.get(path).and_then(|node| node.content.as_deref()).ok_or(Errno::ISDIR)?,
            Ok(Item::Root | Item::Link(_)) => return Err(Errno::ISDIR),
            Err(error) => self.open.get(&inode).and_then(|(_, kept)| kept.as_deref()).ok_or(error)?,
        };
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(content.len());
        let end = start.saturating_add(size as usize).min(content.len());
        Ok(&content[start..end])
    }

    /// Writes bytes of a file; what was removed while it is open takes them, too.
    pub(super) fn write(&mut self, inode: u64, offset: u64, data: Vec<u8>) -> Result<()> {
        match self.item(inode) {
            Ok(Item::Path(path)) => {
                let path = path.to_owned();
                self.submit(Operation::Write { path, offset, data })
            }
            Ok(Item::Made(index)) if MADE[index].0 == ".debug" => Ok(()),
            Ok(_) => Err(Errno::IO),
            Err(error) => self.open.get(&inode).map(drop).ok_or(error),
        }
    }

    /// A file is opened.
    pub(super) fn opened(&mut self, inode: u64) -> Result<()> {
        self.item(inode)?;
        self.open.entry(inode).or_default().0 += 1;
        Ok(())
    }

    /// It is closed.
    pub(super) fn closed(&mut self, inode: u64) {
        if let Some((count, _)) = self.open.get_mut(&inode) {
            *count -= 1;
            if *count == 0 {
                self.open.remove(&inode);
            }
        }
    }

    /// Begins to list a directory; the handle for [`Self::listing`].
    pub(super) fn list(&mut self, inode: u64) -> Result<u64> {
        let item = self.item(inode)?;
        let mut all: Vec<Listed> =
            [".", ".."].map(|name| Listed { inode, kind: FileType::Directory, name: name.into() }).into();
        let directory = match item {
            Item::Root => {
                let made = MADE.iter().map(|(name, _)| (*name, FileType::RegularFile));
                let links = LINKS.iter().map(|(name, _)| (*name, FileType::Symlink));
                let own = made.chain(links).filter_map(|(name, kind)| Some((own(name)?, kind, name.to_owned())));
                all.extend(own.map(|(inode, kind, name)| Listed { inode, kind, name }));
                ""
            }
            Item::Path(path) => path,
            Item::Made(_) | Item::Link(_) => return Err(Errno::NOTDIR),
        };
        all.extend(self.tree.list(directory).map(|(name, node)| {
            let kind = if node.content.is_some() { FileType::RegularFile } else { FileType::Directory };
            Listed { inode: node.inode, kind, name: name.to_owned() }
        }));
        self.handles += 1;
        self.listings.insert(self.handles, all);
        Ok(self.handles)
    }

    /// What a list holds, as it was when it was begun.
    pub(super) fn listing(&self, handle: u64) -> &[Listed] {
        self.listings.get(&handle).map_or(&[], Vec::as_slice)
    }

    /// A list is not needed any more.
    pub(super) fn listed(&mut self, handle: u64) {
        self.listings.remove(&handle);
    }

    /// Whether an inode is a lock, which is asked for by a time of 0.
    pub(super) fn is_lock(&self, path: &str) -> bool {
        names::is_lock(path) && self.tree.get(path).is_some_and(|node| node.content.is_none())
    }

    /// The mode that a file may be given: the one that all files here have.
    pub(super) fn allows_mode(&self, inode: u64, mode: u32) -> bool {
        let private = matches!(self.item(inode), Ok(Item::Path(path)) if names::is_private(path));
        mode & 0o7777 == if private { 0o600 } else { 0o640 }
    }

    /// Bytes and number of everything.
    pub(super) fn size(&self) -> (u64, u64) {
        self.tree.size()
    }
}

/// The number of one of pmxcfs's own names at the mount point.
fn own(name: &str) -> Option<u64> {
    let made = MADE.iter().position(|(own, _)| *own == name).map(|index| FIRST_MADE + index as u64);
    made.or_else(|| LINKS.iter().position(|(own, _)| *own == name).map(|index| FIRST_LINK + index as u64))
}

const _: () = assert!(FIRST_LINK + LINKS.len() as u64 <= FIRST_INODE && FIRST_MADE + MADE.len() as u64 <= FIRST_LINK);

/// `cfs_fuse_getattr`: what the path's kind leaves of the mode.
fn mask(path: &str, directory: bool, quorate: bool) -> u16 {
    let all = match (directory, quorate) {
        (true, true) => 0o777,
        (true, false) => 0o555,
        (false, true) => 0o666,
        (false, false) => 0o444,
    };
    let left = if names::is_private(path) {
        0o700
    } else if directory || names::is_container(path) {
        0o755
    } else {
        0o750
    };
    all & left
}

/// Seconds since 1970.
fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
