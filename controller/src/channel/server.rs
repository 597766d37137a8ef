//! `pinion channel`: the root process that answers on the socket.
//!
//! Invariants: only root and one user are answered, whatever the socket's file says; a call is one bounded line; each is
//! logged with who asked, and no secret is.

use std::{
    fs, io,
    os::unix::fs::chown,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use pinion_proto::{clock::Clock, daemon, lines};
use rustix::process::geteuid;
use tokio::{
    io::{AsyncReadExt, BufReader},
    net::{UnixListener, UnixStream},
    select,
    signal::unix::{SignalKind, signal},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::timeout,
};
use tracing::{info, warn};

use super::{
    guests::Guests,
    identity::IdentityRoot,
    package::Package,
    protocol::{Call, Cause, ChannelAnswer, Failure, MAX_CALL, WebAnswer, WebQuestion, WebUser},
    replaced::Replaced,
    tool::Tools,
    turns::Turns,
    verbs::Verbs,
    web_access::WebAccess,
};
use crate::config::Config;

/// Callers at once, the waiting ones included; a controller that enrols 200 guests has fewer.
const MAX_CALLERS: usize = 64;

/// How long a caller may take to say what it wants.
const READ_TIME: Duration = Duration::from_secs(10);

/// How long calls under way may go on once the process is to stop: most steps end by then. What is cut off is safe
/// to repeat.
const DRAIN_TIME: Duration = Duration::from_secs(8);

/// Answers on the socket.
#[derive(Debug)]
pub struct Server {
    pub(super) verbs: Verbs,
    web: WebAccess,
    turns: Turns,
    callers: Arc<Semaphore>,
    /// Who may call, besides root.
    user: u32,
}

impl Server {
    /// What the configuration says, for calls of `user`; and what is to be spawned, which looks at the guests.
    pub(super) fn new(
        config: &Config,
        user: u32,
        clock: Arc<dyn Clock>,
    ) -> (Self, impl Future<Output = ()> + Send + 'static + use<>) {
        let (guests, watcher) = Guests::new(config);
        let server = Self {
            verbs: Verbs {
                tools: Tools { directory: config.channel.tools.clone() },
                package: Package::below(&config.root),
                guests,
                identity: Arc::new(IdentityRoot::new(config, clock.now())),
                clock: clock.clone(),
                replaced: Replaced::default(),
                patience: None,
            },
            web: WebAccess::new(config, clock),
            turns: Turns::new(),
            callers: Arc::new(Semaphore::new(MAX_CALLERS)),
            user,
        };
        (server, watcher)
    }

    /// Answers until the future is dropped; `calls` goes on with those that are under way.
    pub(super) async fn serve(self: Arc<Self>, listener: &UnixListener, calls: &mut JoinSet<()>) {
        loop {
            select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        let server = self.clone();
                        // Without a place the caller is refused; it does not wait.
                        let place = self.callers.clone().try_acquire_owned().ok();
                        calls.spawn(async move { server.receive(stream, place).await });
                    }
                    Err(error) => {
                        warn!(%error, "Cannot accept on the channel's socket");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
                Some(ended) = calls.join_next() => {
                    if let Err(error) = ended {
                        warn!(%error, "A call failed");
                    }
                }
            }
        }
    }

    async fn receive(&self, stream: UnixStream, place: Option<OwnedSemaphorePermit>) {
        let uid = match stream.peer_cred() {
            Ok(credentials) => credentials.uid(),
            Err(error) => return warn!(%error, "Cannot find out who a caller is"),
        };
        let (read, mut write) = stream.into_split();
        let mut read = BufReader::new(read);
        let asked = async {
            if uid != 0 && uid != self.user {
                let text = format!("user {uid} may not use the channel: only root and the user of `pinion serve` may");
                return Err(Failure::new(Cause::Refused, text));
            }
            if place.is_none() {
                let text = format!("the root process already has {MAX_CALLERS} callers");
                return Err(Failure::new(Cause::Busy, text));
            }
            match timeout(READ_TIME, lines::read_limited::<Call>(&mut read, MAX_CALL)).await {
                Ok(Ok(call)) => Ok(call),
                // The parser's words could repeat a part of the call: they are not passed on.
                Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
                    let text = "cannot read the call: do `pinion serve` and `pinion channel` run one version? \
                        Restart both";
                    Err(Failure::new(Cause::Refused, text))
                }
                Ok(Err(error)) => Err(Failure::new(Cause::Refused, format!("the connection broke: {error}"))),
                Err(_) => Err(Failure::new(Cause::Refused, "the call did not arrive in time")),
            }
        };
        let mut nothing = [0];
        let answer = match asked.await {
            // It starts nothing, and is held for long: it takes nobody's turn.
            Ok(Some(Call::Guests { has })) => select! {
                answer = self.verbs.guests.answer(has) => answer,
                _ = read.read(&mut nothing) => return,
            },
            // It is about no guest, and bounded in itself.
            Ok(Some(Call::WebAccess(question))) => self.web_access(uid, &question).await,
            Ok(Some(call)) => {
                let turn = select! {
                    turn = self.turns.take(call.guest().map(|guest| guest.vmid)) => turn,
                    // Whoever hangs up before its turn has come wants nothing any more. What has begun is finished.
                    _ = read.read(&mut nothing) => return,
                };
                let answer = Box::pin(self.act(uid, &call)).await;
                drop(turn);
                answer
            }
            Ok(None) => return,
            Err(failure) => {
                warn!(uid, why = %failure, "Call refused");
                ChannelAnswer::Failed(failure)
            }
        };
        if let Err(error) = lines::write(&mut write, &answer).await {
            info!(uid, %error, "A caller did not wait for its answer");
        }
    }

    async fn web_access(&self, uid: u32, question: &WebQuestion) -> ChannelAnswer {
        match self.web.answer(question).await {
            Ok(answer) => {
                if let WebAnswer::Known(WebUser { user, right, .. }) = &answer {
                    info!(uid, verb = "web-access", user, ?right, "Call done");
                }
                ChannelAnswer::WebAccess(answer)
            }
            Err(failure) => {
                warn!(uid, verb = "web-access", why = %failure, "Call failed");
                ChannelAnswer::Failed(failure)
            }
        }
    }

    async fn act(&self, uid: u32, call: &Call) -> ChannelAnswer {
        let started = Instant::now();
        let answer = self.verbs.answer(call).await;
        let took = started.elapsed().as_millis();
        let guest = call.guest().map(tracing::field::display);
        match &answer {
            ChannelAnswer::Failed(failure) => {
                warn!(uid, verb = call.verb(), guest, took, why = %failure, "Call failed");
            }
            _ => info!(uid, verb = call.verb(), guest, took, "Call done"),
        }
        answer
    }
}

