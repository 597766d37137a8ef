//! Who is at the other end of a local socket? The kernel says so: SO_PEERCRED of a Unix socket (unix(7)), and its table of
//! listeners for a TCP port of this machine.
//!
//! Invariant: nothing is sent to a socket before it is known whose process listens there.

use std::{collections::BTreeSet, fs, io, net::SocketAddr, os::unix::fs::FileTypeExt, path::Path};

use thiserror::Error;
use tokio::net::{TcpStream, UnixStream};

use crate::{
    exit::Exit,
    failure::Failure,
    listeners::{self, TABLES},
    users::LocalUsers,
};

/// A daemon as the people know it who start its commands.
#[derive(Debug, Clone, Copy)]
pub struct Daemon<'d> {
    /// `the controller`
    pub name: &'d str,
    /// The systemd unit that runs it.
    pub unit: &'d str,
    /// Where it listens.
    pub socket: &'d Path,
    /// What a user does who may not use its socket.
    pub access: &'d str,
}

/// Why a daemon's socket could not be used.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// Nobody answers there, or it may not be opened.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Somebody else listens there.
    #[error("a process of another user (uid {uid}) listens there, so its answer is not trusted")]
    Stranger {
        /// The user of the process that listens there.
        uid: u32,
    },
}

impl ConnectError {
    /// Whether nobody listens there: there is no socket, or one that a process left behind.
    #[must_use]
    pub fn is_nobody(&self) -> bool {
        matches!(self, Self::Io(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused))
    }

    /// Whose process listens there, where that was somebody who is not believed.
    #[must_use]
    pub fn stranger(&self) -> Option<u32> {
        match self {
            Self::Io(_) => None,
            Self::Stranger { uid } => Some(*uid),
        }
    }

    /// Why a command cannot ask a daemon, and what to do: each cause has its own remedy. `users` have the names of this
    /// host's users.
    #[must_use]
    pub fn failure(&self, daemon: &Daemon<'_>, users: &LocalUsers) -> Failure {
        let Daemon { name, unit, access, .. } = daemon;
        let socket = daemon.socket.display();
        let fail = |words: String| Failure::new(Exit::Unreachable, words);
        let start = format!("start it (systemctl start {unit}); `systemctl status {unit}` shows why it ended");
        let error = match self {
            Self::Stranger { uid } => {
                return fail(format!(
                    "a process of user {} listens on {socket}, not {name}, so its answer is not trusted",
                    users.shown(*uid)
                ))
                .remedy(format!(
                    "find that process (`ss -xlp`), end it, and restart {name} (systemctl restart {unit})"
                ));
            }
            Self::Io(error) => error,
        };
        match error.kind() {
            io::ErrorKind::PermissionDenied => {
                fail(format!("this user may not use {name}'s socket {socket}")).cause(error).remedy(*access)
            }
            io::ErrorKind::NotFound => {
                fail(format!("{name} can't be reached: there is no socket {socket}, so it does not run")).remedy(start)
            }
            // The kernel says so of files that are no sockets, too.
            io::ErrorKind::ConnectionRefused
                if !fs::metadata(daemon.socket).is_ok_and(|found| found.file_type().is_socket()) =>
            {
                fail(format!("{name} can't be reached: {socket} is not a socket"))
                    .remedy(format!("remove it, and restart {name} (systemctl restart {unit})"))
            }
            io::ErrorKind::ConnectionRefused => {
                fail(format!("{name} can't be reached: nobody listens on {socket} any more")).remedy(start)
            }
            io::ErrorKind::WouldBlock => {
                fail(format!("{name} can't be reached: it does not take the connections that wait at {socket}"))
                    .remedy(format!("try again, and if that does not help, restart it (systemctl restart {unit})"))
            }
            _ => fail(format!("{name} can't be reached at {socket}"))
                .cause(error)
                .remedy(format!("see `systemctl status {unit}`")),
        }
    }
}

/// Connects to a daemon's socket. Believes root, and the processes of `users`.
///
/// # Errors
/// Nobody listens there, or somebody else does.
pub async fn connect(path: &Path, users: &[u32]) -> Result<UnixStream, ConnectError> {
    let stream = UnixStream::connect(path).await?;
    let uid = stream.peer_cred()?.uid();
    if uid == 0 || users.contains(&uid) { Ok(stream) } else { Err(ConnectError::Stranger { uid }) }
}

