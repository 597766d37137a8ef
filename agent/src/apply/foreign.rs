//! What is in the places of a placement's new files and no placement's own.

use pinion_proto::{id::CertificateName, spec::GuestPath};

use super::{exchange_error::ExchangeError, shared::Shared};
use crate::{
    install::{
        files::Files,
        foreign,
        observed::{At, Observed},
        plan::Wanted,
    },
    ledger::Ledger,
};

/// Keeps what is in the places of new files and no placement's, where it is what will take its place.
pub(super) fn keep(
    shared: &Shared,
    files: &dyn Files,
    name: &CertificateName,
    ledger: &Ledger,
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
    let others = shared.ledgers.read_all()?;
    let known = |path: &GuestPath| {
        let mut known = others.values().filter_map(|other| other.as_ref().ok()).flat_map(Ledger::files);
        known.any(|file| file.path == *path)
    };
    let foreign: Vec<_> = found.filter(|(file, _)| !known(&file.path)).collect();
    for (file, there) in &foreign {
        foreign::check(file.part, &file.path, &there.content)?;
    }
    let config = &shared.context.config;
    for (file, there) in foreign {
        let kept = foreign::keep(files, &config.state, &config.root, &file.target, there)?;
        tracing::info!(certificate = %name, path = %file.path, kept = %kept.display(), "Kept a file that was there before");
    }
    Ok(())
}
