//! How the command lines ask the controller: where it listens, whether it is the controller that listens there, and what an
//! answer means for the exit code.
//!
//! Invariant: only root and the user of `pinion serve` are believed.

use std::{fs, os::unix::fs::MetadataExt};

use pinion_proto::{
    exit::Exit,
    failure::Failure,
    lines,
    peer::{self, ConnectError, Daemon},
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

/// What somebody does who may not use the controller's socket.
const ACCESS: &str = "only root and members of the group pinion may: run this command as root, or run `usermod -aG pinion \
    USER` and log in again";

/// A conversation with the daemon: its answers, as long as this value is kept.
pub(super) struct Conversation {
    answers: BufReader<OwnedReadHalf>,
    // Closing this half tells the daemon that nobody waits any more.
    _question: OwnedWriteHalf,
}

impl Conversation {
    /// Asks the daemon something.
    pub(super) async fn start(session: &Session, ask: &Ask) -> Result<Self, Failure> {
        let socket = &session.config.socket;
        let attempt = async {
            let (read, mut write) = peer::connect(socket, &owners(&session.config)).await?.into_split();
            lines::write(&mut write, ask).await?;
            Ok(Self { answers: BufReader::new(read), _question: write })
        };
        attempt.await.map_err(|error: ConnectError| {
            let controller = Daemon { name: "the controller", unit: "pinion", socket, access: ACCESS };
            error.failure(&controller, &LocalUsers::read(&session.config.root).unwrap_or_default())
        })
    }

    /// The first answer, of a controller that there may not be: nothing is said where none comes.
    pub(super) async fn quiet(config: &Config, ask: &Ask) -> Option<Answer> {
        let (read, mut write) = peer::connect(&config.socket, &owners(config)).await.ok()?.into_split();
        lines::write(&mut write, ask).await.ok()?;
        lines::read(&mut BufReader::new(read)).await.ok()?
    }

    /// The next answer. What is no answer is why the command fails.
    pub(super) async fn next(&mut self) -> Result<Answer, Failure> {
        match lines::read::<Answer>(&mut self.answers).await {
            Ok(Some(Answer::NoSuchName(why))) => Err(Failure::new(Exit::NoSuchName, why)),
            Ok(Some(Answer::Refused(why))) => Err(Failure::new(Exit::Usage, why)),
            // Somebody has to give this user the right, or another user has to ask.
            Ok(Some(Answer::Forbidden(why))) => Err(Failure::new(Exit::Blocked, why)),
            Ok(Some(Answer::Failed(why))) => Err(Failure::new(Exit::Internal, why)),
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err(Failure::new(Exit::Unreachable, "the controller stopped before it answered")
                .remedy("run the command again when it is back")),
            Err(error) => Err(Failure::new(Exit::Internal, "cannot read the controller's answer")
                .cause(error)
                .remedy("if it runs another version, restart it (systemctl restart pinion)")),
        }
    }
}

/// Asks the daemon something that has one answer.
pub(super) async fn ask(session: &Session, question: &Ask) -> Result<Answer, Failure> {
    Conversation::start(session, question).await?.next().await
}

/// Whether the daemon answers; says nothing if not.
pub(super) async fn answers(session: &Session) -> bool {
    Conversation::quiet(&session.config, &Ask::Guests).await.is_some()
}

/// The users that `pinion serve` may run as: the one that the configuration names, and the one that its state belongs to.
fn owners(config: &Config) -> Vec<u32> {
    let user = &config.channel.user;
    let configured = user.parse().ok().or_else(|| LocalUsers::read(&config.root).ok()?.number(user));
    let state = fs::metadata(&config.local).map(|metadata| metadata.uid());
    configured.into_iter().chain(state).collect()
}
