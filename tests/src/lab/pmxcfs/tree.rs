//! The files, as the log's entries have made them.
//!
//! Answers: what does a change do, and what refuses it? Invariant: [`Tree::apply`] looks at the entry and at the files alone,
//! never at a clock; an entry that is refused has changed nothing. Refusals are those of pve-cluster's `memdb.c`.

use std::collections::{BTreeMap, HashMap};

use rustix::io::{Errno, Result};

use super::{
    entry::{Entry, Operation},
    guests::Guests,
    names,
};

/// Everything that nodes share.
#[derive(Debug, Default)]
pub(super) struct Tree {
    /// Counts the changes; an inode's number is that of the change that made it.
    version: u64,
    nodes: BTreeMap<String, Node>,
    paths: HashMap<u64, String>,
    /// Since when each lock is held, in entries' time.
    locks: HashMap<String, u64>,
    guests: Guests,
    /// How often each path was changed since the server started.
    changes: HashMap<String, u64>,
}

/// A file or directory.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) inode: u64,
    /// Whole seconds.
    pub(super) time: u64,
    writer: String,
    /// Nothing for a directory.
    pub(super) content: Option<Vec<u8>>,
}

/// pve-cluster's `MEMDB_MAX_FILE_SIZE`.
pub(super) const MAX_FILE_SIZE: u64 = 1024 * 1024;

/// pve-cluster's `CFS_LOCK_TIMEOUT`, in seconds.
pub(super) const LOCK_TIMEOUT: u64 = 120;

impl Tree {
    /// The files after these entries, with the counters of a server that starts.
    pub(super) fn replay(entries: &[Entry]) -> Result<Self> {
        let mut tree = Self::default();
        for entry in entries {
            tree.apply(entry)?;
        }
        tree.guests = Guests::of(tree.nodes.keys().filter_map(|path| names::guest(path)));
        tree.changes.clear();
        Ok(tree)
    }

    /// What is at a path; the mount point itself is the empty path, and is not asked for here.
    pub(super) fn get(&self, path: &str) -> Option<&Node> {
        self.nodes.get(path)
    }

    /// The path of an inode that is there.
    pub(super) fn path(&self, inode: u64) -> Option<&str> {
        self.paths.get(&inode).map(String::as_str)
    }

    /// What is directly in a directory.
    pub(super) fn list(&self, directory: &str) -> impl Iterator<Item = (&str, &Node)> {
        let prefix = if directory.is_empty() { String::new() } else { format!("{directory}/") };
        let range = self.nodes.range(prefix.clone()..);
        range
            .take_while({
                let prefix = prefix.clone();
                move |(path, _)| path.starts_with(&prefix)
            })
            .filter_map(move |(path, node)| {
                let name = &path[prefix.len()..];
                (!name.contains('/')).then_some((name, node))
            })
    }

    /// The guests' list.
    pub(super) fn guests(&self) -> &Guests {
        &self.guests
    }

    /// How often a file was changed since the server started.
    pub(super) fn changes(&self, path: &str) -> u64 {
        self.changes.get(path).copied().unwrap_or(0)
    }

    /// Bytes and number of all files and directories.
    pub(super) fn size(&self) -> (u64, u64) {
        let bytes: usize = self.nodes.values().filter_map(|node| node.content.as_ref()).map(Vec::len).sum();
        (bytes as u64, self.nodes.len() as u64)
    }

    /// Does what an entry says.
    pub(super) fn apply(&mut self, entry: &Entry) -> Result<()> {
        match &entry.operation {
            Operation::Start => {
                self.locks.values_mut().for_each(|since| *since = entry.at);
                Ok(())
            }
            Operation::Create { path } => self.create(entry, path, Some(Vec::new())),
            Operation::MakeDirectory { path } => self.create(entry, path, None),
            Operation::Write { path, offset, data } => self.write(entry, path, |content| {
                let (start, end) = range(*offset, data.len())?;
                content.resize(content.len().max(end), 0);
                content[start..end].copy_from_slice(data);
                Ok(())
            }),
            Operation::Truncate { path, size } => self.write(entry, path, |content| {
                let (size, _) = range(*size, 0)?;
                content.resize(size, 0);
                Ok(())
            }),
            Operation::Rename { from, to } => self.rename(entry, from, to),
            Operation::Delete { path } => self.delete(path),
            Operation::Touch { path, time } => self.touch(entry, path, *time),
            Operation::Unlock { path } => self.unlock(entry, path),
        }
    }

    fn create(&mut self, entry: &Entry, path: &str, content: Option<Vec<u8>>) -> Result<()> {
        self.room(path)?;
        let guest = names::guest(path).filter(|_| content.is_some());
        if guest.is_some_and(|guest| self.guests.is_elsewhere(guest)) || self.nodes.contains_key(path) {
            return Err(Errno::EXIST);
        }
        self.version += 1;
        if content.is_none() && names::is_lock(path) {
            self.locks.insert(path.to_owned(), entry.at);
        }
        let inode = FIRST_INODE + self.version;
        self.put(path, Node { inode, time: entry.at, writer: entry.node.clone(), content });
        self.changed(path);
        guest.into_iter().for_each(|guest| self.guests.register(guest));
        Ok(())
    }

