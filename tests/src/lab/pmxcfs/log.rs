//! The log that the files are replayed from.
//!
//! Answers: what has happened, in which order? Invariant: entries are only ever appended, one a line; a line that a kill
//! has cut short was answered to nobody, and goes at the next start.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    path::Path,
};

use anyhow::{Context, Result, ensure};

use super::entry::{Entry, Operation};

/// The log of one node.
#[derive(Debug)]
pub struct Log {
    file: File,
    length: u64,
    node: String,
    sequence: u64,
}

impl Log {
    /// Opens or begins the log, with what is in it.
    ///
    /// # Errors
    /// It cannot be read, or a line of it is none.
    pub fn open(path: &Path, node: &str) -> Result<(Self, Vec<Entry>)> {
        let file = OpenOptions::new().create(true).read(true).append(true).open(path);
        let mut file = file.with_context(|| format!("open {}", path.display()))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text).with_context(|| format!("read {}", path.display()))?;
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let length = u64::try_from(whole).context("measure the log")?;
        file.set_len(length).with_context(|| format!("cut an unfinished line off {}", path.display()))?;
        let mut entries = Vec::new();
        let mut last: BTreeMap<String, u64> = BTreeMap::new();
        for (index, line) in text[..whole].split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty())
        {
            let named = || format!("read line {} of {}", index + 1, path.display());
            let entry: Entry = serde_json::from_slice(line).with_context(named)?;
            let before = last.insert(entry.node.clone(), entry.sequence).unwrap_or(0);
            ensure!(entry.sequence == before + 1, "{}: {} follows {before}", named(), entry.sequence);
            entries.push(entry);
        }
        let sequence = last.get(node).copied().unwrap_or(0);
        Ok((Self { file, length, node: node.to_owned(), sequence }, entries))
    }

    /// The entry that would come next on this node.
    #[must_use]
    pub fn next(&self, at: u64, operation: Operation) -> Entry {
        Entry { node: self.node.clone(), sequence: self.sequence + 1, at, operation }
    }

    /// Appends an entry; a later start finds it, however this process ends.
    ///
    /// # Errors
    /// It cannot be written, and is not in the log then.
    pub fn append(&mut self, entry: &Entry) -> Result<()> {
        let mut line = serde_json::to_vec(entry).context("write an entry")?;
        line.push(b'\n');
        if let Err(error) = self.file.write_all(&line) {
            self.file.set_len(self.length).context("take half an entry back")?;
            return Err(error).context("append to the log");
        }
        self.length = self.file.seek(SeekFrom::End(0)).context("measure the log")?;
        if entry.node == self.node {
            self.sequence = entry.sequence;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn create(path: &str) -> Operation {
        Operation::Create { path: path.into() }
    }

    #[test]
    fn what_was_appended_is_there_again_and_half_a_line_is_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("operations");
        let (mut log, before) = Log::open(&path, "pve1").expect("opened");
        assert_eq!(before, []);
        let written = Operation::Write { path: "one".into(), offset: 0, data: vec![0, 255, 10] };
        for operation in [create("one"), written] {
            let entry = log.next(7, operation);
            log.append(&entry).expect("appended");
        }
        let whole = fs::read(&path).expect("read");
        for cut in 0..whole.len() {
            fs::write(&path, &whole[..cut]).expect("cut");
            let (_, found) = Log::open(&path, "pve1").expect("opened");
            assert_eq!(found.len(), whole[..cut].iter().filter(|byte| **byte == b'\n').count());
        }
        fs::write(&path, &whole).expect("written");
        let (log, found) = Log::open(&path, "pve1").expect("opened");
        assert_eq!(found.iter().map(|entry| entry.sequence).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(log.next(8, create("two")).sequence, 3);
        let (other, _) = Log::open(&path, "pve2").expect("opened");
        assert_eq!(other.next(8, create("two")).sequence, 1, "each node counts its own");
    }

    #[test]
    fn an_entry_that_is_missing_is_noticed() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("operations");
        let (log, _) = Log::open(&path, "pve1").expect("opened");
        let mut entry = log.next(7, create("one"));
        entry.sequence = 2;
        fs::write(&path, serde_json::to_string(&entry).expect("JSON") + "\n").expect("written");
        let error = format!("{:#}", Log::open(&path, "pve1").expect_err("refused"));
        assert!(error.contains("line 1 of") && error.contains("2 follows 0"), "{error}");
    }
}
