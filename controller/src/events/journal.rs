//! The file of events: a line of JSON each.
//!
//! Answers: is it written, and if not, why?
//! Invariant: a file that cannot be opened or written stops nobody. What could not be written is kept, up to
//! [`MAX_PENDING`] events, and written as soon as it can be; a line that was cut off by a full disk costs itself alone.

use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use tracing::warn;

use super::Event;

/// At this size (bytes) the file becomes the old one and a new one begins: some 40,000 events each.
const MAX_FILE: u64 = 8 * 1024 * 1024;

/// The longest line that is read back (bytes).
const MAX_LINE: u64 = 64 * 1024;

/// So many events wait for a file that cannot be written: a busy hour.
pub(super) const MAX_PENDING: usize = 1000;

/// Opening never waits for a reader, whatever lies in the file's place.
const NONBLOCK: i32 = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();

/// The file, and what is not in it yet.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: Option<File>,
    pending: VecDeque<Event>,
    /// How many were dropped because too many waited.
    dropped: usize,
    /// Why the last write failed; none when it did not.
    problem: Option<String>,
    /// The last line may be cut off.
    torn: bool,
}

impl Journal {
    pub(super) fn open(path: PathBuf) -> Self {
        let mut journal = Self { path, file: None, pending: VecDeque::new(), dropped: 0, problem: None, torn: false };
        match append(&journal.path) {
            Ok(file) => journal.file = Some(file),
            Err(error) => journal.failed("open", &error),
        }
        journal
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Why events are not written now, if so.
    pub(super) fn problem(&self) -> Option<String> {
        let problem = self.problem.as_ref()?;
        let lost =
            if self.dropped > 0 { format!("; {} events are only in the log", self.dropped) } else { String::new() };
        Some(format!("{problem}{lost}"))
    }

    /// Writes an event, or keeps it for later.
    pub(super) fn append(&mut self, event: &Event) {
        if self.pending.len() == MAX_PENDING {
            self.pending.pop_front();
            self.dropped = self.dropped.saturating_add(1);
        }
        self.pending.push_back(event.clone());
        self.catch_up();
    }

    /// Writes what waits, as far as it can be written.
    pub(super) fn catch_up(&mut self) {
        if self.pending.is_empty() && self.problem.is_none() {
            return;
        }
        match self.write_pending() {
            Ok(()) => {
                self.problem = None;
                self.dropped = 0;
            }
            Err((doing, error)) => {
                // The next try opens anew: perhaps another file is there by then.
                self.file = None;
                self.failed(doing, &error);
            }
        }
    }

    fn write_pending(&mut self) -> Result<(), (&'static str, io::Error)> {
        let mut file = match self.file.take() {
            Some(file) => file,
            None => append(&self.path).map_err(|error| ("open", error))?,
        };
        while let Some(event) = self.pending.front() {
            if file.metadata().map_err(|error| ("look at", error))?.len() > MAX_FILE {
                fs::rename(&self.path, old(&self.path)).map_err(|error| ("put aside", error))?;
                file = append(&self.path).map_err(|error| ("open", error))?;
            }
            let mut line = Vec::new();
            if self.torn {
                line.push(b'\n');
            }
            serde_json::to_writer(&mut line, event).map_err(|error| ("write", error.into()))?;
            line.push(b'\n');
            if let Err(error) = file.write_all(&line) {
                self.torn = true;
                return Err(("write", error));
            }
            self.torn = false;
            self.pending.pop_front();
        }
        self.file = Some(file);
        Ok(())
    }

    fn failed(&mut self, doing: &str, error: &io::Error) {
        let problem = format!("cannot {doing} {}: {error}", self.path.display());
        if self.problem.as_ref() != Some(&problem) {
            warn!("{problem}; Pinion keeps events in memory until it can write the file");
        }
        self.problem = Some(problem);
    }

    /// Where events are, to be read without holding up those who write.
    pub(super) fn content(&self) -> Content {
        Content { path: self.path.clone(), pending: self.pending.iter().cloned().collect() }
    }
}

/// What is in the files and what waits.
pub(super) struct Content {
    path: PathBuf,
    pending: Vec<Event>,
}

impl Content {
    /// The last `max` events that are meant, oldest first. The files are read from their ends, because few of many events
    /// are asked for.
    pub(super) fn last(self, max: usize, is_meant: impl Fn(&Event) -> bool) -> Vec<Event> {
        let mut events = VecDeque::new();
        // Whether there is room for one more.
        let mut take = |event: Event| {
            if events.len() < max && is_meant(&event) {
                events.push_front(event);
            }
            events.len() < max
        };
        let files = [read(&self.path), read(&old(&self.path))];
        let mut has_room = self.pending.into_iter().rev().all(&mut take);
        // What cannot be read is told by `unreadable`.
        for bytes in files.into_iter().flatten().filter_map(|file| tail(file).ok()) {
            if !has_room {
                break;
            }
            let lines = bytes.rsplit(|byte| *byte == b'\n').filter(|line| (line.len() as u64) < MAX_LINE);
            has_room = lines.filter_map(|line| serde_json::from_slice(line).ok()).all(&mut take);
        }
        events.into()
    }

    /// Hands over every event, oldest first.
    pub(super) fn each(self, mut hand_over: impl FnMut(Event)) {
        for path in [old(&self.path), self.path] {
            let Ok(file) = read(&path) else { continue };
            let mut file = BufReader::new(file);
            let mut line = Vec::new();
            loop {
                line.clear();
                match file.by_ref().take(MAX_LINE).read_until(b'\n', &mut line) {
                    Ok(0) | Err(_) => break,
                    Ok(_) => {}
                }
                if let Ok(event) = serde_json::from_slice(&line) {
                    hand_over(event);
                }
            }
        }
        self.pending.into_iter().for_each(hand_over);
    }

