//! A key and a certificate as a reader gets them, and whether they belong together.
//!
//! Answers: could whoever reads them always read them, and did it ever get half a pair?

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

use pinion_proto::{bundle::Chain, private_key::PrivateKey};
use rustix::{
    fs::{CWD, Mode, OFlags, openat},
    io::Errno,
};

/// What was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pair {
    /// The key's file.
    pub key: Vec<u8>,
    /// The certificate's.
    pub chain: Vec<u8>,
}

impl Pair {
    /// Reads both by their paths, one after the other.
    ///
    /// # Errors
    /// One of them is not there, or this thread's user may not read it.
    pub fn by_path(key: &Path, chain: &Path) -> io::Result<Self> {
        Ok(Self { key: fs::read(key)?, chain: fs::read(chain)? })
    }

    /// Opens a directory, and both by their names in it; none when the directory was removed meanwhile.
    ///
    /// # Errors
    /// The directory or one of them may not be read by this thread's user.
    pub fn by_handle(directory: &Path, key: &OsStr, chain: &OsStr) -> io::Result<Option<Self>> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let handle = openat(CWD, directory, flags | OFlags::DIRECTORY, Mode::empty())?;
        let read = |name: &OsStr| -> io::Result<Option<Vec<u8>>> {
            let file = match openat(&handle, name, flags, Mode::empty()) {
                Ok(file) => file,
                // Two generations later its directory is emptied.
                Err(Errno::NOENT) => return Ok(None),
                Err(error) => return Err(error.into()),
            };
            let mut bytes = Vec::new();
            File::from(file).read_to_end(&mut bytes)?;
            Ok(Some(bytes))
        };
        Ok(read(key)?.zip(read(chain)?).map(|(key, chain)| Self { key, chain }))
    }

    /// Whether the certificate is for the key; false when one of them is not whole.
    #[must_use]
    pub fn matches(&self) -> bool {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
        let key = text(&self.key).and_then(|text| PrivateKey::from_pem(&text).ok());
        let chain = text(&self.chain).and_then(|text| Chain::from_pem(&text).ok());
        key.zip(chain).is_some_and(|(key, chain)| key.public() == chain.leaf().key())
    }
}

/// What a reader has counted.
#[derive(Debug, Default, Clone)]
pub struct Reads {
    /// Pairs that were read.
    pub pairs: usize,
    /// Of these, the ones that do not match.
    pub mismatched: usize,
    /// Directories that were removed while they were read, and opened anew.
    pub again: usize,
    /// Files that were not there or could not be read.
    pub unreadable: usize,
    /// Why the first of them could not be read.
    pub why: Option<String>,
    last: Pair,
}

impl Reads {
    /// Counts one reading.
    pub fn count(&mut self, read: io::Result<Option<Pair>>) {
        match read {
            Ok(Some(pair)) => {
                self.pairs += 1;
                // What was looked at a moment ago is known.
                if pair != self.last {
                    if pair.matches() {
                        self.last = pair;
                    } else {
                        self.mismatched += 1;
                    }
                }
            }
            Ok(None) => self.again += 1,
            Err(error) => {
                self.why.get_or_insert_with(|| error.to_string());
                self.unreadable += 1;
            }
        }
    }
}
