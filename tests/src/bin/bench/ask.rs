//! Asking the controller as its command line does, without starting a process for it.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use pinion_controller::admin::protocol::{Answer, Ask, Ensure, Selection};
use pinion_proto::{lines, stage::Stage};
use tokio::{io::BufReader, net::UnixStream, time::timeout};

/// Nothing that is measured here may take longer.
const PATIENCE: Duration = Duration::from_secs(300);

/// How long an `ensure` takes, from the question until everything is reached.
pub(crate) async fn ensure(root: &Path, renew: bool, until: Stage) -> Result<Duration> {
    let started = Instant::now();
    let (read, mut write) = connect(root).await?.into_split();
    let ask = Ask::Ensure(Ensure { selection: Selection::default(), renew, until });
    lines::write(&mut write, &ask).await.context("ask the controller")?;
    let mut read = BufReader::new(read);
    loop {
        let answer = timeout(PATIENCE, lines::read::<Answer>(&mut read)).await.context("wait for the controller")?;
        match answer.context("hear the controller")? {
            Some(Answer::Progress(_)) => {}
            Some(Answer::Ensured(progress)) => {
                if let Some(line) = progress.placements.iter().find(|line| !line.reached) {
                    bail!("{line:?} was not reached");
                }
                return Ok(started.elapsed());
            }
            other => bail!("the controller answered {other:?}"),
        }
    }
}

/// A join token for a guest.
pub(crate) async fn token(root: &Path, guest: u32) -> Result<String> {
    let (read, mut write) = connect(root).await?.into_split();
    lines::write(&mut write, &Ask::Token(guest.to_string())).await.context("ask the controller")?;
    match lines::read::<Answer>(&mut BufReader::new(read)).await.context("hear the controller")? {
        Some(Answer::Token(token)) => Ok(token),
        other => bail!("the controller answered {other:?}"),
    }
}

/// How many guests are linked.
pub(crate) async fn linked(root: &Path) -> Result<usize> {
    let (read, mut write) = connect(root).await?.into_split();
    lines::write(&mut write, &Ask::Status(Selection::default())).await.context("ask the controller")?;
    match lines::read::<Answer>(&mut BufReader::new(read)).await.context("hear the controller")? {
        Some(Answer::Status(status)) => Ok(status.guests.iter().filter(|guest| guest.linked).count()),
        other => bail!("the controller answered {other:?}"),
    }
}

async fn connect(root: &Path) -> Result<UnixStream> {
    let path = root.join("run/pinion/controller.sock");
    UnixStream::connect(&path).await.with_context(|| format!("connect to {}", path.display()))
}
