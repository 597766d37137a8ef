//! What a way into a guest can do: run a program of the guest's, and bring a file in.
//!
//! Invariant: both ends of every step are distinguished: a program that ran and failed is an [`Output`], a channel that did
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

    /// How much goes in by one call on standard input (bytes).
    fn piece(&self) -> usize;

    /// What the host's configuration of the guest says of its processor.
    fn configured_architecture(&self) -> Option<String>;
}

/// Writes a file's bytes to a path in the guest where nothing is yet, and sets its mode. Whether they arrived is the
/// caller's to see.
pub(super) async fn push(reach: &impl Reach, file: &PackagedFile, to: &str) -> Result<(), Failure> {
    let piece = reach.piece();
    let (of, bs) = (format!("of={to}"), format!("bs={}", piece.min(MAX_BLOCK)));
    for (number, bytes) in file.bytes.chunks(piece).enumerate() {
        // Each piece has its place, so one that is written twice does no harm. Standard input is a pipe, from which
        // `dd` reads what there is: without a count, short reads are written as they come.
        let seek = format!("seek={number}");
        let dd: &[&str] =
            if file.bytes.len() <= piece { &["dd", &of, &bs] } else { &["dd", &of, &bs, &seek, "conv=notrunc"] };
        must(reach, &format!("write {to}"), dd, bytes, PIECE_TIME).await?;
    }
    must(reach, &format!("set the mode of {to}"), &["chmod", file.mode, to], b"", SHORT).await.map(drop)
}

/// What `dd` takes into memory at once (bytes); a piece that is one of several is a block of its own.
const MAX_BLOCK: usize = 1024 * 1024;

/// For one piece, in a guest whose disk is slow.
const PIECE_TIME: Duration = Duration::from_secs(60);

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
    /// Whether there is no such program in the guest.
    pub(super) fn is_missing(&self) -> bool {
        self.code == NOT_FOUND
    }

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
    if output.is_missing() {
        return Err(lacks(reach.guest(), arguments));
    }
    let complaint = output.complaint();
    let cause = if is_full(&output.stderr) { Cause::NoSpace } else { Cause::Refused };
    let how = if complaint.is_empty() { String::new() } else { format!(": {complaint}") };
    let text = format!("cannot {attempt} in {}: exit code {}{how}", reach.guest(), output.code);
    Err(Failure::new(cause, text))
}

/// The guest has no such program: a container that is made of an OCI image may have no other than its own.
pub(super) fn lacks(guest: Target, arguments: &[&str]) -> Failure {
    let program = arguments.first().copied().unwrap_or_default();
    let text = format!(
        "there is no `{program}` in {guest}, as in a container made from an application's image: Pinion cannot \
         install an agent without the usual programs"
    );
    Failure::new(Cause::NoTools, text)
}

/// ENOSPC or EDQUOT, as every tool tells them in the C locale.
pub(super) fn is_full(complaint: &str) -> bool {
    complaint.contains("No space left on device") || complaint.contains("Disk quota exceeded")
}

/// Of a foreign text so much as a line for people has room for, printable, line ends shown as ` / `.
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
