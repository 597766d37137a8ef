//! What each verb does, once it is its turn.
//!
//! Invariant: arguments are checked here as if the caller were hostile, before a tool is started.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use pinion_proto::{
    bundle::Fingerprint,
    causes::chain,
    clock::{Clock, SystemClock},
    id::Guest,
    token::JoinToken,
};
use tokio::time::timeout;

use super::{
    boot,
    guests::Guests,
    identity::IdentityRoot,
    install, join, look,
    package::Package,
    pct::Pct,
    protocol::{Answer, Call, Cause, Failure, Secret, Target},
    qm::Qm,
    reach::Reach,
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
    /// In which guests the agent was replaced a moment ago.
    pub(super) replaced: Replaced,
    /// Instead of each verb's own patience, for tests.
    pub(super) patience: Option<Duration>,
}

impl Verbs {
    /// Does what is asked.
    pub(super) async fn answer(&self, call: &Call) -> Answer {
        let patience = self.patience.unwrap_or_else(|| call.patience());
        let done = match timeout(patience, self.act(call)).await {
            Ok(done) => done,
            Err(_) => {
                let whom = call.guest().map_or_else(String::new, |guest| format!(" for {guest}"));
                let text = format!("`{}`{whom} took longer than {patience:?} and was stopped", call.verb());
                Err(Failure::new(Cause::TimedOut, text))
            }
        };
        done.unwrap_or_else(Answer::Failed)
    }

    async fn act(&self, call: &Call) -> Result<Answer, Failure> {
        if let Call::Join { guest, token } = call {
            check(*guest, token)?;
        }
        if let Call::NodeAuthority { csr, known } = call {
            return self.node_authority(csr.clone(), *known).await;
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

    async fn within(&self, reach: &impl Reach, call: &Call) -> Result<Answer, Failure> {
        match call {
            // Answered without a tool, and so without a turn.
            Call::Guests { has } => Ok(self.guests.answer(*has).await),
            Call::NodeAuthority { csr, known } => self.node_authority(csr.clone(), *known).await,
            Call::Boot { .. } => boot::boot(reach).await.map(Answer::Boot),
            Call::Look { .. } => look::look(reach).await.map(Answer::Looked),
            Call::Install { guest } => {
                let replacing = || self.replaced.note(*guest, Instant::now());
                install::install(reach, &self.package, replacing).await.map(|()| Answer::Done)
            }
            Call::Restore { guest } => {
                self.replaced.check(*guest, Instant::now())?;
                install::restore(reach).await.map(|()| Answer::Done)
            }
            Call::Join { token, .. } => join::join(reach, token).await.map(|()| Answer::Done),
        }
    }

    async fn node_authority(&self, csr: String, known: Option<Fingerprint>) -> Result<Answer, Failure> {
        let identity = self.identity.clone();
        let signing = tokio::task::spawn_blocking(move || identity.sign(&csr, known, SystemClock.now()));
        match signing.await {
            Ok(signed) => signed.map(|signed| Answer::NodeAuthority(Box::new(signed))),
            Err(error) => Err(Failure::new(Cause::Unexpected, format!("signing failed: {error}; this is a bug"))),
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
