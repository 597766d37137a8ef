//! What a process keeps in memory, and the processor time it has used.

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

/// The processor time that a process has used, in seconds (proc_pid_stat(5), `utime` and `stime`).
pub(crate) fn processor(process: u32) -> Result<f64> {
    let path = format!("/proc/{process}/stat");
    let stat = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    // The program's name, in parentheses, may have spaces.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: f64 = fields.skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
    // USER_HZ is 100 on every Linux.
    Ok(ticks / 100.0)
}
