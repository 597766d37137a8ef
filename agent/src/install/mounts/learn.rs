//! What a placement needs mounted: what its directories were on when they were last looked at, what the manifest says,
//! and, where nothing is known yet, what the machine means to mount.
//!
//! Invariant: what is noted is only ever replaced by a mount point further inside, so an unmounted file system is not taken
//! for a directory of the one below it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use pinion_proto::{mount::MountPoint, spec::GuestPath};

use super::{
    super::{
        InstallError,
        drift::{self, Drift},
        files::Files,
        place::{self, PlaceError},
    },
    Guard, NotMounted, PROXMOX, STORAGES, Unknown, What, fstab,
};
use crate::{config::Config, ledger::Ledger};

/// The guard of a placement's files.
#[must_use]
pub fn guard(files: &dyn Files, config: &Config, ledger: &Ledger) -> Guard {
    let mut guard = certain(files, config, ledger);
    if is_free(ledger) {
        return guard;
    }
    let known = |point: &Path| ledger.mounts.keys().any(|directory| directory.starts_with(point));
    match fstab::points(files, config) {
        Ok(points) => {
            for point in points.into_iter().filter(|point| !known(point)) {
                guard.need(point, What::Anything);
            }
        }
        Err((path, error)) => guard.unknown = Some(Arc::new(Unknown { path, cause: error.to_string() })),
    }
    let storages = config.root.join(STORAGES);
    let storage = |directory: &PathBuf| {
        let name = directory.strip_prefix(&storages).ok()?.components().next()?;
        Some(storages.join(name))
    };
    guard.plain = ledger.mounts.keys().filter_map(storage).collect();
    guard.storages = Some(storages);
    guard
}

/// What is known, or was asked for, without a guess at what the machine means to mount.
fn certain(files: &dyn Files, config: &Config, ledger: &Ledger) -> Guard {
    let mut guard = Guard::default();
    let what = if config.root == Path::new("/") { What::Fuse } else { What::FuseOrFilled };
    guard.need(config.root.join(PROXMOX), what);
    if let Some(required) = required(files, config, ledger) {
        guard.need(required, What::Anything);
    }
    if !is_free(ledger) {
        for point in ledger.mounts.values().filter(|point| **point != config.root) {
            guard.need(point.clone(), What::Anything);
        }
    }
    guard
}

/// The mount point that the manifest names.
fn required(files: &dyn Files, config: &Config, ledger: &Ledger) -> Option<PathBuf> {
    let path: GuestPath = ledger.spec.as_ref()?.requires_mount.as_ref()?.path()?;
    Some(place::real(files, config, &path).map_or(config.under_root(&path), |real| real.path))
}

/// Whether the manifest says that the files need no mount.
fn is_free(ledger: &Ledger) -> bool {
    let required = ledger.spec.as_ref().and_then(|spec| spec.requires_mount.as_ref());
    required.is_some_and(MountPoint::is_root)
}

/// Looks whether all that a placement's files need is mounted, and notes on which mount each of their directories is; true
/// when something is noted that was not before.
///
/// # Errors
/// Something is not mounted.
pub fn learn<'p>(
    files: &dyn Files,
    config: &Config,
    ledger: &mut Ledger,
    paths: impl IntoIterator<Item = &'p GuestPath>,
) -> Result<bool, InstallError> {
    let guarded = files.guarded(&guard(files, config, ledger));
    if let Some(point) = required(files, config, ledger) {
        // Whatever is in it: it is gone through.
        let inside = point.join(".pinion");
        guarded.look(&inside).map_err(|source| InstallError::Operation {
            operation: "look below",
            path: point,
            source,
        })?;
    }
    let mut directories = Vec::new();
    for path in paths {
        match place::unjudged(&*guarded, config, path) {
            Ok(directory) => directories.push(directory),
            Err(error) if is_not_mounted(&error) => match found_in_place(files, config, ledger, path) {
                // Put there by an agent that noted nothing: where its file is, there it belongs.
                Some(directory) => directories.push(directory),
                None => return Err(error.into()),
            },
            // What else is wrong with the path is reported by whoever is about to use it.
            Err(_) => {}
        }
    }
    directories.sort_unstable();
    directories.dedup();
    Ok(note(files, config, ledger, &directories))
}

/// The directory of a file that is in place as it was written, although nothing is mounted where the machine means to.
fn found_in_place(files: &dyn Files, config: &Config, ledger: &Ledger, path: &GuestPath) -> Option<PathBuf> {
    let guarded = files.guarded(&certain(files, config, ledger));
    let file = ledger.files().find(|file| file.path == *path)?;
    match drift::look(&*guarded, config, file) {
        Ok(Drift::AsWritten(target)) => target.parent().map(Path::to_owned),
        Ok(Drift::Gone | Drift::Changed(_)) | Err(_) => None,
    }
}

fn note(files: &dyn Files, config: &Config, ledger: &mut Ledger, directories: &[PathBuf]) -> bool {
    let before = ledger.mounts.clone();
    if is_free(ledger) {
        ledger.mounts.clear();
        return before != ledger.mounts;
    }
    if ledger.left_behind.is_empty() && ledger.journal.is_none() {
        ledger.mounts.retain(|directory, _| directories.contains(directory));
    }
    // Without the table nothing is noted; what is known is asked for all the same.
    let Ok(table) = files.mounts() else { return before != ledger.mounts };
    for directory in directories {
        let point = table.above(directory, &config.root).unwrap_or(&config.root).to_owned();
        // The ledger is text; nothing else can be written down in it either.
        let is_text = directory.to_str().is_some() && point.to_str().is_some();
        let known = ledger.mounts.get(directory);
        if is_text && known.is_none_or(|known| point.starts_with(known)) {
            ledger.mounts.insert(directory.clone(), point);
        }
    }
    before != ledger.mounts
}

fn is_not_mounted(error: &PlaceError) -> bool {
    matches!(error, PlaceError::Look { source, .. } if NotMounted::of(source).is_some())
}
