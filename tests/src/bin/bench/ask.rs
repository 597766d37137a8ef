//! Asking the controller as its command line does, without starting a process for it.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use pinion_controller::admin::protocol::{Answer, Ask, Ensure, Selection};
use pinion_proto::{lines, stage::Stage};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::UnixStream,
    time::timeout,
};

/// Nothing that is measured here may take longer.
const PATIENCE: Duration = Duration::from_secs(300);

/// An `ensure` as whoever asked saw it, from the question on.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Course {
    /// When the first placement was with its issuer.
    pub(crate) first_asked: Duration,
    /// When the last one was not any more.
    pub(crate) last_signed: Duration,
    /// When everything was reached.
    pub(crate) took: Duration,
}

/// How long an `ensure` takes, from the question until everything is reached.
pub(crate) async fn ensure(root: &Path, renew: bool, until: Stage) -> Result<Duration> {
    course(root, renew, until).await.map(|course| course.took)
}

/// As [`ensure()`], with what happened on the way.
pub(crate) async fn course(root: &Path, renew: bool, until: Stage) -> Result<Course> {
    let started = Instant::now();
    let (read, mut write) = connect(root).await?.into_split();
    let ask = Ask::Ensure(Ensure { selection: Selection::default(), renew, now: false, until, wait: false });
    lines::write(&mut write, &ask).await.context("ask the controller")?;
    let mut read = BufReader::new(read);
    let mut course = Course::default();
    loop {
        let answer = timeout(PATIENCE, lines::read::<Answer>(&mut read)).await.context("wait for the controller")?;
        let now = started.elapsed();
        match answer.context("hear the controller")? {
            Some(Answer::Progress(progress)) => {
                let any = |words: &[&str]| progress.placements.iter().any(|line| words.contains(&line.now.as_str()));
                if course.first_asked.is_zero() && any(&["being signed"]) {
                    course.first_asked = now;
                }
                if any(&["being delivered", "being installed"]) {
                    course.last_signed = now;
                }
            }
            Some(Answer::Ensured(progress)) => {
                if let Some(line) = progress.placements.iter().find(|line| !line.reached) {
                    bail!("{line:?} was not reached");
                }
                return Ok(Course { took: now, ..course });
            }
            other => bail!("the controller answered {other:?}"),
        }
    }
}

/// Asks for a renewal of everything in these guests, or in all if none is named; returns when it has been heard.
pub(crate) async fn renew(root: &Path, guests: Vec<String>) -> Result<()> {
    let selection = Selection::new(Vec::new(), guests);
    let ensure = Ensure { selection, renew: true, now: false, until: Stage::Pending, wait: false };
    first_answer(root, &Ask::Ensure(ensure)).await.map(drop)
}

/// A join token for a guest.
pub(crate) async fn token(root: &Path, guest: u32) -> Result<String> {
    match first_answer(root, &Ask::Token(guest.to_string())).await? {
        Answer::Token(token) => Ok(token),
        other => bail!("the controller answered {other:?}"),
    }
}

/// How many guests are linked.
pub(crate) async fn linked(root: &Path) -> Result<usize> {
    match first_answer(root, &Ask::Status(Selection::default())).await? {
        Answer::Status(status) => Ok(status.guests.iter().filter(|guest| guest.linked).count()),
        other => bail!("the controller answered {other:?}"),
    }
}

/// The length of a status of everything (bytes).
pub(crate) async fn status(root: &Path) -> Result<u64> {
    let (read, mut write) = connect(root).await?.into_split();
    lines::write(&mut write, &Ask::Status(Selection::default())).await.context("ask the controller")?;
    let mut line = String::new();
    let read = timeout(PATIENCE, BufReader::new(read).read_line(&mut line)).await;
    read.context("wait for the controller")?.context("hear the controller")?;
    ensure!(line.contains("\"placements\""), "the controller answered {line:.200}");
    Ok(line.len().try_into()?)
}

async fn first_answer(root: &Path, ask: &Ask) -> Result<Answer> {
    let (read, mut write) = connect(root).await?.into_split();
    lines::write(&mut write, ask).await.context("ask the controller")?;
    let answer = timeout(PATIENCE, lines::read::<Answer>(&mut BufReader::new(read))).await;
    answer.context("wait for the controller")?.context("hear the controller")?.context("it does not answer")
}

async fn connect(root: &Path) -> Result<UnixStream> {
    let path = root.join("run/pinion/controller.sock");
    UnixStream::connect(&path).await.with_context(|| format!("connect to {}", path.display()))
}
