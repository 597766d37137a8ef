//! What a process keeps in memory, and the most that it ever had; and what it took of the processors.

use std::{fs, time::Duration};

use anyhow::{Context, Result};

/// The resident set of a process, in bytes (proc_pid_status(5), `VmRSS`).
///
/// # Errors
/// There is no such process.
pub fn resident(process: u32) -> Result<u64> {
    read(process, "VmRSS:")
}

/// The largest that the resident set has been since [`forget_peak`], in bytes (`VmHWM`).
///
/// # Errors
/// There is no such process.
pub fn peak(process: u32) -> Result<u64> {
    read(process, "VmHWM:")
}

/// Begins to look for the largest anew (proc_pid_clear_refs(5), 5).
///
/// # Errors
/// The process is another user's.
pub fn forget_peak(process: u32) -> Result<()> {
    let path = format!("/proc/{process}/clear_refs");
    fs::write(&path, "5").with_context(|| format!("write to {path}"))
}

/// The time that a process has spent on processors, in itself and in the kernel, to ten milliseconds (proc_pid_stat(5)).
///
/// # Errors
/// There is no such process.
pub fn processor_time(process: u32) -> Result<Duration> {
    let path = format!("/proc/{process}/stat");
    let stat = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    // The program's name, in parentheses, may have spaces; utime and stime are fields 14 and 15, and a tick is 10 ms.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    let ticks = fields.map(str::parse::<u64>).sum::<Result<u64, _>>().with_context(|| format!("read {path}"))?;
    Ok(Duration::from_millis(ticks * 10))
}

/// What a process has had written to disks, in bytes (proc_pid_io(5), `write_bytes`).
///
/// # Errors
/// There is no such process.
pub fn written(process: u32) -> Result<u64> {
    let path = format!("/proc/{process}/io");
    let io = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let number = io.lines().find_map(|line| line.strip_prefix("write_bytes: ")?.parse().ok());
    number.with_context(|| format!("find write_bytes in {path}"))
}

fn read(process: u32, field: &str) -> Result<u64> {
    let path = format!("/proc/{process}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let line = line.with_context(|| format!("find {field} in {path}"))?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().with_context(|| format!("read `{line}`"))?;
    Ok(kib * 1024)
}
