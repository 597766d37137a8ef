//! From what is there and what is wanted to what must be written: pure.
//!
//! Invariant: a plan is empty exactly when everything is as it is wanted already.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

use pinion_proto::{
    bundle::Fingerprint,
    spec::{FileMode, GuestPath, Layout, Part},
};
use zeroize::Zeroizing;

use super::{
    acl::Acl,
    generations::{BEFORE, Generations},
    observed::{At, Observed, ObservedGenerations},
    steps::{Step, Write},
};
use crate::ledger::{InstalledFile, Saved, SavedFile};

pub use super::steps::Plan;

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
    /// The access control list of what is there, which it keeps.
    pub acl: Option<Acl>,
}

impl Wanted {
    /// The file as the ledger remembers it.
    #[must_use]
    pub fn installed(&self) -> InstalledFile {
        InstalledFile { part: self.part, path: self.path.clone(), content: Fingerprint::of(&self.content) }
    }

    /// Whether a file is as it should be.
    #[must_use]
    pub fn is(&self, there: &SavedFile) -> bool {
        (there.uid, there.gid, there.mode) == (self.uid, self.gid, self.mode) && there.content == self.content
    }

    fn saved(&self) -> SavedFile {
        let Self { uid, gid, mode, .. } = *self;
        SavedFile { uid, gid, mode, acl: self.acl.clone(), content: self.content.clone() }
    }

    fn name(&self) -> &OsStr {
        self.target.file_name().unwrap_or_default()
    }
}

impl Plan {
    /// Everything that differs from what is wanted, as a layout has it.
    #[must_use]
    pub fn forward(layout: Layout, wanted: Vec<Wanted>, generation: u64, observed: &Observed) -> Self {
        match layout {
            Layout::Copy => Self::copy(wanted, observed),
            Layout::Symlink => Self::symlink(wanted, generation, observed),
        }
    }

    /// Everything that differs from what is wanted as regular files.
    ///
    /// The certificate comes last: whoever watches a pair watches its certificate, and must find the key there.
    fn copy(mut wanted: Vec<Wanted>, observed: &Observed) -> Self {
        wanted.sort_by_key(|file| order(file.part));
        let mut plan = Self::default();
        for file in wanted {
            if matches!(observed.at(&file.target), At::File(there) if file.is(there)) {
                continue;
            }
            plan.make(&file.missing);
            plan.exchange(&file.target.clone(), file.saved());
        }
        plan
    }

    /// Everything that differs from what is wanted as links to a generation's directory.
    ///
    /// A regular file that is in the place of a link is first copied to the generation in use, and then exchanged for
    /// a link to the copy; so until the one rename of `current` every reader gets what was there before.
    fn symlink(mut wanted: Vec<Wanted>, generation: u64, observed: &Observed) -> Self {
        wanted.sort_by_key(|file| order(file.part));
        let mut plan = Self::default();
        // The directory with the certificate is switched last.
        let mut directories: Vec<PathBuf> = Vec::new();
        for directory in wanted.iter().filter_map(|file| file.target.parent()) {
            directories.retain(|known| known != directory);
            directories.push(directory.into());
        }
        for directory in &directories {
            let Some(found) = observed.generations(directory) else { continue };
            let files: Vec<_> =
                wanted.iter().filter(|file| file.target.parent() == Some(directory.as_path())).collect();
            if found.in_use == Some(generation) {
                plan.mend(&files, found, observed);
            } else {
                plan.next_generation(&files, generation, found, observed);
            }
        }
        plan
    }

    /// Puts a generation right that is in use already.
    fn mend(&mut self, files: &[&Wanted], found: &ObservedGenerations, observed: &Observed) {
        let ObservedGenerations { generations, in_use, .. } = found;
        let Some(directory) = in_use.map(|generation| generations.directory_of(generation)) else { return };
        for file in files {
            let at = observed.at(&file.target);
            if matches!(at, At::Alias(Some(there)) if file.is(there)) {
                continue;
            }
            self.exchange(&directory.join(file.name()), file.saved());
            if !matches!(at, At::Alias(_)) {
                self.alias(file, generations);
            }
        }
    }

