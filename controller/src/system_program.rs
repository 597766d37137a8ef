//! Asking one of this system's own programs something: `systemctl`, `dpkg-query`, `journalctl`.
//!
//! Invariant: a program gets fixed arguments and a fresh environment, no shell, and a limited time; what it prints is bounded.

use std::{path::PathBuf, process::Stdio, time::Duration};

use pinion_proto::{
    printable::line,
    process::{self, Ending, Keep, Output, end_group},
};

/// Where such programs are.
const DIRECTORIES: [&str; 4] = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"];

/// The longest complaint that is kept (bytes), and shown (characters).
const MAX_COMPLAINT: usize = 64 * 1024;
const MAX_SHOWN: usize = 600;

/// What a program may take and print.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// How long it may take.
    pub(crate) patience: Duration,
    /// How much of its standard output is kept (bytes).
    pub(crate) max: usize,
}

/// Where the program of this name is; none if it is not installed.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    DIRECTORIES.iter().map(|directory| PathBuf::from(directory).join(name)).find(|path| path.is_file())
}

/// Runs a program to its end, and returns what it printed.
///
/// # Errors
/// It is not there, fails, or takes too long; in words.
pub(crate) async fn run(name: &str, arguments: &[&str], bounds: Bounds) -> Result<String, String> {
    let what = format!("`{name} {}`", arguments.join(" "));
    let program = find(name).ok_or_else(|| format!("{what}: there is no {name}"))?;
    let environment = [("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), ("LC_ALL", "C")];
    let spawned = process::spawn(&program, arguments, environment, Stdio::null()).await;
    let mut child = spawned.map_err(|error| format!("cannot start {what}: {error}"))?;
    let (mut out, mut err) = (Output::new(Keep::First(bounds.max)), Output::new(Keep::First(MAX_COMPLAINT)));
    match process::talk(&mut child, b"", [&mut out, &mut err], bounds.patience, end_group).await {
        Ok(Ending::Exited(status)) if status.success() => Ok(String::from_utf8_lossy(&out.into_bytes()).into_owned()),
        Ok(Ending::Exited(status)) => {
            let complaint = String::from_utf8_lossy(&err.into_bytes()).trim().replace('\n', " / ");
            Err(format!("{what} failed ({status}): {}", line(&complaint, MAX_SHOWN)))
        }
        Ok(Ending::TimedOut | Ending::TooMuch) => {
            Err(format!("{what} did not end within {} s", bounds.patience.as_secs()))
        }
        Err(error) => Err(format!("cannot wait for {what}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { patience: Duration::from_secs(10), max: 1000 };

    #[tokio::test]
    async fn what_a_program_prints_is_returned_and_its_failure_told() {
        assert_eq!(run("printf", &["%s", "a"], BOUNDS).await.as_deref(), Ok("a"));
        let failed = run("cat", &["/nowhere/at/all"], BOUNDS).await.expect_err("there is no such file");
        assert!(failed.starts_with("`cat /nowhere/at/all` failed") && failed.contains("No such file"), "{failed}");
        let absent = run("no-such-program", &[], BOUNDS).await.expect_err("it is not there");
        assert!(absent.contains("there is no no-such-program"), "{absent}");
    }
}
