//! What each verb does, once it is its turn.
//!
//! Invariant: arguments are checked here as if the caller were hostile, before a tool is started.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use pinion_proto::{causes::chain, clock::Clock, id::Guest, length::Length, token::JoinToken};
use tokio::time::timeout;

use super::{
    boot,
    guests::Guests,
    identity::{Asked, IdentityRoot},
    install, join, look,
    package::Package,
    pct::Pct,
    protocol::{Call, Cause, ChannelAnswer, Failure, Secret, Target},
    qm::Qm,
    reach::Reach,
    remove,
    replaced::Replaced,
    tool::Tools,
};
use crate::inventory::GuestKind;

/// What the verbs work with.
#[derive(Debug)]
pub(super) struct Verbs {
    pub(super) tools: Tools,
    pub(super) package: Package,
    /// Where each guest is.
    pub(super) guests: Guests,
    /// The root of the agents' identities.
    pub(super) identity: Arc<IdentityRoot>,
    /// The time.
    pub(super) clock: Arc<dyn Clock>,
    /// In which guests the agent was replaced a moment ago.
    pub(super) replaced: Replaced,
    /// Instead of each verb's own patience, for tests.
    pub(super) patience: Option<Duration>,
}

impl Verbs {
    /// Does what is asked.
    pub(super) async fn answer(&self, call: &Call) -> ChannelAnswer {
        let patience = self.patience.unwrap_or_else(|| call.patience());
        let done = match timeout(patience, self.act(call)).await {
            Ok(done) => done,
            Err(_) => {
                let whom = call.guest().map_or_else(String::new, |guest| format!(" for {guest}"));
                let text = format!("`{}`{whom} took longer than {} and was stopped", call.verb(), Length(patience));
                Err(Failure::new(Cause::TimedOut, text))
            }
        };
        done.unwrap_or_else(ChannelAnswer::Failed)
    }

    async fn act(&self, call: &Call) -> Result<ChannelAnswer, Failure> {
        match call {
            Call::Join { guest, token } => check(*guest, token)?,
            Call::NodeAuthority { csr, known, takes_over } => {
                let asked = Asked { known: *known, takes_over: *takes_over };
                return self.node_authority(csr.clone(), asked).await;
            }
            Call::NextRoot => return self.next_root().await,
            _ => {}
        }
        match call.guest() {
            None => Err(Failure::new(Cause::Unexpected, "the call names no guest; this is a bug")),
            Some(guest) => {
                let (tools, known) = (&self.tools, self.guests.known());
                match guest.kind {
                    GuestKind::Lxc => self.within(&Pct { tools, guest, known }, call).await,
                    GuestKind::Qemu => self.within(&Qm { tools, guest, known }, call).await,
                }
            }
        }
    }

    async fn within(&self, reach: &impl Reach, call: &Call) -> Result<ChannelAnswer, Failure> {
        match call {
            // They are about no guest.
            Call::Guests { .. } | Call::NodeAuthority { .. } | Call::NextRoot | Call::WebAccess(_) => {
                Err(Failure::new(Cause::Unexpected, "the call is about no guest; this is a bug"))
            }
            Call::Boot { .. } => boot::boot(reach).await.map(ChannelAnswer::Boot),
            Call::Look { .. } => look::look(reach).await.map(ChannelAnswer::Looked),
            Call::Install { guest } => {
                let replacing = || self.replaced.note(*guest, Instant::now());
                install::install(reach, &self.package, replacing).await.map(|()| ChannelAnswer::Done)
            }
            Call::Restore { guest } => {
                self.replaced.check(*guest, Instant::now())?;
                install::restore(reach).await.map(|()| ChannelAnswer::Done)
            }
            Call::Remove { .. } => remove::remove(reach, &self.package).await.map(ChannelAnswer::Removed),
            Call::Join { token, .. } => join::join(reach, token).await.map(|()| ChannelAnswer::Done),
        }
    }

    async fn node_authority(&self, csr: String, asked: Asked) -> Result<ChannelAnswer, Failure> {
        let now = self.clock.now();
        let signing = move |identity: &IdentityRoot| identity.sign(&csr, asked, now);
        Ok(ChannelAnswer::NodeAuthority(Box::new(self.with_root(signing).await?)))
    }

    async fn next_root(&self) -> Result<ChannelAnswer, Failure> {
        let now = self.clock.now();
        let next = self.with_root(move |identity| identity.next(now)).await?;
        Ok(ChannelAnswer::NextRoot(next.map(Box::new)))
    }

    /// Does this with the identity root, where it may wait for the disk.
    async fn with_root<T: Send + 'static>(
        &self,
        work: impl FnOnce(&IdentityRoot) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let identity = self.identity.clone();
        match tokio::task::spawn_blocking(move || work(&identity)).await {
            Ok(done) => done,
            Err(error) => Err(Failure::new(
                Cause::Unexpected,
                format!("the work with the identity root failed: {error}; this is a bug"),
            )),
        }
    }
}

/// A token goes into the guest that it was made for, and nothing that is no token goes anywhere.
fn check(guest: Target, token: &Secret) -> Result<(), Failure> {
    let parsed = JoinToken::parse(token.reveal())
        .map_err(|error| Failure::new(Cause::Refused, format!("no token for {guest}: {}", chain(&error))))?;
    if parsed.guest == Guest::Vmid(guest.vmid) {
        return Ok(());
    }
    let text = format!("the token is for guest {}, not for {guest}", parsed.guest);
    Err(Failure::new(Cause::Refused, text))
}
