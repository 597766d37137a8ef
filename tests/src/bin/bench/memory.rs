//! What a process keeps in memory.

use std::fs;

use anyhow::{Context, Result};

/// The resident set of a process, in bytes (proc_pid_status(5), `VmRSS`).
pub(crate) fn resident(process: u32) -> Result<u64> {
    let path = format!("/proc/{process}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("find VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().with_context(|| format!("read `{line}`"))?;
    Ok(kib * 1024)
}