/// Connects to a TCP port of this machine. Believes root, and the processes of `users`.
///
/// TCP does not say who is at the other end. So whoever could get the connection has to be believed, and has to be the same
/// before it is made and after.
///
/// # Errors
/// Nobody listens there, somebody else does, or it changes meanwhile who does.
pub async fn connect_tcp(address: SocketAddr, users: &[u32]) -> Result<TcpStream, ConnectError> {
    let before = believed(address, users)?;
    let stream = TcpStream::connect(address).await?;
    if believed(address, users)? == before {
        Ok(stream)
    } else {
        Err(io::Error::new(io::ErrorKind::ConnectionAborted, "another process began to listen there").into())
    }
}

/// The sockets that may get a connection to this address, if all are of those who are believed.
fn believed(address: SocketAddr, users: &[u32]) -> Result<BTreeSet<u64>, ConnectError> {
    let mut inodes = BTreeSet::new();
    for table in TABLES {
        for socket in listeners::listening(&Path::new("/").join(table))?.iter().filter(|socket| socket.takes(address)) {
            if socket.uid != 0 && !users.contains(&socket.uid) {
                return Err(ConnectError::Stranger { uid: socket.uid });
            }
            inodes.insert(socket.inode);
        }
    }
    if inodes.is_empty() { Err(io::Error::from(io::ErrorKind::ConnectionRefused).into()) } else { Ok(inodes) }
}

#[cfg(test)]
mod tests {
    use std::{
        net::{Ipv4Addr, TcpListener},
        os::unix::net::{UnixDatagram, UnixListener},
    };

    use rustix::process::geteuid;

    use super::*;

    fn words(error: ConnectError, socket: &Path) -> String {
        let daemon = Daemon { name: "the agent", unit: "pinion-agent", socket, access: "run this command as root" };
        let failure = error.failure(&daemon, &LocalUsers::default());
        assert_eq!(failure.exit(), Exit::Unreachable);
        failure.to_string()
    }

    #[tokio::test]
    async fn each_way_not_to_reach_a_daemon_is_told_from_the_others() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name);
        drop(UnixListener::bind(path("left")).expect("bound"));
        fs::write(path("file"), "").expect("written");
        let _other = UnixDatagram::bind(path("datagrams")).expect("bound");
        for (name, expected) in [
            ("none", "there is no socket"),
            ("left", "nobody listens on"),
            ("file", "is not a socket; remove it"),
            ("file/below", "Not a directory"),
            ("datagrams", "Protocol wrong type for socket"),
        ] {
            let error = connect(&path(name), &[]).await.expect_err(name);
            let words = words(error, &path(name));
            assert!(words.contains(expected) && words.contains("systemctl"), "{name}: {words}");
        }
        for (kind, expected) in [
            (io::ErrorKind::PermissionDenied, "may not use the agent's socket"),
            (io::ErrorKind::WouldBlock, "does not take the connections"),
        ] {
            let words = words(io::Error::from(kind).into(), &path("none"));
            assert!(words.contains(expected), "{words}");
        }
        let stranger = words(ConnectError::Stranger { uid: 1000 }, &path("none"));
        assert!(stranger.contains("1000") && stranger.contains("not trusted"), "{stranger}");
        let denied = words(io::Error::from(io::ErrorKind::PermissionDenied).into(), &path("none"));
        assert!(denied.ends_with("run this command as root") && !denied.contains("systemctl"), "{denied}");
    }

    #[tokio::test]
    async fn a_port_is_connected_to_where_one_who_is_believed_listens() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let me = geteuid().as_raw();
        connect_tcp(address, &[me]).await.expect("it is this process");
        let alone = connect_tcp(address, &[]).await;
        // The suite `web` asks for a port of another user's, which takes root.
        assert_eq!(alone.is_ok(), me == 0, "{alone:?}");
        if let Err(error) = alone {
            assert_eq!(error.stranger(), Some(me));
        }
        drop(listener);
        let error = connect_tcp(address, &[me]).await.expect_err("nobody listens");
        assert!(error.is_nobody(), "{error}");
    }
}
