//! Running one program for a service, and its failure in an error's words.
//!
//! Invariant: what it said is shown shortened, and only as far as it is printable.

use std::{ffi::OsString, io, path::Path, process::Stdio, time::Duration};

use pinion_proto::{
    printable::is_printable,
    process::{self, Ending, Keep, Output},
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
    let (mut said, mut complained) = (Output::new(Keep::Ends(pipes.keep)), Output::new(Keep::Ends(KEPT)));
    let outputs = [&mut said, &mut complained];
    let ending = process::talk(&mut child, pipes.input.unwrap_or_default(), outputs, patience, process::end_group);
    let outcome = match ending.await? {
        Ending::Exited(status) if status.success() => Outcome::Succeeded,
        Ending::Exited(status) => Outcome::Failed(status.to_string()),
        // Of any output the ends are kept, so none is too much.
        Ending::TimedOut | Ending::TooMuch => Outcome::TimedOut,
    };
    let (said, complained) = (text(said), text(complained));
    let gap = if said.is_empty() || complained.is_empty() || said.ends_with('\n') { "" } else { "\n" };
    let output = format!("{said}{gap}{complained}");
    Ok(Ended { outcome, said, output })
}

/// What is not printable would reach somebody's terminal in a report.
fn text(output: Output) -> String {
    let printable = |c: &char| is_printable(*c) || matches!(c, '\n' | '\t');
    String::from_utf8_lossy(&output.into_bytes()).chars().filter(printable).collect()
}
