//! Running another program: by its arguments, without a shell, with nothing of this process's environment, for a limited time
//! and with a limited part of its output kept.
//!
//! Invariant: a program runs in a process group of its own, so that it can be ended together with what it started, and ends
//! with whoever waits for it.

mod output;
mod talk;

use std::{ffi::OsStr, io, path::Path, process::Stdio, time::Duration};

use tokio::{
    process::{Child, Command},
    time::{Instant, sleep},
};

pub use output::{Keep, Output};
pub use talk::{Ending, end_group, talk};

/// A script that is being written cannot be run at that moment (ETXTBSY); it is tried again for so long.
const BUSY: Duration = Duration::from_secs(2);
const BUSY_PAUSE: Duration = Duration::from_millis(10);

/// Starts `program` with these arguments and this environment, and pipes at its standard output and error.
///
/// # Errors
/// It is not there, or is no program for this machine.
pub async fn spawn(
    program: &Path,
    arguments: &[impl AsRef<OsStr>],
    environment: impl IntoIterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>,
    stdin: Stdio,
) -> io::Result<Child> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(environment)
        .current_dir("/")
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    let deadline = Instant::now() + BUSY;
    loop {
        match command.spawn() {
            Err(e) if e.kind() == io::ErrorKind::ExecutableFileBusy && Instant::now() < deadline => {
                sleep(BUSY_PAUSE).await;
            }
            spawned => return spawned,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    #[tokio::test]
    async fn a_program_that_is_still_written_is_waited_for_and_gets_a_fresh_environment() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("program");
        fs::copy("/usr/bin/env", &path).expect("copied");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("executable");
        let writing = fs::OpenOptions::new().append(true).open(&path).expect("opened");
        let written = async {
            sleep(BUSY_PAUSE * 3).await;
            drop(writing);
        };
        let environment = [("A", "b c")];
        let (child, ()) = tokio::join!(spawn(&path, &["-0"], environment, Stdio::null()), written);
        let done = child.expect("started").wait_with_output().await.expect("ended");
        assert_eq!(done.stdout, b"A=b c\0");
        let missing = spawn(&directory.path().join("none"), &[""], environment, Stdio::null()).await;
        assert_eq!(missing.expect_err("not there").kind(), io::ErrorKind::NotFound);
    }
}
