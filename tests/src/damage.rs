//! Ways in which a file goes bad, for tests that no program loses or replaces it for that.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

/// One way to go bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// No byte is left.
    Empty,
    /// The end is missing, from the middle of a word on, as after a full disk.
    CutOff,
    /// Some bytes are no text.
    NotUtf8,
    /// It is larger than any such file, without taking the disk.
    Enormous,
    /// A later release wrote it.
    Newer,
}

impl Damage {
    /// Every way.
    pub const ALL: [Self; 5] = [Self::Empty, Self::CutOff, Self::NotUtf8, Self::Enormous, Self::Newer];
}

/// A file that was damaged; [`Self::repair`] puts back what it said before.
#[derive(Debug)]
pub struct Damaged {
    path: PathBuf,
    before: Vec<u8>,
    bad: Look,
}

#[derive(Debug, PartialEq, Eq)]
struct Look {
    inode: u64,
    length: u64,
    modified: (i64, i64),
}

impl Damaged {
    /// Damages a file in place.
    ///
    /// # Errors
    /// It cannot be read or written, or has no version to be newer than.
    pub fn new(path: &Path, damage: Damage) -> Result<Self> {
        let before = fs::read(path).with_context(|| format!("read {}", path.display()))?;
        let content = match damage {
            Damage::Empty => Vec::new(),
            Damage::CutOff => {
                let quote = before.iter().rposition(|byte| *byte == b'"').unwrap_or(before.len() / 2);
                before[..quote.saturating_sub(1)].to_vec()
            }
            Damage::NotUtf8 => [before.as_slice(), b"\xff\xfe\x80\n"].concat(),
            Damage::Enormous => before.clone(),
            Damage::Newer => {
                let text = String::from_utf8(before.clone()).with_context(|| format!("read {}", path.display()))?;
                let newer = text.replacen("\"version\":1", "\"version\":99", 1);
                let newer = newer.replacen("\"version\": 1", "\"version\": 99", 1);
                ensure!(newer != text, "{} has no version", path.display());
                newer.into_bytes()
            }
        };
        let write = || {
            fs::write(path, content)?;
            if damage == Damage::Enormous {
                // A hole: it has a length and takes no space.
                fs::OpenOptions::new().write(true).open(path)?.set_len(100 * 1024 * 1024)?;
            }
            look(path)
        };
        let bad = write().with_context(|| format!("damage {}", path.display()))?;
        Ok(Self { path: path.into(), before, bad })
    }

    /// Whether nobody has touched the file since.
    ///
    /// # Errors
    /// It is gone.
    pub fn is_untouched(&self) -> Result<bool> {
        Ok(look(&self.path).with_context(|| format!("look at {}", self.path.display()))? == self.bad)
    }

    /// Puts back what the file said before.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn repair(self) -> Result<()> {
        fs::write(&self.path, self.before).with_context(|| format!("repair {}", self.path.display()))
    }
}

fn look(path: &Path) -> std::io::Result<Look> {
    let found = fs::metadata(path)?;
    Ok(Look { inode: found.ino(), length: found.len(), modified: (found.mtime(), found.mtime_nsec()) })
}
