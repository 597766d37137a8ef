//! The guest's own programs: where they are, and running one of them to a good end.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use super::{about::About, command, error::ReloadError};
use crate::config::Config;

/// Where programs are looked for, below the root.
const PROGRAM_DIRECTORIES: [&str; 6] = ["usr/local/sbin", "usr/local/bin", "usr/sbin", "usr/bin", "sbin", "bin"];

/// A program by its path below the root, or by its name.
pub(super) fn find(root: &Path, program: &str) -> Option<PathBuf> {
    if program.contains('/') {
        let path = root.join(program.trim_start_matches('/'));
        return path.is_file().then_some(path);
    }
    PROGRAM_DIRECTORIES.iter().map(|directory| root.join(directory).join(program)).find(|path| path.is_file())
}

/// Runs a program, which is to succeed; `what` is how errors call it.
pub(super) async fn run(
    config: &Config,
    what: String,
    program: &Path,
    arguments: &[OsString],
    about: &About,
) -> Result<(), ReloadError> {
    let environment = about.environment(config);
    let pipes = command::Pipes::default();
    command::call(what, program, arguments, &environment, config.hook_timeout, pipes).await.map(drop)
}
