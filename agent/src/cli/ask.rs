//! How the command lines ask the agent's daemon: where it listens, and whether it is the agent that listens there.
//!
//! Invariant: only root and the user that the agent's state belongs to are believed; at the place where earlier versions
//! had their socket, only root is.

use std::{fs, io, os::unix::fs::FileTypeExt, os::unix::fs::MetadataExt, path::PathBuf};

use pinion_proto::{
    failure::Failure,
    lines,
    peer::{self, ConnectError, Daemon},
    users::LocalUsers,
};
use tokio::{
    io::BufReader,
    net::{UnixStream, unix::OwnedReadHalf},
};

use crate::{
    config::{Config, EARLIER_SOCKET, SOCKET},
    local::{LocalAsk, LocalStatus},
};

/// The daemon's answers.
pub(super) type Answers = BufReader<OwnedReadHalf>;

/// Why the daemon was not asked.
#[derive(Debug)]
pub(super) struct AskError {
    socket: PathBuf,
    cause: ConnectError,
}

impl AskError {
    /// Whether there is no daemon at all.
    pub(super) fn is_nobody(&self) -> bool {
        self.cause.is_nobody()
    }

    /// Whether somebody else answers in the daemon's place.
    pub(super) fn is_stranger(&self) -> bool {
        self.cause.stranger().is_some()
    }

    /// Why the command fails that asked, with what to do.
    pub(super) fn failure(&self, config: &Config) -> Failure {
        let (name, access) = ("the agent's daemon", "only root may: run this command as root");
        let daemon = Daemon { name, unit: "pinion-agent", socket: &self.socket, access };
        self.cause.failure(&daemon, &LocalUsers::read(&config.root).unwrap_or_default())
    }
}

/// Sends a question to the daemon, or says why the command fails.
pub(super) async fn ask(config: &Config, question: &LocalAsk) -> Result<Answers, Failure> {
    send(config, question).await.map_err(|error| error.failure(config))
}

/// Sends a question to the daemon.
pub(super) async fn send(config: &Config, question: &LocalAsk) -> Result<Answers, AskError> {
    let fail = |cause| AskError { socket: config.socket.clone(), cause };
    let stream = match peer::connect(&config.socket, &owner(config)).await {
        Ok(stream) => stream,
        Err(cause) => match earlier(config, &cause).await {
            Some(stream) => stream,
            None => return Err(fail(cause)),
        },
    };
    let (read, mut write) = stream.into_split();
    lines::write(&mut write, question).await.map_err(|error| fail(error.into()))?;
    // The daemon answers however long it takes; the write half stays open with the read half's end.
    write.forget();
    Ok(BufReader::new(read))
}

/// One answer of the daemon.
pub(super) async fn answer(stream: &mut Answers) -> io::Result<Option<LocalStatus>> {
    lines::read(stream).await
}

/// The user that the daemon runs as, by what it has written.
fn owner(config: &Config) -> Vec<u32> {
    fs::metadata(&config.state).map(|metadata| metadata.uid()).into_iter().collect()
}

/// A daemon of version 0.1, which runs until it is restarted after an upgrade. Others can write in its directory, so
/// that it must be root's, and no link.
async fn earlier(config: &Config, cause: &ConnectError) -> Option<UnixStream> {
    let path = config.root.join(EARLIER_SOCKET);
    let is_ours = config.socket == config.root.join(SOCKET);
    if !is_ours || !cause.is_nobody() || !fs::symlink_metadata(&path).is_ok_and(|found| found.file_type().is_socket()) {
        return None;
    }
    peer::connect(&path, &[]).await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_answers_in_the_daemons_place_is_named_and_nobody_is_told_from_somebody() {
        let (root, config) = Config::for_test();
        fs::create_dir(root.path().join("etc")).expect("made");
        fs::write(root.path().join("etc/passwd"), "mallory:x:1000:1000::/:\n").expect("written");
        let error = |cause| AskError { socket: "/run/agent.sock".into(), cause };
        let stranger = error(ConnectError::Stranger { uid: 1000 });
        assert!(stranger.is_stranger() && !stranger.is_nobody());
        let words = stranger.failure(&config).to_string();
        assert!(words.contains("mallory") && words.contains("/run/agent.sock"), "{words}");
        for (kind, nobody) in [
            (io::ErrorKind::NotFound, true),
            (io::ErrorKind::ConnectionRefused, true),
            (io::ErrorKind::PermissionDenied, false),
        ] {
            let error = error(io::Error::from(kind).into());
            assert_eq!((error.is_nobody(), error.is_stranger()), (nobody, false), "{kind}");
            assert_eq!(error.failure(&config).to_string().contains("systemctl"), nobody, "{kind}");
        }
    }
}