    /// Why what was written before cannot be read, if so.
    pub(super) fn unreadable(&self) -> Option<String> {
        let problem = |path: &Path| match read(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Some(format!("cannot read {}: {error}", path.display()))
            }
            _ => None,
        };
        problem(&self.path).or_else(|| problem(&old(&self.path)))
    }
}

fn append(path: &Path) -> io::Result<File> {
    regular(OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(NONBLOCK).open(path)?)
}

fn read(path: &Path) -> io::Result<File> {
    regular(OpenOptions::new().read(true).custom_flags(NONBLOCK).open(path)?)
}

/// The end of a file, of twice its usual size at most.
fn tail(mut file: File) -> io::Result<Vec<u8>> {
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(2 * MAX_FILE)))?;
    let mut bytes = Vec::new();
    file.take(2 * MAX_FILE).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn regular(file: File) -> io::Result<File> {
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is not a regular file")) }
}

fn old(path: &Path) -> PathBuf {
    path.with_extension("1.jsonl")
}

#[cfg(test)]
mod tests {
    use pinion_proto::clock::Timestamp;

    use super::*;
    use crate::events::{Events, Kind};

    fn event(number: i64) -> Event {
        Event::new(Timestamp::from_unix(number), Kind::Asked, format!("event {number}"))
    }

    fn texts(events: &[Event]) -> Vec<&str> {
        events.iter().map(|event| event.text.as_str()).collect()
    }

    #[test]
    fn whatever_lies_in_the_files_place_is_told_and_tried_again() {
        type Make = fn(&Path);
        let places: [(&str, Make); 4] = [
            ("a directory", |path| fs::create_dir(path).expect("made")),
            ("a link to nowhere", |path| std::os::unix::fs::symlink("/nowhere/at/all", path).expect("made")),
            ("a pipe", |path| {
                let mode = rustix::fs::Mode::from_raw_mode(0o600);
                rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).expect("made");
            }),
            ("a device that is full", |path| std::os::unix::fs::symlink("/dev/full", path).expect("made")),
        ];
        for (what, make) in places {
            let directory = tempfile::tempdir().expect("a directory");
            let path = directory.path().join("events.jsonl");
            make(&path);
            let events = Events::open(directory.path());
            events.record(event(1));
            let trouble = events.trouble().unwrap_or_else(|| panic!("{what} is told"));
            assert!(trouble.cause.contains("events.jsonl"), "{what}: {trouble}");
            let recent = events.recent(10, Timestamp::from_unix(2));
            assert_eq!(recent.first(), Some(&event(1)), "{what}: what waits is shown");

            if fs::remove_file(&path).is_err() {
                fs::remove_dir(&path).expect("removed");
            }
            assert_eq!(events.trouble(), None, "{what}: it is tried again");
            let written = fs::read_to_string(&path).expect("the file is there");
            assert!(written.contains("event 1"), "{what}: nothing is lost: {written}");
            assert_eq!(texts(&events.recent(10, Timestamp::from_unix(2))), ["event 1"], "{what}");
        }
    }

    #[test]
    fn a_line_that_was_cut_off_costs_itself_alone() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("events.jsonl");
        let mut journal = Journal::open(path.clone());
        journal.append(&event(1));
        let mut cut_off = OpenOptions::new().append(true).open(&path).expect("opened");
        cut_off.write_all(b"{\"at\":").expect("written");
        journal.torn = true;
        journal.append(&event(2));
        assert_eq!(texts(&journal.content().last(10, |_| true)), ["event 1", "event 2"]);
    }

    #[test]
    fn the_last_ones_are_found_across_the_files_and_what_waits() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("events.jsonl");
        let write = |path: &Path, numbers: std::ops::RangeInclusive<i64>| {
            let lines = numbers.map(|number| serde_json::to_string(&event(number)).expect("JSON") + "\n");
            fs::write(path, lines.collect::<String>()).expect("written");
        };
        write(&old(&path), 1..=3);
        write(&path, 4..=5);
        let content = || Content { path: path.clone(), pending: vec![event(6)] };
        assert_eq!(texts(&content().last(10, |_| true)), (1..=6).map(|n| format!("event {n}")).collect::<Vec<_>>());
        assert_eq!(texts(&content().last(4, |_| true)), ["event 3", "event 4", "event 5", "event 6"]);
        assert_eq!(texts(&content().last(2, |event| event.at.unix() % 2 == 1)), ["event 3", "event 5"]);
        assert!(content().last(0, |_| true).is_empty());
        let mut each = Vec::new();
        content().each(|event| each.push(event.at.unix()));
        assert_eq!(each, [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn so_many_wait_and_no_more() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("events.jsonl");
        fs::create_dir(&path).expect("made");
        let mut journal = Journal::open(path.clone());
        let max = i64::try_from(MAX_PENDING).expect("it fits");
        (0..max + 3).for_each(|number| journal.append(&event(number)));
        assert!(journal.problem().is_some_and(|problem| problem.contains("3 events are only in the log")));
        let all = journal.content().last(MAX_PENDING + 3, |_| true);
        assert_eq!((all.len(), all.first()), (MAX_PENDING, Some(&event(3))));
    }
}
