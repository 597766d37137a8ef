//! Mounting without a helper: root asks the kernel itself.
//!
//! Invariant: as pmxcfs and libfuse 2 do it. What a killed server has left mounted is unmounted first, and nothing is ever
//! mounted over a directory with something in it.

use std::{
    ffi::CString,
    fs::{self, OpenOptions},
    os::fd::{AsRawFd as _, OwnedFd},
    path::Path,
};

use anyhow::{Context, Result, bail};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

/// Mounts; the descriptor is the session's.
pub(super) fn mounted(place: &Path) -> Result<OwnedFd> {
    if unmount(place, UnmountFlags::FORCE).is_ok() {
        tracing::info!(place = %place.display(), "Unmounted what was mounted there");
    }
    fs::create_dir_all(place).with_context(|| format!("make {}", place.display()))?;
    let mut inside = fs::read_dir(place).with_context(|| format!("list the mount point {}", place.display()))?;
    if inside.next().is_some() {
        bail!("fuse: mountpoint is not empty\nfuse: if you are sure this is safe, use the 'nonempty' mount option");
    }
    let device = OpenOptions::new().read(true).write(true).open("/dev/fuse").context("open /dev/fuse")?;
    let options =
        format!("fd={},rootmode=40000,user_id=0,group_id=0,default_permissions,allow_other", device.as_raw_fd());
    let options = CString::new(options).context("write the mount's options")?;
    mount("/dev/fuse", place, "fuse", MountFlags::NOSUID | MountFlags::NODEV, options.as_c_str())
        .with_context(|| format!("mount {}", place.display()))?;
    Ok(device.into())
}

/// Takes the mount away, whoever has a file of it open.
pub(super) fn unmounted(place: &Path) -> Result<()> {
    unmount(place, UnmountFlags::DETACH).with_context(|| format!("unmount {}", place.display()))
}
