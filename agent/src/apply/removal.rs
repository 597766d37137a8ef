//! What is removed of a placement: everything at a purge, and else what nobody needs any more.
//!
//! Invariant: a file that somebody changed since Pinion wrote it stays, and so does a generation that some reader may still
//! be led to.

use std::path::{Path, PathBuf};

use pinion_proto::{causes::chain, spec::GuestPath, stage::Stage};

use super::{exchange::Exchange, exchange_error::ExchangeError};
use crate::{
    install::{
        InstallError,
        drift::{self, Drift},
        execute::{Exchanged, clean},
        generations::{BEFORE, Generations},
        observed, place,
    },
    ledger::{InstalledFile, Journal, Ledger},
    recipe::{self, Job},
};

impl Exchange {
    /// Removes what is left of roots that are not wanted any more; true when there was something to remove.
    pub(super) fn drop_former(&self, ledger: &mut Ledger) -> Result<bool, ExchangeError> {
        let mut changed = Vec::new();
        let before = ledger.left_behind.len();
        for file in &ledger.left_behind {
            if !self.remove(file)? {
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

    /// Removes every file that Pinion wrote and nobody changed since, then the ledger; the files that are left.
    pub(super) fn purge(&self, ledger: &mut Ledger) -> Result<Vec<GuestPath>, ExchangeError> {
        if !ledger.purging {
            // Written down first: what a crash interrupts is gone on with.
            ledger.purging = true;
            self.save(ledger)?;
        }
        let mut left = Vec::new();
        for file in ledger.files() {
            match self.remove(file) {
                Ok(true) => tracing::info!(certificate = %self.name, path = %file.path, "Removed"),
                Ok(false) => {
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
        for generations in self.generations(ledger)? {
            if left.is_empty() {
                generations.clear(self.files())?;
                // The ledger says where it was, so it goes last also in a power cut.
                Exchanged::found(generations.directories().iter().take(1).map(PathBuf::as_path)).sync(self.files())?;
            } else {
                // What was changed may be behind a link; what it was before is nobody's any more.
                generations.forget_earlier(self.files());
            }
        }
        self.shared.ledgers.remove(&self.name)?;
        *ledger = Ledger::default();
        // The exchange that was under way may name a file twice.
        left.sort_unstable();
        left.dedup();
        Ok(left)
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

    fn remove(&self, file: &InstalledFile) -> Result<bool, InstallError> {
        match drift::look(self.files(), &self.shared.context.config, file)? {
            Drift::Gone => Ok(true),
            Drift::AsWritten(target) => drift::remove(self.files(), &target).map(|()| true),
            Drift::Changed(_) => Ok(false),
        }
    }
}
