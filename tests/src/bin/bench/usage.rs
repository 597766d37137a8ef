//! What processes take of the machine: memory, wake-ups, processor time, files.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs,
    ops::{Add, Sub},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};

/// Since its threads began.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Usage {
    /// How often a thread was given a processor: context switches, voluntary or not.
    pub(crate) switches: u64,
    /// Time on processors.
    pub(crate) processor: Duration,
}

impl Add for Usage {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { switches: self.switches + other.switches, processor: self.processor + other.processor }
    }
}

impl Sub for Usage {
    type Output = Self;

    /// A thread that has ended takes what it used with it.
    fn sub(self, other: Self) -> Self {
        Self {
            switches: self.switches.saturating_sub(other.switches),
            processor: self.processor.saturating_sub(other.processor),
        }
    }
}

/// Of all threads of a process that are there now.
pub(crate) fn usage(process: u32) -> Result<Usage> {
    Ok(threads(process)?.into_values().fold(Usage::default(), |sum, thread| sum + thread))
}

/// What a process takes from now on, that of threads which end meanwhile included.
#[derive(Debug)]
pub(crate) struct Meter {
    process: u32,
    begun: BTreeMap<OsString, Usage>,
    seen: BTreeMap<OsString, Usage>,
}

impl Meter {
    pub(crate) fn start(process: u32) -> Result<Self> {
        let begun = threads(process)?;
        Ok(Self { process, seen: begun.clone(), begun })
    }

    /// Notes what its threads have taken by now. What one takes between the last look at it and its end is not counted, so
    /// this is to be called often: an idle thread of tokio's ends after seconds.
    pub(crate) fn look(&mut self) -> Result<()> {
        self.seen.extend(threads(self.process)?);
        Ok(())
    }

    /// Until the last look.
    pub(crate) fn used(&self) -> Usage {
        let before = |thread: &OsString| self.begun.get(thread).copied().unwrap_or_default();
        self.seen.iter().fold(Usage::default(), |sum, (thread, seen)| sum + (*seen - before(thread)))
    }
}

/// By thread (proc_pid_status(5), and `schedstat` beside it, whose first field is nanoseconds).
fn threads(process: u32) -> Result<BTreeMap<OsString, Usage>> {
    let mut threads = BTreeMap::new();
    let tasks = format!("/proc/{process}/task");
    for task in fs::read_dir(&tasks).with_context(|| format!("list {tasks}"))? {
        let task = task.with_context(|| format!("list {tasks}"))?;
        let path = task.path();
        // A thread that has just ended is not counted.
        let (Ok(status), Ok(schedule)) =
            (fs::read_to_string(path.join("status")), fs::read_to_string(path.join("schedstat")))
        else {
            continue;
        };
        let switches = status.lines().filter_map(|line| line.split_once("voluntary_ctxt_switches:"));
        let switches = switches.filter_map(|(_, number)| number.trim().parse::<u64>().ok()).sum();
        let nanoseconds = schedule.split_whitespace().next().and_then(|first| first.parse().ok());
        let processor = Duration::from_nanos(nanoseconds.with_context(|| format!("read {}", path.display()))?);
        threads.insert(task.file_name(), Usage { switches, processor });
    }
    Ok(threads)
}

/// A process's share of what it has in memory: what several have is divided among them (`Pss` in smaps_rollup), in bytes.
pub(crate) fn memory(process: u32) -> Result<u64> {
    let path = format!("/proc/{process}/smaps_rollup");
    let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    Ok(kib.with_context(|| format!("find Pss in {path}"))? * 1024)
}

/// The shared libraries that a process has mapped.
pub(crate) fn libraries(process: u32) -> Result<BTreeSet<PathBuf>> {
    let path = format!("/proc/{process}/maps");
    let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let files = text.lines().filter_map(|line| line.split_once('/')).map(|(_, file)| PathBuf::from(format!("/{file}")));
    Ok(files.filter(|file| file.to_string_lossy().contains(".so")).collect())
}

/// The length of a file, or of all files below a directory, in bytes; a link counts as what it is.
pub(crate) fn size(path: &Path) -> Result<u64> {
    let look = || format!("look at {}", path.display());
    let metadata = fs::symlink_metadata(path).with_context(look)?;
    if !metadata.is_dir() {
        // A socket or a pipe has none.
        return Ok(if metadata.is_file() { metadata.len() } else { 0 });
    }
    fs::read_dir(path).with_context(look)?.map(|entry| size(&entry.with_context(look)?.path())).sum()
}
