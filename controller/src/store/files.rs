//! The file system as the store uses it: the seam where tests put another one.
//!
//! Invariant: nothing is in here that pmxcfs, Proxmox's replicated `/etc/pve`, does not do: no links, no owners, no
//! modes after creation. There a file ends at 1 MiB, and without quorum everything is read-only.

use std::{
    fmt,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::Path,
};

use pinion_proto::file_lock::FileLock;
use rustix::fs::Access;
use zeroize::Zeroizing;

/// Blocking operations on files and directories.
pub trait Files: fmt::Debug + Send + Sync {
    /// A file's bytes; none when there are more than `max`.
    ///
    /// # Errors
    /// There is no such file, or it may not be read.
    fn read(&self, path: &Path, max: usize) -> io::Result<Option<Zeroizing<Vec<u8>>>>;

    /// Makes a file that was not there, for its owner alone where files have modes, and makes its content survive a
    /// power cut.
    ///
    /// # Errors
    /// Something is there already, or the directory cannot be written.
    fn create(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;

    /// As [`Self::create`], without waiting for the disk: a power cut may leave the file empty.
    ///
    /// # Errors
    /// As [`Self::create`].
    fn create_unsynced(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;

    /// Puts `from` in the place of `to` in one step.
    ///
    /// # Errors
    /// As rename(2).
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// As unlink(2).
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// The names in a directory that are text, each with whether it is a directory itself.
    ///
    /// # Errors
    /// It is not there, or may not be read.
    fn list(&self, directory: &Path) -> io::Result<Vec<(String, bool)>>;

    /// Makes a directory and its parents, for their owner alone where directories have modes; it may be there.
    ///
    /// # Errors
    /// As mkdir(2).
    fn make_directory(&self, path: &Path) -> io::Result<()>;

    /// Makes a directory's entries survive a power cut.
    ///
    /// # Errors
    /// As fsync(2).
    fn sync_directory(&self, path: &Path) -> io::Result<()>;

    /// Makes a directory that was not there: of several that try at once exactly one does.
    ///
    /// # Errors
    /// It is there already (`AlreadyExists`), or as mkdir(2).
    fn claim(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty directory.
    ///
    /// # Errors
    /// As rmdir(2).
    fn release(&self, path: &Path) -> io::Result<()>;

    /// Excludes all others on this host that ask for the same until the value is dropped or its process ends; none when
    /// another one has it. On pmxcfs a flock is each node's own.
    ///
    /// # Errors
    /// The lock's file cannot be made.
    fn exclude(&self, lock: &Path) -> io::Result<Option<Box<dyn Send>>>;

    /// Whether a directory can be written, as far as that shows without writing.
    ///
    /// # Errors
    /// Why not.
    fn look_writable(&self, directory: &Path) -> io::Result<()>;

    /// Whether the file system of a directory has room for one more small file, as it says itself.
    ///
    /// # Errors
    /// It does not say.
    fn has_room(&self, directory: &Path) -> io::Result<bool>;
}

/// The kernel's file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealFiles;

impl Files for RealFiles {
    fn read(&self, path: &Path, max: usize) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
        let file = File::open(path)?;
        let limit = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
        let mut bytes = Zeroizing::new(Vec::new());
        file.take(limit).read_to_end(&mut bytes)?;
        Ok((bytes.len() <= max).then_some(bytes))
    }

    fn create(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        new_file(path, bytes)?.sync_all()
    }

    fn create_unsynced(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        new_file(path, bytes).map(drop)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<(String, bool)>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            if let Ok(name) = entry.file_name().into_string() {
                names.push((name, entry.file_type().is_ok_and(|kind| kind.is_dir())));
            }
        }
        Ok(names)
    }

    fn make_directory(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn claim(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(path)
    }

    fn release(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn exclude(&self, lock: &Path) -> io::Result<Option<Box<dyn Send>>> {
        Ok(FileLock::try_new(lock)?.map(|lock| Box::new(lock) as Box<dyn Send>))
    }

    fn look_writable(&self, directory: &Path) -> io::Result<()> {
        rustix::fs::access(directory, Access::WRITE_OK)?;
        // Root passes the check above whatever the mode; without quorum pmxcfs shows its directories as 0555
        // (`tree_entry_stat` in pve-cluster) and refuses root too.
        if fs::metadata(directory)?.mode() & 0o222 == 0 {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        Ok(())
    }

    fn has_room(&self, directory: &Path) -> io::Result<bool> {
        let found = rustix::fs::statvfs(directory)?;
        // Some file systems do not count one or the other: then their totals are 0.
        let blocks = found.f_blocks == 0 || found.f_bavail > 0;
        let files = found.f_files == 0 || found.f_favail > 0;
        Ok(blocks && files)
    }
}

fn new_file(path: &Path, bytes: &[u8]) -> io::Result<File> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    Ok(file)
}
