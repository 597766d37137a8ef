//! What is removed of a placement: everything at a purge, and else what nobody needs any more.
//!
//! Invariant: a file that somebody changed since Pinion wrote it stays, and so do one that another placement has and a
//! generation that some reader may still be led to.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use pinion_proto::{causes::chain, message::Purged, report::Original, spec::GuestPath, stage::Stage};

use super::{context::Context, exchange::Exchange, exchange_error::ExchangeError};
use crate::{
    install::{
        InstallError,
        drift::{self, Drift},
        execute::{Exchanged, clean},
        generations::{BEFORE, Generations},
        named, observed, original, place,
    },
    ledger::{InstalledFile, Journal, Ledger, LedgerError},
    recipe::{self, Job},
};

impl Exchange {
    /// Removes what is left of roots that are not wanted any more; true when there was something to remove.
    pub(super) fn drop_former(&self, ledger: &mut Ledger) -> Result<bool, ExchangeError> {
        let mut changed = Vec::new();
        let before = ledger.left_behind.len();
        if before == 0 {
            return Ok(false);
        }
        let others = self.others()?;
        for file in &ledger.left_behind {
            if self.remove(file, &others)? == Removal::Left {
                changed.push(file.clone());
            }
        }
        let removed = changed.len() < before;
        if removed {
            ledger.left_behind = changed;
            if let Some(held) = &mut ledger.held {
                // Whoever made a store of them has to make it anew.
                (held.stage, held.unnotified) = (Stage::Installed, true);
            }
            self.save(ledger)?;
        }
        Ok(removed)
    }

    /// Removes every file that Pinion wrote and nobody changed since, then the ledger.
    pub(super) fn purge(&self, ledger: &mut Ledger, restore: bool) -> Result<Purged, ExchangeError> {
        if !ledger.purging || ledger.restoring != restore {
            // Written down first: what a crash interrupts is gone on with.
            (ledger.purging, ledger.restoring) = (true, restore);
            self.save(ledger)?;
        }
        let left = self.remove_all(ledger.files())?;
        for generations in self.generations(ledger)? {
            if !left.is_empty() {
                // What was changed may be behind a link; what it was before is nobody's any more.
                generations.forget_earlier(self.files());
            } else if self.is_there(&generations)? {
                generations.clear(self.files())?;
                // The ledger says where it was, so it goes last also in a power cut.
                Exchanged::found(generations.directories().iter().take(1).map(PathBuf::as_path)).sync(self.files())?;
            }
        }
        let mut purged = Purged { left, ..Purged::all(self.name.clone()) };
        if restore {
            purged.restored = self.restore(&ledger.originals)?;
        }
        let kept = ledger.originals.iter().filter(|original| !purged.restored.contains(&original.path));
        purged.kept = kept.filter_map(|original| original.kept.clone()).collect();
        self.shared.ledgers.remove(&self.name)?;
        *ledger = Ledger::default();
        Ok(purged)
    }

    /// Removes the files that earlier specs put elsewhere; the placement stays.
    pub(super) fn purge_left_behind(&self, ledger: &mut Ledger) -> Result<Purged, ExchangeError> {
        let left = self.remove_all(ledger.left_behind.iter())?;
        ledger.left_behind.clear();
        self.save(ledger)?;
        Ok(Purged { remains: true, left, ..Purged::all(self.name.clone()) })
    }

    /// Where configurations name files that a purge would remove.
    pub(super) fn named(&self, ledger: &Ledger, left_behind: bool) -> Vec<String> {
        let files = ledger.files().map(|file| &file.path);
        let behind = |path: &&GuestPath| ledger.left_behind.iter().any(|file| file.path == **path);
        let Ok(others) = self.others() else { return Vec::new() };
        let files: Vec<_> = files.filter(|path| !others.contains(path) && (!left_behind || behind(path))).collect();
        named::places(&self.shared.context.config.root, &files)
    }

