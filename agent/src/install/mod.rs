//! A placement's files: where they may be, which must be written, and the exchange of the old set for the new.
//!
//! Invariants: a [`plan::Plan`] leaves nothing to choose; only [`execute`] changes files, through [`files::Files`].

pub mod accounts;
pub mod acl;
mod error;
pub mod execute;
pub mod files;
pub mod foreign;
pub mod mounts;
pub mod place;
mod passwords;
mod place_error;
pub mod plan;
pub mod replace;
mod resolve;
pub mod named;
mod new_file;
pub mod observed;
pub mod original;
pub mod pair;
pub(crate) mod share;
pub mod snapshot;
pub mod generations;
pub mod drift;
pub mod steps;
#[cfg(test)]
pub(crate) mod tests;
mod unlink;
mod walk;

use pinion_proto::bundle::certificates_to_pem;
use zeroize::Zeroizing;

use crate::{
    bundle::Bundle,
    config::Config,
    keystore,
    recipe::{Job, JobFile, secrecy},
};
use accounts::Accounts;
pub use error::InstallError;
use files::Files;
use place::Place;
use plan::Wanted;

/// What the job wants in the guest's file system, with real paths and numbers.
///
/// # Errors
/// A path may not be used or an account is not known; nothing was touched.
pub fn wanted(files: &dyn Files, config: &Config, job: &Job, bundle: &Bundle) -> Result<Vec<Wanted>, InstallError> {
    let accounts = Accounts::read(&config.root)?;
    let one = |file: &JobFile| {
        let place = place::find_on(files, config, &job.ground, &file.path)?;
        let (uid, gid) = (accounts.user(&file.owner)?, accounts.group(&file.group)?);
        let (owners, groups) = (accounts.user_names(uid), accounts.group_names(gid));
        let exposed = secrecy::is_exposed(file.part, file.mode, (&owners, uid), (&groups, gid));
        // On a share whose server maps root to nobody there is no other owner.
        if exposed && !job.ground.nobody && !share::is_shared(&place.target) {
            return Err(InstallError::Exposed {
                path: file.path.clone(),
                owner: file.owner.clone(),
                group: file.group.clone(),
            });
        }
        place::trusted(files, &place, uid, &file.path)?;
        let Place { target, missing } = place;
        let content = match (&file.root, &file.password_file, bundle.credential()) {
            (Some(root), ..) => Zeroizing::new(certificates_to_pem([root.der()]).into_bytes()),
            (None, Some(password), Some(credential)) => {
                let password = passwords::of(files, config, &job.ground, password, (uid, gid))?;
                let failed = |source| InstallError::Keystore { path: file.path.clone(), source };
                let made = keystore::encode(file.part, file.legacy, credential, job.certificate.as_str(), &password);
                made.map_err(failed)?.unwrap_or_default()
            }
            (None, ..) => bundle.content(file.part, &job.roots),
        };
        let path = file.path.clone();
        Ok(Wanted { part: file.part, path, target, missing, content, uid, gid, mode: file.mode, acl: None })
    };
    job.files.iter().map(one).collect()
}
