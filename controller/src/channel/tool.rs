//! Running `pct` and `qm`: by their arguments, without a shell, and never for ever.
//!
//! Invariants: a tool gets a fresh environment and nothing of ours; what it prints is bounded; when its time is up, or
//! nobody waits for it any more, it ends together with everything it started.

use std::{ffi::OsStr, path::PathBuf, process::Stdio, time::Duration};

use pinion_proto::{
    length::Length,
    process::{self, Ending, Keep, Output},
};
use tokio::process::Child;

use super::{
    descendants::Family,
    protocol::{Cause, Failure},
    reach::line,
    trusted,
};

/// One of Proxmox's command lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tool {
    Pct,
    Qm,
}

impl Tool {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Pct => "pct",
            Self::Qm => "qm",
        }
    }
}

/// Where the tools are.
#[derive(Debug, Clone, Default)]
pub(super) struct Tools {
    /// Instead of the usual directories.
    pub(super) directory: Option<PathBuf>,
}

/// The bounds of one run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) patience: Duration,
    /// Of standard output (bytes).
    pub(super) max: usize,
}

/// What a tool did.
#[derive(Debug)]
pub(super) struct Ran {
    /// Its exit code.
    pub(super) code: i32,
    pub(super) stdout: Vec<u8>,
    /// The beginning of what it complained.
    pub(super) stderr: Vec<u8>,
}

/// The beginning of a tool's arguments, which says on what guest it was run: `exec 101 -- uname`.
fn shown(arguments: &[impl AsRef<OsStr>]) -> String {
    let words: Vec<_> = arguments.iter().take(6).map(|word| word.as_ref().to_string_lossy()).collect();
    line(&words.join(" "))
}

impl Tools {
    /// Runs a tool to its end.
    ///
    /// # Errors
    /// It is not there, takes longer than its patience, or prints more than it may. Its exit code is no error.
    pub(super) async fn run(
        &self,
        tool: Tool,
        arguments: &[impl AsRef<OsStr>],
        stdin: &[u8],
        bounds: Bounds,
    ) -> Result<Ran, Failure> {
        let mut child = self.spawn(tool, arguments).await?;
        // Ends the tool and all it started when this function is left before the tool's own end.
        let mut family = child.id().map(Family::new);
        let (mut stdout, mut stderr) = (Output::new(Keep::AtMost(bounds.max)), Output::new(Keep::First(MAX_COMPLAINT)));
        let end = |_: &mut Child| {
            family.iter_mut().for_each(Family::end);
            Ok(())
        };
        // Boxed: the steps of a verb hold this future at each of their many awaits.
        let talk = Box::pin(process::talk(&mut child, stdin, [&mut stdout, &mut stderr], bounds.patience, end));
        let ended = talk.await;
        let failure = match ended {
            Ok(Ending::Exited(status)) => {
                family.iter_mut().for_each(Family::let_go);
                match status.code() {
                    Some(code) => return Ok(Ran { code, stdout: stdout.into_bytes(), stderr: stderr.into_bytes() }),
                    // Not the guest's command, whose end by a signal shows as an exit code.
                    None => Failure::new(Cause::Unexpected, format!("`{}` was killed: {status}", tool.name())),
                }
            }
            Ok(Ending::TooMuch) => {
                let text = format!("`{}` printed more than {} bytes and was killed", tool.name(), bounds.max);
                Failure::new(Cause::Unexpected, text)
            }
            Err(error) => Failure::new(Cause::Unexpected, format!("cannot wait for `{}`: {error}", tool.name())),
            Ok(Ending::TimedOut) => {
                let text = format!(
                    "`{} {}` did not end within {} and was killed",
                    tool.name(),
                    shown(arguments),
                    Length(bounds.patience)
                );
                Failure::new(Cause::TimedOut, text)
            }
        };
        family.iter_mut().for_each(Family::end);
        Err(failure)
    }

    async fn spawn(&self, tool: Tool, arguments: &[impl AsRef<OsStr>]) -> Result<Child, Failure> {
        let program = self.find(tool)?;
        let environment = [("PATH", PATH), ("LC_ALL", "C")];
        process::spawn(&program, arguments, environment, Stdio::piped())
            .await
            .map_err(|error| Failure::new(Cause::ToolMissing, format!("cannot start {}: {error}", program.display())))
    }

