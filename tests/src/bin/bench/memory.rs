//! The processor time that a process has used.

use std::fs;

use anyhow::{Context, Result};

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
