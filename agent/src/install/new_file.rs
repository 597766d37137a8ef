//! A file that takes another's place: its content, owner, mode and access control list, before anybody finds it by its name.

use std::{
    fs::File,
    io::{self, Write},
    os::fd::AsFd,
};

use pinion_proto::spec::FileMode;
use rustix::{
    fs::{Gid, Mode, Uid, XattrFlags},
    io::Errno,
};

use super::acl::{self, ATTRIBUTE, Acl};

/// A file that was just made and is still open: its name may be exchanged under it, itself not.
pub trait NewFile: Send {
    /// Appends.
    ///
    /// # Errors
    /// As write(2).
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Gives the file to a user and group, by number; nothing is done when it has them already.
    ///
    /// # Errors
    /// As fchown(2); EPERM for an ordinary user.
    fn set_owner(&mut self, uid: u32, gid: u32) -> io::Result<()>;

    /// Sets the permission bits.
    ///
    /// # Errors
    /// As fchmod(2).
    fn set_mode(&mut self, mode: u32) -> io::Result<()>;

    /// Gives it this access control list, else keeps the one that its directory gave it, with this mode for its owner, its
    /// group and others.
    ///
    /// # Errors
    /// As fsetxattr(2).
    fn set_acl(&mut self, acl: Option<&Acl>, mode: FileMode) -> io::Result<()>;

    /// Makes the content survive a power cut.
    ///
    /// # Errors
    /// As fsync(2).
    fn sync(&mut self) -> io::Result<()>;
}

/// One that the kernel has made.
pub(super) struct RealNewFile(File);

impl RealNewFile {
    pub(super) fn new(file: File) -> Self {
        Self(file)
    }
}

impl NewFile for RealNewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn set_owner(&mut self, uid: u32, gid: u32) -> io::Result<()> {
        let now = rustix::fs::fstat(&self.0)?;
        if (now.st_uid, now.st_gid) == (uid, gid) {
            return Ok(());
        }
        Ok(rustix::fs::fchown(&self.0, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?)
    }

    fn set_mode(&mut self, mode: u32) -> io::Result<()> {
        Ok(rustix::fs::fchmod(&self.0, Mode::from_raw_mode(mode))?)
    }

    fn set_acl(&mut self, acl: Option<&Acl>, mode: FileMode) -> io::Result<()> {
        let inherited = if acl.is_none() { acl_of(&self.0)? } else { None };
        let Some(acl) = acl.or(inherited.as_ref()) else { return Ok(()) };
        Ok(rustix::fs::fsetxattr(&self.0, ATTRIBUTE, &acl.attribute(mode), XattrFlags::empty())?)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_all()
    }
}

/// A file's access control list, where it says more than its mode.
pub(super) fn acl_of(file: impl AsFd) -> io::Result<Option<Acl>> {
    let mut attribute = [0; acl::MAX];
    match rustix::fs::fgetxattr(file, ATTRIBUTE, &mut attribute) {
        Ok(length) => Ok(attribute.get(..length).and_then(Acl::parse)),
        // There is none, or the file system has none.
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(None),
        Err(e) => Err(e.into()),
    }
}
