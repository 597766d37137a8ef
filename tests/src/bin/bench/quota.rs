//! A process that gets a part of a core and no more, as a container with a CPU limit does (cgroups(7)).

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// The limit is counted in slices of this length, so short that no caller feels one (microseconds).
const SLICE: u32 = 10_000;

/// The limit on one process; lifted when dropped.
pub(crate) struct Quota {
    top: PathBuf,
    group: PathBuf,
    process: u32,
}

impl Quota {
    /// Holds a process to `percent` of one core.
    pub(crate) fn hold(process: u32, percent: u32) -> Result<Self> {
        let unified = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
        let top = Path::new("/sys/fs/cgroup").join(if unified { "" } else { "cpu" });
        let group = top.join(format!("pinion-bench-{}", std::process::id()));
        fs::create_dir(&group).with_context(|| format!("make the control group {}: root may", group.display()))?;
        let quota = Self { top, group, process };
        let slice = SLICE * percent / 100;
        if unified {
            quota.write(&quota.top, "cgroup.subtree_control", "+cpu")?;
            quota.write(&quota.group, "cpu.max", &format!("{slice} {SLICE}"))?;
        } else {
            quota.write(&quota.group, "cpu.cfs_period_us", &SLICE.to_string())?;
            quota.write(&quota.group, "cpu.cfs_quota_us", &slice.to_string())?;
        }
        quota.write(&quota.group, "cgroup.procs", &process.to_string())?;
        Ok(quota)
    }

    fn write(&self, directory: &Path, file: &str, text: &str) -> Result<()> {
        let path = directory.join(file);
        fs::write(&path, text).with_context(|| format!("write `{text}` to {}", path.display()))
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        // A group with a process in it cannot be removed.
        let freed = self.write(&self.top, "cgroup.procs", &self.process.to_string());
        let removed = fs::remove_dir(&self.group).with_context(|| format!("remove {}", self.group.display()));
        if let Err(error) = freed.and(removed) {
            eprintln!("bench: {error:#}");
        }
    }
}
