//! How the controller asks the root process: a connection for each call.
//!
//! Invariant: a call ends, with an answer or as a [`Failure`], within its patience and a minute.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use pinion_proto::{
    bundle::Fingerprint,
    lines,
    peer::{self, ConnectError},
};
use rustix::process::geteuid;
use tokio::{io::BufReader, time::timeout};

use super::protocol::{
    Call, Cause, ChannelAnswer, Failure, Listing, Looked, MAX_ANSWER, NextRoot, NodeAuthority, Removed, Revision,
    Secret, Target, WebAnswer, WebQuestion,
};

/// How long a call may wait for its turn, on top of its own patience.
const QUEUE_TIME: Duration = Duration::from_secs(60);

/// Asks `pinion channel`.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// Will ask on this socket.
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// Which guests there are and which run, as soon as that is another answer than the caller `has`, or after a while.
    ///
    /// # Errors
    /// The root process does not answer.
    pub async fn guests(&self, has: Option<Revision>) -> Result<Listing, Failure> {
        match self.call(&Call::Guests { has }).await? {
            ChannelAnswer::Guests(listing) => Ok(listing),
            other => Err(unexpected(&other)),
        }
    }

    /// Which start of this guest it is that runs: what an agent in it says as its `boot_id`.
    ///
    /// # Errors
    /// The guest cannot be reached, or answers nonsense.
    pub async fn boot(&self, guest: Target) -> Result<String, Failure> {
        match self.call(&Call::Boot { guest }).await? {
            ChannelAnswer::Boot(boot) => Ok(boot),
            other => Err(unexpected(&other)),
        }
    }

    /// What this guest is and which agent it has.
    ///
    /// # Errors
    /// The guest cannot be reached, or answers nonsense.
    pub async fn look(&self, guest: Target) -> Result<Looked, Failure> {
        match self.call(&Call::Look { guest }).await? {
            ChannelAnswer::Looked(looked) => Ok(looked),
            other => Err(unexpected(&other)),
        }
    }

    /// Brings the packaged agent in and starts it. Safe to repeat; when it breaks off, the agent that was there works on.
    ///
    /// # Errors
    /// A step did not go through.
    pub async fn install(&self, guest: Target) -> Result<(), Failure> {
        self.done(&Call::Install { guest }).await
    }

    /// Puts the agent back that the last install replaced, and starts it. Safe to repeat.
    ///
    /// # Errors
    /// None was kept, or a step did not go through.
    pub async fn restore(&self, guest: Target) -> Result<(), Failure> {
        self.done(&Call::Restore { guest }).await
    }

    /// Takes the agent, its unit, its identity and what it remembers out; the services' files stay. Safe to repeat.
    ///
    /// # Errors
    /// The guest cannot be reached, or a step did not go through.
    pub async fn remove(&self, guest: Target) -> Result<Removed, Failure> {
        match self.call(&Call::Remove { guest }).await? {
            ChannelAnswer::Removed(removed) => Ok(removed),
            other => Err(unexpected(&other)),
        }
    }

    /// Lets the agent join with a token of that same guest.
    ///
    /// # Errors
    /// The agent did not get its identity. The token may be spent: make another for the next try.
    pub async fn join(&self, guest: Target, token: Secret) -> Result<(), Failure> {
        self.done(&Call::Join { guest, token }).await
    }

    /// Whether there is a socket to ask on, whoever listens there.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.socket.exists()
    }

    /// The authority of this node for agents' identities, for the key of this PKCS #10 request (DER). `known` is the root
    /// that is known here: where there was one, none is made. `takes_over` is the next root, if every guest trusts it.
    ///
    /// # Errors
    /// The root process cannot be reached, or does not sign.
    pub async fn node_authority(
        &self,
        csr: &[u8],
        known: Option<Fingerprint>,
        takes_over: Option<Fingerprint>,
    ) -> Result<NodeAuthority, Failure> {
        match self.call(&Call::NodeAuthority { csr: STANDARD.encode(csr), known, takes_over }).await? {
            ChannelAnswer::NodeAuthority(signed) => Ok(*signed),
            other => Err(unexpected(&other)),
        }
    }

    /// The identity root that follows the present one, if a person asked for another.
    ///
    /// # Errors
    /// The root process cannot be reached, is of an earlier version, or cannot read its roots.
    pub async fn next_root(&self) -> Result<Option<NextRoot>, Failure> {
        match self.call(&Call::NextRoot).await? {
            ChannelAnswer::NextRoot(next) => Ok(next.map(|next| *next)),
            other => Err(unexpected(&other)),
        }
    }

    /// What the user of a ticket or an API token of Proxmox's may do on the page.
    ///
    /// # Errors
    /// The root process cannot be reached or is of an earlier version, Proxmox's login is off, or Proxmox does not answer.
    pub async fn web_access(&self, question: WebQuestion) -> Result<WebAnswer, Failure> {
        match self.call(&Call::WebAccess(question)).await? {
            ChannelAnswer::WebAccess(answer) => Ok(answer),
            other => Err(unexpected(&other)),
        }
    }

    async fn done(&self, call: &Call) -> Result<(), Failure> {
        match self.call(call).await? {
            ChannelAnswer::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// One call and its answer; a failed one is an error.
    ///
    /// # Errors
    /// The root process cannot be reached, does not answer in time, or says that it failed.
    pub async fn call(&self, call: &Call) -> Result<ChannelAnswer, Failure> {
        let max = call.patience() + QUEUE_TIME;
        match timeout(max, self.exchange(call)).await {
            Ok(Ok(Some(ChannelAnswer::Failed(failure)))) => Err(failure),
            Ok(Ok(Some(answer))) => Ok(answer),
            Ok(Ok(None)) => Err(Failure::new(
                Cause::ToolMissing,
                format!("the root process stopped while it had to {}", call.verb()),
            )),
            Ok(Err(failure)) => Err(failure),
            Err(_) => {
                let text = format!("the root process did not {} within {} s", call.verb(), max.as_secs());
                Err(Failure::new(Cause::TimedOut, text))
            }
        }
    }

    async fn exchange(&self, call: &Call) -> Result<Option<ChannelAnswer>, Failure> {
        // Root alone is believed. A process of this very user could say nothing that it could not do here itself.
        let (read, mut write) = match peer::connect(&self.socket, &[geteuid().as_raw()]).await {
            Ok(stream) => stream.into_split(),
            Err(ConnectError::Io(error)) => return Err(self.away(&error)),
            Err(stranger) => {
                let text = format!("the root process does not answer at {}: {stranger}", self.socket.display());
                return Err(Failure::new(Cause::Refused, text));
            }
        };
        // A helper that refuses this caller closes without reading; its answer is there all the same.
        let sent = lines::write(&mut write, call).await;
        let answer = lines::read_limited(&mut BufReader::new(read), MAX_ANSWER).await;
        match (answer, sent) {
            (Ok(Some(answer)), _) => Ok(Some(answer)),
            (Ok(None), Ok(())) => Ok(None),
            (Ok(None), Err(error)) => Err(self.away(&error)),
            (Err(error), _) if error.kind() == io::ErrorKind::InvalidData => {
                let text = format!(
                    "cannot read the root process's answer: {error}; if it runs another version, \
                    restart it (systemctl restart pinion-channel)"
                );
                Err(Failure::new(Cause::Unexpected, text))
            }
            (Err(error), _) => Err(self.away(&error)),
        }
    }

    fn away(&self, error: &io::Error) -> Failure {
        let socket = self.socket.display();
        let text = match error.kind() {
            io::ErrorKind::NotFound => format!("the root process cannot be reached: there is no socket {socket}"),
            io::ErrorKind::ConnectionRefused => {
                format!("the root process cannot be reached: nobody listens on {socket}")
            }
            io::ErrorKind::PermissionDenied => format!(
                "the root process cannot be reached: this user may not use its socket {socket}, which belongs to \
                 `channel.user` of controller.toml: {error}"
            ),
            _ => format!("the root process cannot be reached at {socket}: {error}"),
        };
        Failure::new(Cause::ToolMissing, text)
    }
}

fn unexpected(answer: &ChannelAnswer) -> Failure {
    let what = match answer {
        ChannelAnswer::Guests(_) => "guests",
        ChannelAnswer::Boot(_) => "boot",
        ChannelAnswer::Looked(_) => "looked",
        ChannelAnswer::NodeAuthority(_) => "node-authority",
        ChannelAnswer::NextRoot(_) => "next-root",
        ChannelAnswer::Removed(_) => "removed",
        ChannelAnswer::WebAccess(_) => "web-access",
        ChannelAnswer::Done => "done",
        ChannelAnswer::Failed(_) => "failed",
    };
    Failure::new(Cause::Unexpected, format!("the root process sent the unexpected answer `{what}`; this is a bug"))
}
