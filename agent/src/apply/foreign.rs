//! What is in the places of a placement's new files and no placement's own.
//!
//! Invariant: it is reported before it is replaced, and a copy is kept.

use std::path::Path;

use pinion_proto::{id::CertificateName, report::Original, spec::GuestPath, wire::MAX_ORIGINALS};

use super::{exchange_error::ExchangeError, shared::Shared};
use crate::{
    install::{
        files::Files,
        foreign,
        observed::{self, At, Observed},
        original, place,
        plan::Wanted,
    },
    ledger::{Ledger, SavedFile},
    recipe::{Job, JobFile},
};

/// What is in the places of a job's new files and no placement's, for people to read; nothing is changed.
pub(super) fn survey(shared: &Shared, files: &dyn Files, ledger: &Ledger, job: &Job) -> Vec<Original> {
    let is_new = |file: &&JobFile| ledger.files().all(|known| known.path != file.path);
    let config = &shared.context.config;
    let there = |path: &GuestPath| {
        let place = place::find(files, config, path).ok().filter(|place| place.missing.is_empty())?;
        observed::read(files, &place.target).ok()?
    };
    let new = job.files.iter().filter(is_new);
    let found: Vec<_> = new.filter_map(|file| Some((&file.path, there(&file.path)?))).collect();
    if found.is_empty() {
        return Vec::new();
    }
    // What cannot be read fails the installation, which reports it.
    let Ok(others) = shared.files_of_others(None) else { return Vec::new() };
    let found =
        found.into_iter().filter(|(path, there)| !others.contains(path) && !there.content.trim_ascii().is_empty());
    found.map(|(path, there)| original::of(path, &there.content)).take(MAX_ORIGINALS).collect()
}

/// Keeps what is in the places of new files and no placement's, where it is what will take its place.
pub(super) fn keep(
    shared: &Shared,
    files: &dyn Files,
    name: &CertificateName,
    ledger: &mut Ledger,
    wanted: &[Wanted],
    observed: &Observed,
) -> Result<(), ExchangeError> {
    let is_new = |file: &&Wanted| ledger.files().all(|known| known.path != file.path);
    let found = wanted.iter().filter(is_new).filter_map(|file| match observed.at(&file.target) {
        At::File(there) if there.content != file.content => Some((file, there)),
        _ => None,
    });
    let mut found = found.peekable();
    if found.peek().is_none() {
        return Ok(());
    }
    let others = shared.files_of_others(None)?;
    let foreign: Vec<_> = found.filter(|(file, _)| !others.contains(&file.path)).collect();
    for (file, there) in &foreign {
        foreign::check(file.part, &file.path, &there.content)?;
    }
    for (file, there) in foreign {
        keep_one(shared, files, name, ledger, (&file.path, &file.target, there))?;
    }
    Ok(())
}

/// Keeps a copy of a file that was there before, and notes whose it was: its path, its real path, and the file.
pub(super) fn keep_one(
    shared: &Shared,
    files: &dyn Files,
    name: &CertificateName,
    ledger: &mut Ledger,
    (path, target, there): (&GuestPath, &Path, &SavedFile),
) -> Result<(), ExchangeError> {
    let config = &shared.context.config;
    let kept = foreign::keep(files, &config.state, &config.root, target, there)?;
    tracing::info!(certificate = %name, %path, kept = %kept.display(), "Kept a file that was there before");
    if there.content.trim_ascii().is_empty() {
        return Ok(());
    }
    let kept = original::seen_from(&config.root, &kept);
    ledger.originals.retain(|known| known.path != *path);
    ledger.originals.push(Original { kept, ..original::of(path, &there.content) });
    ledger.originals.truncate(MAX_ORIGINALS);
    Ok(())
}
