//! The passwords of keystores: in files of the guest, and nowhere else.
//!
//! Invariants: a password that is there is never replaced; one that is not is made in the guest, 0600, for the user of its
//! keystore. No password is sent, reported or logged.

use std::io;

use aws_lc_rs::rand;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use pinion_proto::spec::{FileMode, GuestPath};
use zeroize::Zeroizing;

use super::{
    InstallError,
    execute::write,
    files::Files,
    observed,
    place::{self, Place},
    steps::Plan,
};
use crate::{config::Config, keystore::Password, ledger::SavedFile, recipe::Ground};

/// So many random bytes are in a password.
const RANDOM: usize = 24;

/// The password in this file; a new one where there is no file, for this user and group.
pub(super) fn of(
    files: &dyn Files,
    config: &Config,
    ground: &Ground,
    path: &GuestPath,
    (uid, gid): (u32, u32),
) -> Result<Password, InstallError> {
    let place = place::find_on(files, config, ground, path)?;
    let wrong = |source| InstallError::Password { path: path.clone(), source };
    if let Some(there) = observed::read(files, &place.target)? {
        return Password::read(&there.content).map_err(wrong);
    }
    place::trusted(files, &place, uid, path)?;
    let Place { target, missing } = place;
    let failed = |source| InstallError::Operation { operation: "make a password for", path: target.clone(), source };
    let mut random = Zeroizing::new([0; RANDOM]);
    rand::fill(&mut *random).map_err(|_| failed(io::Error::other("the library has no random bytes")))?;
    let mut content = Zeroizing::new(URL_SAFE_NO_PAD.encode(*random).into_bytes());
    content.reserve(1);
    content.push(b'\n');
    let password = Password::read(&content).map_err(wrong)?;
    let mode = FileMode::from_bits(0o600).map_err(|error| failed(io::Error::other(error)))?;
    let mut plan = Plan::default();
    plan.make(&missing);
    plan.exchange(&target, SavedFile { uid, gid, mode, acl: None, content });
    write(files, &plan)?.sync(None)?.exchange()?.sync(files)?;
    tracing::info!(%path, "Made a password for a keystore");
    Ok(password)
}