    /// Makes a new generation and switches to it.
    fn next_generation(
        &mut self,
        files: &[&Wanted],
        generation: u64,
        found: &ObservedGenerations,
        observed: &Observed,
    ) {
        let ObservedGenerations { generations, in_use, .. } = found;
        for file in files {
            self.make(&file.missing);
        }
        if in_use.is_none() {
            self.make(&generations.directories());
        }
        let new = generations.directory_of(generation);
        for file in files {
            self.writes.push(Write { path: new.join(file.name()), file: file.saved() });
        }
        // What is not asked for any more stays as it is until it is purged: its link leads to the new generation too.
        for (name, file) in observed.others(found, files.iter().map(|file| file.target.as_path())) {
            self.writes.push(Write { path: new.join(name), file: file.clone() });
        }
        self.fresh.push(new);
        let before = generations.directory_of(in_use.unwrap_or(BEFORE));
        let foreign: Vec<_> = files.iter().filter(|file| !matches!(observed.at(&file.target), At::Alias(_))).collect();
        let mut copies = foreign.iter().filter_map(|file| match observed.at(&file.target) {
            At::File(there) => Some((before.join(file.name()), there.clone())),
            At::Nothing | At::Alias(_) => None,
        });
        if in_use.is_some() {
            copies.for_each(|(path, file)| self.exchange(&path, file));
        } else if let Some(first) = copies.next() {
            self.writes.extend([first].into_iter().chain(copies).map(|(path, file)| Write { path, file }));
            self.fresh.push(before);
            self.switch(generations, BEFORE);
        }
        for file in foreign {
            self.alias(file, generations);
        }
        self.switch(generations, generation);
    }

    /// The way back to what was saved. `kept` says what a generation's directory still has.
    ///
    /// # Errors
    /// As `kept`.
    pub fn back<E>(
        saved: &[Saved],
        observed: &Observed,
        kept: impl Fn(&Path) -> Result<Option<SavedFile>, E>,
    ) -> Result<Self, E> {
        let mut plan = Self::default();
        for found in &observed.generations {
            let saved: Vec<_> = saved.iter().filter(|old| old.path.parent() == Some(&found.directory)).collect();
            let through = saved.iter().find_map(|old| old.generation);
            if through.is_some() || found.in_use.is_some() {
                plan.switch_back(&saved, through, found, &kept)?;
            }
            for old in saved {
                let (at, name) = (observed.at(&old.path), old.path.file_name().unwrap_or_default());
                match (&old.file, old.generation) {
                    (Some(_), Some(_)) if !matches!(at, At::Alias(_)) => {
                        plan.link(&old.path, found.generations.alias(name));
                    }
                    (Some(file), None) if !matches!(at, At::File(there) if there == file) => {
                        plan.exchange(&old.path, file.clone());
                    }
                    (None, _) if *at != At::Nothing => plan.steps.push(Step::Remove(old.path.clone())),
                    _ => {}
                }
            }
            let current = Step::Remove(found.generations.current());
            if through.is_none() && found.in_use.is_some() && !plan.steps.contains(&current) {
                // No link is left that goes through it.
                plan.steps.push(current);
            }
        }
        Ok(plan)
    }

    /// Has readers of the links get what was there before, all at once.
    fn switch_back<E>(
        &mut self,
        saved: &[&Saved],
        through: Option<u64>,
        found: &ObservedGenerations,
        kept: impl Fn(&Path) -> Result<Option<SavedFile>, E>,
    ) -> Result<(), E> {
        let ObservedGenerations { generations, in_use, .. } = found;
        let to = through.or_else(|| saved.iter().any(|old| old.file.is_some()).then_some(BEFORE));
        let Some(to) = to else {
            // Nothing was there: without `current` every link leads nowhere.
            self.steps.push(Step::Remove(generations.current()));
            return Ok(());
        };
        for old in saved.iter().filter(|old| old.generation == through) {
            let (Some(file), Some(name)) = (&old.file, old.path.file_name()) else { continue };
            let path = generations.directory_of(to).join(name);
            if kept(&path)?.as_ref() != Some(file) {
                self.make(&generations.directories());
                self.make(&[generations.directory_of(to)]);
                self.exchange(&path, file.clone());
            }
        }
        if *in_use != Some(to) {
            self.switch(generations, to);
        }
        Ok(())
    }

    fn alias(&mut self, file: &Wanted, generations: &Generations) {
        self.link(&file.target, generations.alias(file.name()));
    }
}

fn order(part: Part) -> u8 {
    match part {
        Part::Ca => 0,
        Part::Chain => 1,
        Part::Key | Part::EncryptedKey => 2,
        Part::Cert | Part::Der => 3,
        Part::Fullchain => 4,
        Part::Combined | Part::Pkcs12 | Part::Jks => 5,
    }
}

#[cfg(test)]
mod tests;
