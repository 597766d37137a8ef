//! What a support person needs to see, in one file and without secrets.
//!
//! Invariant: nothing gets into the file but through [`Bundle::add`], which takes out what looks like a secret and what is
//! known to be one (`scrub`). Of controller.toml only settings that are known to be no secret keep their text (`redact`).
//! The file is new, and for its owner alone (0600).

mod redact;
mod scrub;
#[cfg(test)]
mod tests;

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use flate2::{Compression, write::GzEncoder};
use pinion_proto::{bundle::Fingerprint, clock::Timestamp};
use schemars::JsonSchema;
use serde::Serialize;

pub(crate) use redact::{Redacted, redacted};
use scrub::Scrub;

/// The largest entry (bytes): the newest part of a longer one is kept.
const MAX_ENTRY: usize = 16 * 1024 * 1024;

/// The largest file with a secret that is searched for (bytes): keys and passwords are small.
const MAX_SECRET: u64 = 64 * 1024;

/// A bundle that was written.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "SupportBundle")]
pub(crate) struct Written {
    /// The file.
    pub(crate) file: PathBuf,
    /// What is in it.
    pub(crate) entries: Vec<String>,
    /// How many secrets were taken out.
    pub(crate) removed: usize,
    /// The file's SHA-256.
    pub(crate) sha256: Fingerprint,
}

/// What goes into the file.
#[derive(Debug)]
pub(crate) struct Bundle {
    scrub: Scrub,
    entries: Vec<(String, String)>,
    removed: usize,
}

impl Bundle {
    /// An empty one, which takes out these texts wherever they are: those that were redacted, and what is in the files with
    /// secrets that the configuration names; a relative path is below `root`.
    pub(crate) fn new(root: &Path, redacted: &Redacted) -> Self {
        let mut scrub = Scrub::default();
        redacted.secrets.iter().for_each(|secret| scrub.secret(secret));
        for file in redacted.files.iter().map(|file| root.join(file)) {
            // A file that cannot be read is in nothing that is read here.
            if fs::metadata(&file).is_ok_and(|found| found.is_file() && found.len() <= MAX_SECRET)
                && let Ok(secret) = fs::read(&file)
            {
                let secret = zeroize::Zeroizing::new(secret);
                scrub.secret(String::from_utf8_lossy(&secret).trim());
            }
        }
        Self { scrub, entries: Vec::new(), removed: 0 }
    }

    /// Adds a text, without its secrets.
    pub(crate) fn add(&mut self, name: impl Into<String>, text: &str) {
        let start = text.len().saturating_sub(MAX_ENTRY);
        let start = (start..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
        let (text, removed) = self.scrub.clean(&text[start..]);
        self.removed += removed;
        self.entries.push((name.into(), text));
    }

    /// Adds what could be had, or why not.
    pub(crate) fn add_or_why(&mut self, name: &str, text: &Result<String, String>) {
        match text {
            Ok(text) => self.add(name, text),
            Err(why) => self.add(format!("{name}.missing"), &format!("{why}\n")),
        }
    }

    /// Writes it to a file that is not there yet.
    ///
    /// # Errors
    /// The file is there, or cannot be written; then it is not there afterwards either.
    pub(crate) fn write(self, file: &Path, now: Timestamp) -> io::Result<Written> {
        let bytes = self.archive(now)?;
        let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
        if let Err(error) = out.write_all(&bytes).and_then(|()| out.sync_all()) {
            // A part of it is of no use to anybody; that it cannot be removed either is told by the first error.
            fs::remove_file(file).ok();
            return Err(error);
        }
        Ok(Written {
            file: file.to_owned(),
            entries: self.entries.into_iter().map(|(name, _)| name).collect(),
            removed: self.removed,
            sha256: Fingerprint::of(&bytes),
        })
    }

    fn archive(&self, now: Timestamp) -> io::Result<Vec<u8>> {
        let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
        for (name, text) in &self.entries {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o600);
            header.set_mtime(u64::try_from(now.unix()).unwrap_or(0));
            archive.append_data(&mut header, Path::new("pinion-support").join(name), text.as_bytes())?;
        }
        archive.into_inner()?.finish()
    }
}