/// Runs the root process until SIGTERM or SIGINT.
///
/// # Errors
/// The user or the socket's place is not there.
pub async fn run(config: Config, clock: Arc<dyn Clock>) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let user = user(&config.root, &config.channel.user)?;
    let listener = listen(&config.channel.socket, user)?;
    let (server, watcher) = Server::new(&config, user, clock);
    let server = Arc::new(server);
    let mut watching = JoinSet::new();
    watching.spawn(watcher);
    info!(socket = %config.channel.socket.display(), user, "Channel is up");
    daemon::ready();
    let mut calls = JoinSet::new();
    select! {
        () = server.serve(&listener, &mut calls) => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = daemon::watchdog() => {}
    }
    daemon::stopping();
    // Whoever waits for a change of the guests is let go.
    watching.shutdown().await;
    drop(listener);
    drop(fs::remove_file(&config.channel.socket));
    let drained = timeout(DRAIN_TIME, async { while calls.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        warn!(calls = calls.len(), "Ended calls that were still under way; each can be repeated safely");
        // Their tools end with them.
        calls.shutdown().await;
    }
    Ok(())
}

/// Binds the socket, which `user` alone may open.
fn listen(path: &Path, user: u32) -> Result<UnixListener> {
    let listener = lines::bind(path, 0o600).with_context(|| format!("cannot listen on {}", path.display()))?;
    if user != geteuid().as_raw() {
        let owned = chown(path, Some(user), None);
        owned.with_context(|| format!("cannot give {} to user {user}; is this process root?", path.display()))?;
    }
    Ok(listener)
}

/// The number of the user that `pinion serve` runs as, by `/etc/passwd` (passwd(5)) or as it is written.
fn user(root: &Path, name: &str) -> Result<u32> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let path = root.join("etc/passwd");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let line = text.lines().find(|line| line.split(':').next() == Some(name));
    match line.and_then(|line| line.split(':').nth(2)?.parse().ok()) {
        Some(number) => Ok(number),
        None => bail!(
            "there is no user {name} in {}: run `systemd-sysusers`, or write `[channel] user = \"…\"` into controller.toml",
            path.display()
        ),
    }
}
