//! On what it was measured, and how busy that was with other things.

use std::{fs, thread, time::SystemTime};

use anyhow::{Context, Result};
use time::OffsetDateTime;

/// A machine, and its load at the beginning and at the end.
pub(super) struct Machine {
    what: String,
    date: String,
    load: Vec<String>,
}

impl Machine {
    /// At the beginning.
    pub(super) fn look() -> Result<Self> {
        let read = |path: &str| fs::read_to_string(path).with_context(|| format!("read {path}"));
        let after = |text: &str, key: &str, separator: char| {
            let line = text.lines().find(|line| line.starts_with(key));
            line.and_then(|line| line.split_once(separator)).map(|(_, value)| value.trim().trim_matches('"').to_owned())
        };
        let processor =
            after(&read("/proc/cpuinfo")?, "model name", ':').unwrap_or_else(|| "an unknown processor".into());
        let memory = after(&read("/proc/meminfo")?, "MemTotal", ':').context("find the memory's size")?;
        let kib: u64 = memory.trim_end_matches(" kB").parse().context("read the memory's size")?;
        let system = after(&read("/etc/os-release")?, "PRETTY_NAME", '=').unwrap_or_else(|| "Linux".into());
        let kernel = read("/proc/sys/kernel/osrelease")?;
        let cores = thread::available_parallelism().context("count the cores")?;
        let gib = (kib + 512 * 1024) / 1024 / 1024;
        Ok(Self {
            what: format!("{cores} cores ({processor}), {gib} GiB, {system}, Linux {}", kernel.trim()),
            date: OffsetDateTime::from(SystemTime::now()).date().to_string(),
            load: vec![load()?],
        })
    }

    /// At the end.
    pub(super) fn look_again(&mut self) -> Result<()> {
        self.load.push(load()?);
        Ok(())
    }

    /// In a sentence or two.
    pub(super) fn text(&self) -> String {
        let Self { what, date, load } = self;
        format!("Machine: {what}. Date: {date}. Load in the minute before, and at the end: {}.", load.join(", "))
    }
}

/// The first number of /proc/loadavg.
fn load() -> Result<String> {
    let text = fs::read_to_string("/proc/loadavg").context("read /proc/loadavg")?;
    Ok(text.split_whitespace().next().context("read /proc/loadavg")?.to_owned())
}
