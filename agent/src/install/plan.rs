//! From what is there and what is wanted to what must be written: pure.
//!
//! Invariant: a plan is empty exactly when everything is as it is wanted already.

use std::path::{Path, PathBuf};

use pinion_proto::{
    bundle::Fingerprint,
    spec::{FileMode, GuestPath, Part},
};
use zeroize::Zeroizing;

use crate::ledger::{InstalledFile, Saved, SavedFile};

/// A file as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// What it contains.
    pub part: Part,
    /// As the spec names it.
    pub path: GuestPath,
    /// Where it really is.
    pub target: PathBuf,
    /// Parent directories that are not there.
    pub missing: Vec<PathBuf>,
    /// Its bytes.
    pub content: Zeroizing<Vec<u8>>,
    /// Its owner's number.
    pub uid: u32,
    /// Its group's number.
    pub gid: u32,
    /// Its permission bits.
    pub mode: FileMode,
}

impl Wanted {
    /// The file as the ledger remembers it.
    #[must_use]
    pub fn installed(&self) -> InstalledFile {
        InstalledFile { part: self.part, path: self.path.clone(), content: Fingerprint::of(&self.content) }
    }

    fn is(&self, present: Option<&SavedFile>) -> bool {
        present.is_some_and(|file| {
            (file.uid, file.gid, file.mode) == (self.uid, self.gid, self.mode) && file.content == self.content
        })
    }
}

/// What must be done, in this order: make, write all, put all in place, remove.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Directories to make, outermost first.
    pub make: Vec<PathBuf>,
    /// Files to exchange.
    pub writes: Vec<Write>,
    /// Files to remove.
    pub removes: Vec<PathBuf>,
}

/// One file to exchange.
#[derive(Clone, PartialEq, Eq)]
pub struct Write {
    /// Where it is written first: beside its target, so that it can be renamed.
    pub temporary: PathBuf,
    /// Where it belongs.
    pub target: PathBuf,
    /// As it should be.
    pub file: SavedFile,
}

impl std::fmt::Debug for Write {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Write").field("target", &self.target).finish_non_exhaustive()
    }
}

impl Plan {
    /// Everything that differs, given what is present at the targets.
    ///
    /// The certificate comes last: whoever watches a pair watches its certificate, and must find the key there.
    #[must_use]
    pub fn forward(mut wanted: Vec<Wanted>, present: &[Saved]) -> Self {
        wanted.sort_by_key(|file| order(file.part));
        let mut plan = Self::default();
        for file in wanted {
            let there = present.iter().find(|saved| saved.path == file.target).and_then(|saved| saved.file.as_ref());
            if file.is(there) {
                continue;
            }
            for directory in file.missing {
                if !plan.make.contains(&directory) {
                    plan.make.push(directory);
                }
            }
            plan.writes.push(Write {
                temporary: temporary(&file.target),
                file: SavedFile { uid: file.uid, gid: file.gid, mode: file.mode, content: file.content },
                target: file.target,
            });
        }
        plan
    }

    /// The way back to what was saved, given what is present now.
    #[must_use]
    pub fn back(saved: &[Saved], present: &[Saved]) -> Self {
        let mut plan = Self::default();
        for old in saved {
            let there = present.iter().find(|now| now.path == old.path).and_then(|now| now.file.as_ref());
            match &old.file {
                Some(file) if there != Some(file) => plan.writes.push(Write {
                    temporary: temporary(&old.path),
                    target: old.path.clone(),
                    file: file.clone(),
                }),
                None if there.is_some() => plan.removes.push(old.path.clone()),
                _ => {}
            }
        }
        plan
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.make.is_empty() && self.writes.is_empty() && self.removes.is_empty()
    }

    /// The directories whose entries change, each once.
    pub fn directories(&self) -> impl Iterator<Item = &Path> {
        let targets = self.writes.iter().map(|write| &write.target).chain(&self.removes).chain(&self.make);
        let mut parents: Vec<&Path> = targets.filter_map(|target| target.parent()).collect();
        parents.sort_unstable();
        parents.dedup();
        parents.into_iter()
    }
}

/// Where the new content of a target is written first. A function of the target alone, so that a leftover is found
/// after a crash; hashed, so that it is no longer than a name may be.
#[must_use]
pub fn temporary(target: &Path) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    let name = target.file_name().unwrap_or_default();
    let mut digest = Fingerprint::of(name.as_bytes()).to_string();
    digest.truncate(16);
    target.with_file_name(format!(".pinion-{digest}.new"))
}

fn order(part: Part) -> u8 {
    match part {
        Part::Ca => 0,
        Part::Chain => 1,
        Part::Key => 2,
        Part::Cert => 3,
        Part::Fullchain => 4,
        Part::Combined => 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(part: Part, content: &str) -> Wanted {
        let path: GuestPath = format!("/etc/ssl/x/{part}").parse().expect("a path");
        Wanted {
            part,
            target: path.as_str().into(),
            path,
            missing: vec!["/etc/ssl/x".into()],
            content: Zeroizing::new(content.into()),
            uid: 0,
            gid: 33,
            mode: "0640".parse().expect("a mode"),
        }
    }

    fn there(wanted: &Wanted) -> Saved {
        let Wanted { uid, gid, mode, content, .. } = wanted.clone();
        Saved { path: wanted.target.clone(), file: Some(SavedFile { uid, gid, mode, content }) }
    }

    #[test]
    fn the_certificate_is_put_in_place_after_its_key() {
        let plan = Plan::forward(Part::ALL.map(|part| wanted(part, "x")).to_vec(), &[]);
        let names: Vec<_> = plan.writes.iter().map(|write| write.target.file_name().expect("a name")).collect();
        assert_eq!(names, ["ca", "chain", "key", "cert", "fullchain", "combined"]);
        assert_eq!(plan.make, [PathBuf::from("/etc/ssl/x")]);
    }

    #[test]
    fn nothing_is_planned_when_all_is_as_wanted() {
        let files = vec![wanted(Part::Key, "k"), wanted(Part::Cert, "c")];
        let present: Vec<_> = files.iter().map(there).collect();
        assert!(Plan::forward(files.clone(), &present).is_empty());
        for change in [
            |file: &mut SavedFile| file.mode = "0644".parse().expect("a mode"),
            |file: &mut SavedFile| file.uid = 1,
            |file: &mut SavedFile| file.gid = 1,
            |file: &mut SavedFile| file.content.push(b'!'),
        ] {
            let mut present = present.clone();
            present.iter_mut().skip(1).filter_map(|saved| saved.file.as_mut()).for_each(change);
            assert_eq!(Plan::forward(files.clone(), &present).writes.len(), 1);
        }
    }

    #[test]
    fn the_way_back_restores_what_was_and_removes_what_was_not() {
        let (old, new) = (wanted(Part::Key, "old"), wanted(Part::Key, "new"));
        let added = wanted(Part::Cert, "new");
        let saved = [there(&old), Saved { path: added.target.clone(), file: None }];
        let plan = Plan::back(&saved, &[there(&new), there(&added)]);
        assert_eq!((plan.writes.len(), plan.removes.as_slice()), (1, &[added.target.clone()][..]));
        assert!(Plan::back(&saved, &saved).is_empty());
        assert_eq!(temporary(&old.target).parent(), old.target.parent());
    }
}
