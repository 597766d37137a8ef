//! Running one program to its end, or to the end of one's patience.
//!
//! Invariants: the program gets nothing of the agent's environment, and no input but what it is given; it runs in a process
//! group of its own, which is ended as a whole when time is up; of its output a bounded part is kept.

use std::{collections::VecDeque, ffi::OsString, io, path::Path, process::Stdio, time::Duration};

use pinion_proto::{printable::is_printable, process};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::ChildStdin,
    time::timeout,
};

use super::ReloadError;

/// Of the output's begin and end so much is kept each: the first complaint and the last (bytes).
const KEPT: usize = 4 * 1024;

/// What goes through a program's pipes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pipes<'a> {
    /// Its standard input; none is an empty one.
    pub(super) input: Option<&'a [u8]>,
    /// Of each end of its standard output so much is kept (bytes).
    pub(super) keep: usize,
}

impl Default for Pipes<'_> {
    fn default() -> Self {
        Self { input: None, keep: KEPT }
    }
}

/// How long output is still read after the program has ended: a daemon it left behind may hold the pipe for ever.
const DRAIN: Duration = Duration::from_millis(100);

/// How a program ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) outcome: Outcome,
    /// Standard output alone, shortened.
    pub(super) said: String,
    /// Standard output and error, shortened.
    pub(super) output: String,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Succeeded,
    /// With this status, in words.
    Failed(String),
    TimedOut,
}

/// Runs `program`, at most for `patience`, which is to succeed: what it said on its standard output. `what` is how errors
/// call it.
pub(super) async fn call(
    what: String,
    program: &Path,
    arguments: &[OsString],
    environment: &[(String, OsString)],
    patience: Duration,
    pipes: Pipes<'_>,
) -> Result<String, ReloadError> {
    match run_with(program, arguments, environment, patience, pipes).await {
        Err(source) => Err(ReloadError::Spawn { what, source }),
        Ok(Ended { outcome: Outcome::Succeeded, said, .. }) => Ok(said),
        Ok(Ended { outcome: Outcome::Failed(status), output, .. }) => {
            Err(ReloadError::Failed { what, status, output: appended(&output) })
        }
        Ok(Ended { outcome: Outcome::TimedOut, output, .. }) => {
            Err(ReloadError::TimedOut { what, after: patience, output: appended(&output) })
        }
    }
}

/// A program's words as an error's text ends with them: one line, because that is what events and logs are.
pub(super) fn appended(output: &str) -> String {
    let lines: Vec<_> = output.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if lines.is_empty() { String::new() } else { format!(": {}", lines.join("; ")) }
}

/// Runs `program`, at most for `patience`.
pub(super) async fn run(
    program: &Path,
    arguments: &[OsString],
    environment: &[(String, OsString)],
    patience: Duration,
) -> io::Result<Ended> {
    run_with(program, arguments, environment, patience, Pipes::default()).await
}

/// Runs `program` with these pipes, at most for `patience`.
pub(super) async fn run_with(
    program: &Path,
    arguments: &[OsString],
    environment: &[(String, OsString)],
    patience: Duration,
    pipes: Pipes<'_>,
) -> io::Result<Ended> {
    let stdin = if pipes.input.is_some() { Stdio::piped() } else { Stdio::null() };
    let environment = environment.iter().map(|(name, value)| (name, value));
    let mut child = process::spawn(program, arguments, environment, stdin).await?;
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let (mut out, mut err) = (child.stdout.take(), child.stderr.take());
    let stdin = child.stdin.take();
    let (mut said, mut complained) = (Kept::of(pipes.keep), Kept::of(KEPT));
    let outcome = {
        let read = async {
            let written = give(stdin, pipes.input.unwrap_or_default());
            tokio::join!(written, keep(out.as_mut(), &mut said), keep(err.as_mut(), &mut complained));
        };
        tokio::pin!(read);
        let mut drained = false;
        let waited = timeout(patience, async {
            loop {
                tokio::select! {
                    status = child.wait() => return status,
                    () = &mut read, if !drained => drained = true,
                }
            }
        })
        .await;
        let outcome = match waited {
            Ok(status) => {
                let status = status?;
                if status.success() { Outcome::Succeeded } else { Outcome::Failed(status.to_string()) }
            }
            Err(_) => {
                if let Some(Err(error)) = group.map(|group| kill_process_group(group, Signal::KILL)) {
                    // It may have ended this very moment; waiting below reaps it either way.
                    tracing::debug!(%error, "Could not end a program's process group");
                    child.start_kill()?;
                }
                child.wait().await?;
                Outcome::TimedOut
            }
        };
        if !drained {
            drop(timeout(DRAIN, &mut read).await);
        }
        outcome
    };
    let (said, complained) = (said.text(), complained.text());
    let gap = if said.is_empty() || complained.is_empty() || said.ends_with('\n') { "" } else { "\n" };
    let output = format!("{said}{gap}{complained}");
    Ok(Ended { outcome, said, output })
}

/// Writes all of it and closes the pipe. A program that does not want it may say so with its exit status.
async fn give(stdin: Option<ChildStdin>, input: &[u8]) {
    let Some(mut stdin) = stdin else { return };
    if let Err(error) = stdin.write_all(input).await {
        tracing::debug!(%error, "A program did not read its whole input");
    }
}

async fn keep(stream: Option<&mut (impl AsyncRead + Unpin)>, kept: &mut Kept) {
    let Some(stream) = stream else { return };
    let mut buffer = [0; 1024];
    // A failing pipe is as good as a closed one: the exit status decides.
    while let Ok(read) = stream.read(&mut buffer).await {
        match buffer.get(..read) {
            None | Some([]) => return,
            Some(bytes) => kept.push(bytes),
        }
    }
}

/// The begin and end of a stream.
#[derive(Debug)]
struct Kept {
    /// So much of each (bytes).
    max: usize,
    first: Vec<u8>,
    last: VecDeque<u8>,
    left_out: usize,
}

impl Kept {
    fn of(max: usize) -> Self {
        Self { max, first: Vec::new(), last: VecDeque::new(), left_out: 0 }
    }

    fn push(&mut self, bytes: &[u8]) {
        let (head, tail) = bytes.split_at(bytes.len().min(self.max - self.first.len()));
        self.first.extend_from_slice(head);
        self.last.extend(tail);
        let excess = self.last.len().saturating_sub(self.max);
        self.last.drain(..excess);
        self.left_out += excess;
    }

    fn text(mut self) -> String {
        let mut bytes = self.first;
        if self.left_out > 0 {
            bytes.extend_from_slice(format!("\n… {} bytes left out …\n", self.left_out).as_bytes());
        }
        bytes.extend_from_slice(self.last.make_contiguous());
        // What is not printable would reach somebody's terminal in a report.
        String::from_utf8_lossy(&bytes).chars().filter(|c| is_printable(*c) || matches!(c, '\n' | '\t')).collect()
    }
}