    /// Removes files; those that are left.
    fn remove_all<'f>(&self, files: impl Iterator<Item = &'f InstalledFile>) -> Result<Vec<GuestPath>, ExchangeError> {
        let others = self.others()?;
        let mut left = Vec::new();
        for file in files {
            match self.remove(file, &others) {
                Ok(Removal::Removed) => tracing::info!(certificate = %self.name, path = %file.path, "Removed"),
                Ok(Removal::Anothers) => {
                    tracing::info!(certificate = %self.name, path = %file.path, "Another placement has this file by now");
                }
                Ok(Removal::Left) => {
                    tracing::warn!(certificate = %self.name, path = %file.path, "Left a file that is not as Pinion wrote it");
                    left.push(file.path.clone());
                }
                Err(InstallError::Place(error)) if !error.may_pass() => {
                    tracing::warn!(certificate = %self.name, path = %file.path, %error, "Left a file that may not be touched");
                    left.push(file.path.clone());
                }
                Err(error) => return Err(error.into()),
            }
        }
        // The exchange that was under way may name a file twice.
        left.sort_unstable();
        left.dedup();
        Ok(left)
    }

    /// Puts back what was there before Pinion, where it is valid and its place is free; what is back.
    fn restore(&self, originals: &[Original]) -> Result<Vec<GuestPath>, ExchangeError> {
        let Context { config, clock, .. } = &*self.shared.context;
        let mut restored = Vec::new();
        for original in original::valid(originals, clock.now()) {
            let Ok(place) = place::find(self.files(), config, &original.path) else { continue };
            if original::put_back(self.files(), config, original, &place.target)? {
                tracing::info!(certificate = %self.name, path = %original.path, "Put back what was there before");
                restored.push(original.path.clone());
            }
        }
        Ok(restored)
    }

    /// The files that other placements have.
    fn others(&self) -> Result<BTreeSet<GuestPath>, LedgerError> {
        self.shared.files_of_others(Some(&self.name))
    }

    /// Whether there are generations, or were once: a directory that was never made holds none.
    fn is_there(&self, generations: &Generations) -> Result<bool, InstallError> {
        let [outermost, _] = generations.directories();
        let Some(directory) = outermost.parent() else { return Ok(false) };
        let looked = self.files().look(directory);
        let failed = |source| InstallError::Operation { operation: "look at", path: directory.to_owned(), source };
        Ok(looked.map_err(failed)?.is_some())
    }

    /// Removes the temporary files of an exchange that never came to its journal.
    pub(super) fn sweep(&self, ledger: &Ledger, job: &Job) {
        let paths = job.files.iter().map(|file| &file.path).chain(ledger.files().map(|file| &file.path));
        let config = &self.shared.context.config;
        let targets: Vec<PathBuf> = paths
            .filter_map(|path| place::find(self.files(), config, path).ok())
            .filter(|place| place.missing.is_empty())
            .map(|place| place.target)
            .collect();
        let behind = targets.iter().filter_map(|target| observed::behind(self.files(), target).ok().flatten()?.1);
        let all: Vec<PathBuf> = targets.iter().cloned().chain(behind).collect();
        clean(self.files(), all.iter().map(PathBuf::as_path));
        self.tidy(ledger);
    }

    /// Removes the generations that nobody needs: neither what is in place nor what was there before it.
    pub(super) fn tidy(&self, ledger: &Ledger) {
        let former = |journal: &Journal| journal.previous.as_ref().map_or(BEFORE, |held| held.bundle.generation());
        let back_to = ledger.journal.as_ref().map(former);
        let tidied = self.generations(ledger).and_then(|generations| {
            for generations in generations {
                // What cannot be looked at is read by somebody, for all one knows.
                if !self.is_read(ledger, &generations)? {
                    drop(self.files().remove(&generations.current()));
                }
                generations.tidy(self.files(), back_to);
            }
            Ok(())
        });
        if let Err(error) = tidied.or_else(|error| if error.not_mounted().is_some() { Ok(()) } else { Err(error) }) {
            tracing::warn!(certificate = %self.name, error = chain(&error), "Could not look for what is left of older certificates");
        }
    }

    /// Whether some file is a link to the generations, or will be again on the way back.
    fn is_read(&self, ledger: &Ledger, generations: &Generations) -> Result<bool, InstallError> {
        let saved = ledger.journal.iter().flat_map(|journal| &journal.saved);
        if saved.clone().any(|old| generations.is_beside(&old.path) && old.generation.is_some()) {
            return Ok(true);
        }
        for target in
            saved.map(|old| Ok(Some(old.path.clone()))).chain(ledger.files().map(|file| self.target(&file.path)))
        {
            if let Some(target) = target?
                && generations.is_beside(&target)
                && self.is_own_link(&target)?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Where this placement's generations may be.
    fn generations(&self, ledger: &Ledger) -> Result<Vec<Generations>, InstallError> {
        let saved = ledger.journal.iter().flat_map(|journal| &journal.saved).map(|saved| Ok(Some(saved.path.clone())));
        // What was asked for may have been begun before anything was written down.
        let config = &self.shared.context.config;
        let asked_for = ledger.spec.iter().flat_map(|spec| recipe::paths(spec, config, &ledger.kept()));
        let paths = ledger.files().map(|file| file.path.clone()).chain(asked_for);
        let mut directories = Vec::new();
        for target in paths.map(|path| self.target(&path)).chain(saved) {
            directories.extend(target?.as_deref().and_then(Path::parent).map(Path::to_owned));
        }
        directories.sort_unstable();
        directories.dedup();
        Ok(directories.iter().map(|directory| Generations::of(directory, &self.name)).collect())
    }

    fn remove(&self, file: &InstalledFile, others: &BTreeSet<GuestPath>) -> Result<Removal, InstallError> {
        if others.contains(&file.path) {
            return Ok(Removal::Anothers);
        }
        match drift::look(self.files(), &self.shared.context.config, file)? {
            Drift::Gone => Ok(Removal::Removed),
            Drift::AsWritten(target) => drift::remove(self.files(), &target).map(|()| Removal::Removed),
            Drift::Changed(_) => Ok(Removal::Left),
        }
    }
}

/// What became of a file that was to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Removal {
    /// It is gone.
    Removed,
    /// Somebody changed it, and it stays.
    Left,
    /// Another placement has it, and it stays.
    Anothers,
}
