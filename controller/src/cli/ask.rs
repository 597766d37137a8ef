//! How the command lines ask the controller: where it listens, whether it is the controller that listens there, and what an
//! answer means for the exit code.
//!
//! Invariant: only root and the user of `pinion serve` are believed.

use std::{fs, io, os::unix::fs::MetadataExt};

use pinion_proto::{
    errln,
    exit::Exit,
    lines,
    peer::{self, ConnectError},
    users::LocalUsers,
};
use tokio::{
    io::BufReader,
    net::unix::{OwnedReadHalf, OwnedWriteHalf},
};

use super::Session;
use crate::{
    admin::protocol::{Answer, Ask},
    config::Config,
};

/// A conversation with the daemon: its answers, as long as this value is kept.
pub(super) struct Conversation {
    answers: BufReader<OwnedReadHalf>,
    // Closing this half tells the daemon that nobody waits any more.
    _question: OwnedWriteHalf,
}

impl Conversation {
    /// Asks the daemon something.
    pub(super) async fn start(session: &Session, ask: &Ask) -> Result<Self, Exit> {
        let socket = &session.config.socket;
        let attempt = async {
            let (read, mut write) = peer::connect(socket, &owners(&session.config)).await?.into_split();
            lines::write(&mut write, ask).await?;
            Ok(Self { answers: BufReader::new(read), _question: write })
        };
        attempt.await.map_err(|error: ConnectError| {
            let socket = socket.display();
            match error.stranger() {
                Some(uid) => errln!(
                    "pinion: a process of user {} listens on {socket}, not the controller, so its answer is not \
                     trusted; find that process (`ss -xlp`), end it, and restart the controller (systemctl restart \
                     pinion)",
                    LocalUsers::read(&session.config.root).unwrap_or_default().shown(uid)
                ),
                None if matches!(&error, ConnectError::Io(error) if error.kind() == io::ErrorKind::PermissionDenied) => errln!(
                    "pinion: this user may not use the controller's socket {socket}: {error}; only root and members \
                     of the group pinion may (run `usermod -aG pinion USER` and log in again)"
                ),
                None => errln!(
                    "pinion: the controller can't be reached at {socket}: {error}; is `pinion serve` up? (systemctl status \
                     pinion)"
                ),
            }
            Exit::Unreachable
        })
    }

    /// The first answer, of a controller that there may not be: nothing is said where none comes.
    pub(super) async fn quiet(config: &Config, ask: &Ask) -> Option<Answer> {
        let (read, mut write) = peer::connect(&config.socket, &owners(config)).await.ok()?.into_split();
        lines::write(&mut write, ask).await.ok()?;
        lines::read(&mut BufReader::new(read)).await.ok()?
    }

    /// The next answer. What is no answer is told, and becomes an exit code.
    pub(super) async fn next(&mut self) -> Result<Answer, Exit> {
        match lines::read::<Answer>(&mut self.answers).await {
            Ok(Some(Answer::NoSuchName(why))) => {
                errln!("pinion: {why}");
                Err(Exit::NoSuchName)
            }
            Ok(Some(Answer::Refused(why))) => {
                errln!("pinion: {why}");
                Err(Exit::Usage)
            }
            // Somebody has to give this user the right, or another user has to ask.
            Ok(Some(Answer::Forbidden(why))) => {
                errln!("pinion: {why}");
                Err(Exit::Blocked)
            }
            Ok(Some(Answer::Failed(why))) => {
                errln!("pinion: {why}");
                Err(Exit::Internal)
            }
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => {
                errln!("pinion: the controller stopped before it answered; run the command again when it is back");
                Err(Exit::Unreachable)
            }
            Err(error) => {
                errln!(
                    "pinion: cannot read the controller's answer: {error}; if it runs another version, restart it \
                     (systemctl restart pinion)"
                );
                Err(Exit::Internal)
            }
        }
    }
}

/// Asks the daemon something that has one answer.
pub(super) async fn ask(session: &Session, question: &Ask) -> Result<Answer, Exit> {
    Conversation::start(session, question).await?.next().await
}

/// The users that `pinion serve` may run as: the one that the configuration names, and the one that its state belongs to.
fn owners(config: &Config) -> Vec<u32> {
    let user = &config.channel.user;
    let configured = user.parse().ok().or_else(|| LocalUsers::read(&config.root).ok()?.number(user));
    let state = fs::metadata(&config.local).map(|metadata| metadata.uid());
    configured.into_iter().chain(state).collect()
}