    fn write(&mut self, entry: &Entry, path: &str, change: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<()> {
        self.room(path)?;
        let guest = names::guest(path);
        if guest.is_some_and(|guest| self.guests.is_elsewhere(guest)) {
            return Err(Errno::EXIST);
        }
        let node = self.nodes.get_mut(path).ok_or(Errno::NOENT)?;
        change(node.content.as_mut().ok_or(Errno::NOTDIR)?)?;
        (node.time, node.writer) = (entry.at, entry.node.clone());
        self.version += 1;
        self.changed(path);
        guest.into_iter().for_each(|guest| self.guests.register(guest));
        Ok(())
    }

    fn rename(&mut self, entry: &Entry, from: &str, to: &str) -> Result<()> {
        let moved = self.nodes.get(from).ok_or(Errno::NOENT)?;
        let is_file = moved.content.is_some();
        let (was, is) = (names::guest(from), names::guest(to).filter(|_| is_file));
        let same_guest = was.zip(is).is_some_and(|(was, is)| was.vmid == is.vmid);
        if is.is_some_and(|is| self.guests.is_elsewhere(is)) && !same_guest {
            return Err(Errno::EXIST);
        }
        if !is_file && names::is_lock(from) {
            return Err(Errno::ACCESS);
        }
        self.room(to)?;
        // Only empty directories move, and only empty ones are replaced.
        if self.list(from).next().is_some() || self.list(to).next().is_some() {
            return Err(Errno::NOTEMPTY);
        }
        self.take(to);
        self.locks.remove(to);
        let mut moved = self.take(from).ok_or(Errno::NOENT)?;
        (moved.time, moved.writer) = (entry.at, entry.node.clone());
        self.put(to, moved);
        self.version += 1;
        self.changed(from);
        self.changed(to);
        if is_file {
            was.into_iter().for_each(|was| self.guests.forget(was.vmid));
            is.into_iter().for_each(|is| self.guests.register(is));
        }
        Ok(())
    }

    fn delete(&mut self, path: &str) -> Result<()> {
        if !self.nodes.contains_key(path) {
            return Err(Errno::NOENT);
        }
        if self.list(path).next().is_some() {
            return Err(Errno::NOTEMPTY);
        }
        self.take(path);
        self.locks.remove(path);
        self.version += 1;
        self.changed(path);
        names::guest(path).into_iter().for_each(|guest| self.guests.forget(guest.vmid));
        Ok(())
    }

    fn touch(&mut self, entry: &Entry, path: &str, time: u64) -> Result<()> {
        let node = self.nodes.get_mut(path).ok_or(Errno::NOENT)?;
        let is_lock = node.content.is_none() && names::is_lock(path);
        // A lock's time only grows, by its holder's hand: an older one is how others ask for it.
        if is_lock && (time < node.time || node.writer != entry.node) {
            return Err(Errno::ACCESS);
        }
        (node.time, node.writer) = (time, entry.node.clone());
        self.version += 1;
        self.changed(path);
        if is_lock {
            self.locks.insert(path.to_owned(), entry.at);
        }
        Ok(())
    }

    fn unlock(&mut self, entry: &Entry, path: &str) -> Result<()> {
        // A directory that was moved there is held since then.
        let made = self.nodes.get(path).ok_or(Errno::NOENT)?.time;
        let since = self.locks.get(path).copied().unwrap_or(made);
        if entry.at > since + LOCK_TIMEOUT { self.delete(path) } else { Err(Errno::ACCESS) }
    }

    /// Whether the path's directory is there.
    fn room(&self, path: &str) -> Result<()> {
        let (directory, name) = names::split(path);
        if name.is_empty() {
            return Err(Errno::ACCESS);
        }
        match self.nodes.get(directory) {
            _ if directory.is_empty() => Ok(()),
            None => Err(Errno::NOENT),
            Some(node) if node.content.is_some() => Err(Errno::NOTDIR),
            Some(_) => Ok(()),
        }
    }

    fn put(&mut self, path: &str, node: Node) {
        self.paths.insert(node.inode, path.to_owned());
        self.nodes.insert(path.to_owned(), node);
    }

    fn take(&mut self, path: &str) -> Option<Node> {
        let node = self.nodes.remove(path)?;
        self.paths.remove(&node.inode);
        Some(node)
    }

    fn changed(&mut self, path: &str) {
        *self.changes.entry(path.to_owned()).or_default() += 1;
    }
}

/// The mount point, the links and the files that are made when they are read have smaller numbers.
pub(super) const FIRST_INODE: u64 = 100;

/// The start and the end of what is written, within what a file may have.
fn range(offset: u64, length: usize) -> Result<(usize, usize)> {
    let end = offset.checked_add(length as u64).filter(|end| *end <= MAX_FILE_SIZE).ok_or(Errno::FBIG)?;
    Ok((usize::try_from(offset).map_err(|_| Errno::FBIG)?, usize::try_from(end).map_err(|_| Errno::FBIG)?))
}
