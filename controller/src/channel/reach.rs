//! What a way into a guest can do: run a program of the guest's, and bring a file in.
//!
//! Invariant: both ends of every step are told apart: a program that ran and failed is an [`Output`], a channel that did
//! not get through is a [`Failure`].

use std::{future::Future, time::Duration};

use pinion_proto::id::shown;

use super::{
    package::PackagedFile,
    protocol::{Cause, Failure, Target},
};

/// A way into one guest.
pub(super) trait Reach: Sync {
    /// Which guest it is.
    fn guest(&self) -> Target;

    /// Runs a program in the guest, by its arguments, with this on its standard input.
    fn run(
        &self,
        arguments: &[&str],
        stdin: &[u8],
        patience: Duration,
    ) -> impl Future<Output = Result<Output, Failure>> + Send;

    /// Writes a file's bytes to a path in the guest where nothing is yet. Whether they arrived is the caller's to see.
    fn push(&self, file: &PackagedFile, to: &str) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// What became of a program in a guest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Output {
    /// Its exit code; 126 when it could not be run, 127 when it is not there, 128 and the number for a signal.
    pub(super) code: i32,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

/// Neither there, nor to be run.
pub(super) const NOT_FOUND: i32 = 127;

impl Output {
    pub(super) fn succeeded(&self) -> bool {
        self.code == 0
    }

    /// What it complained, or else said, in one printable line.
    pub(super) fn complaint(&self) -> String {
        let said = if self.stderr.trim().is_empty() { self.stdout.trim() } else { self.stderr.trim() };
        line(said)
    }
}

/// For steps that do no more than look or rename: a busy host takes ten seconds for one.
pub(super) const SHORT: Duration = Duration::from_secs(30);

/// Runs a program that has to succeed; `attempt` says what for.
pub(super) async fn must(
    reach: &impl Reach,
    attempt: &str,
    arguments: &[&str],
    stdin: &[u8],
    patience: Duration,
) -> Result<Output, Failure> {
    let output = reach.run(arguments, stdin, patience).await?;
    if output.succeeded() {
        return Ok(output);
    }
    let complaint = output.complaint();
    let cause = if is_full(&output.stderr) { Cause::NoSpace } else { Cause::Refused };
    let how = if complaint.is_empty() { String::new() } else { format!(": {complaint}") };
    let text = format!("cannot {attempt} in {}: exit code {}{how}", reach.guest(), output.code);
    Err(Failure::new(cause, text))
}

/// ENOSPC or EDQUOT, as every tool tells them in the C locale.
pub(super) fn is_full(complaint: &str) -> bool {
    complaint.contains("No space left on device") || complaint.contains("Disk quota exceeded")
}

/// Of a foreign text so much as a line for people has room for, printable, line ends told as ` / `.
pub(super) fn line(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty()).take(LINES);
    lines.map(shown_long).collect::<Vec<_>>().join(" / ")
}

const LINES: usize = 4;

/// As [`shown`], three times as long: a tool's complaint repeats paths.
fn shown_long(text: &str) -> String {
    let chars: Vec<char> = text.chars().take(241).collect();
    let mut out: String = chars.chunks(80).take(3).map(|part| shown(&part.iter().collect::<String>())).collect();
    if chars.len() > 240 {
        out.push('…');
    }
    out
}