    fn find(&self, tool: Tool) -> Result<PathBuf, Failure> {
        let directories = match &self.directory {
            Some(directory) => vec![directory.clone()],
            None => USUAL.iter().map(PathBuf::from).collect(),
        };
        let found = directories.iter().map(|directory| directory.join(tool.name())).find(|path| path.is_file());
        let found = found.ok_or_else(|| {
            let places = directories.iter().map(|place| place.display().to_string()).collect::<Vec<_>>().join(" or ");
            let text = format!("there is no `{}` in {places}: is this a Proxmox host?", tool.name());
            Failure::new(Cause::ToolMissing, text)
        })?;
        // The usual places are the system's; another one is what a file says.
        if self.directory.is_some()
            && let Err(why) = trusted::check(&found)
        {
            let text = format!(
                "`{}` was not started: {why}; correct that, or `channel.tools` in controller.toml",
                tool.name()
            );
            return Err(Failure::new(Cause::ToolMissing, text));
        }
        Ok(found)
    }
}

/// Where Proxmox has its tools.
const USUAL: [&str; 2] = ["/usr/sbin", "/usr/bin"];

/// What the tools find their own helpers by; they set it anew themselves.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Of what a tool complains so much is kept (bytes): its first words say which failure it is.
const MAX_COMPLAINT: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    /// `pct`, which is this script.
    fn tools(script: &str) -> (tempfile::TempDir, Tools) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("pct");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("written");
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("executable");
        let tools = Tools { directory: Some(directory.path().to_owned()) };
        (directory, tools)
    }

    async fn run(script: &str, stdin: &[u8], patience: Duration) -> Result<Ran, Failure> {
        let (_directory, tools) = tools(script);
        tools.run(Tool::Pct, &["a b", "$(id)"], stdin, Bounds { patience, max: 100_000 }).await
    }

    const LONG: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn arguments_are_passed_as_they_are_and_the_environment_is_fresh() {
        let ran = run("printf '[%s]' \"$@\"; env | sort | grep -v -e ^PWD= -e ^_=; exit 3", b"", LONG)
            .await
            .expect("it runs");
        let said = String::from_utf8_lossy(&ran.stdout).into_owned();
        assert_eq!(said, format!("[a b][$(id)]LC_ALL=C\nPATH={PATH}\n"));
        assert_eq!(ran.code, 3);
    }

    #[tokio::test]
    async fn input_and_output_larger_than_pipes_do_not_block_each_other() {
        let input = vec![b'x'; 90_000];
        let ran = run("cat; head -c 300000 /dev/zero >&2", &input, LONG).await.expect("it runs");
        assert_eq!((ran.stdout.len(), ran.stderr.len(), ran.code), (input.len(), MAX_COMPLAINT, 0));
        // One that reads nothing of a megabyte.
        let ran = run("exit 0", &vec![0; 1024 * 1024], LONG).await.expect("it runs");
        assert_eq!(ran.code, 0);
    }

    #[tokio::test]
    async fn a_tool_that_others_could_have_written_is_not_started() {
        let (directory, tools) = tools("exit 0");
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).expect("opened");
        let bounds = Bounds { patience: LONG, max: 100 };
        let failure = tools.run(Tool::Pct, &[""], b"", bounds).await.expect_err("anybody's");
        assert!(failure.cause == Cause::ToolMissing && failure.text.contains("channel.tools"), "{failure}");
    }

    #[tokio::test]
    async fn what_takes_too_long_or_says_too_much_is_ended() {
        let failure = run("sleep 1000", b"", Duration::from_millis(200)).await.expect_err("it hangs");
        assert_eq!(failure.cause, Cause::TimedOut);
        let failure = run("cat /dev/zero", b"", LONG).await.expect_err("it does not end");
        assert!(failure.cause == Cause::Unexpected && failure.text.contains("more than 100000 bytes"), "{failure}");
    }

    #[tokio::test]
    async fn what_a_tool_leaves_behind_does_not_hold_it_up() {
        let ran = run("sleep 1000 & echo $!", b"", LONG).await.expect("it has ended");
        let pid = String::from_utf8_lossy(&ran.stdout).trim().parse().ok().and_then(rustix::process::Pid::from_raw);
        // This test started it.
        rustix::process::kill_process(pid.expect("a process id"), rustix::process::Signal::KILL).expect("it runs");
    }
}
