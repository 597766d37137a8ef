//! What each verb does, once it is its turn.
//!
//! Invariant: arguments are checked here as if the caller were hostile, before a tool is started.

use std::{path::PathBuf, time::Duration};

use pinion_proto::{causes::chain, id::Guest, token::JoinToken};
use serde::de::IgnoredAny;
use tokio::time::timeout;

use super::{
    install, join, look,
    package::Package,
    pct::Pct,
    protocol::{Answer, Call, Cause, Failure, Secret, Target},
    qm::Qm,
    reach::{Reach, line},
    tool::{Bounds, Tool, Tools},
};
use crate::inventory::GuestKind;

/// What the verbs work with.
#[derive(Debug)]
pub(super) struct Verbs {
    pub(super) tools: Tools,
    pub(super) package: Package,
    /// The host's `/`.
    pub(super) root: PathBuf,
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
                let text = format!("`{}`{whom} took longer than {patience:?} and was broken off", call.verb());
                Err(Failure::new(Cause::TimedOut, text))
            }
        };
        done.unwrap_or_else(Answer::Failed)
    }

    async fn act(&self, call: &Call) -> Result<Answer, Failure> {
        if let Call::Join { guest, token } = call {
            check(*guest, token)?;
        }
        match call.guest() {
            None => self.states().await,
            Some(guest) => match guest.kind {
                GuestKind::Lxc => self.within(&Pct { tools: &self.tools, guest, root: &self.root }, call).await,
                GuestKind::Qemu => self.within(&Qm { tools: &self.tools, guest, root: &self.root }, call).await,
            },
        }
    }

    async fn within(&self, reach: &impl Reach, call: &Call) -> Result<Answer, Failure> {
        match call {
            Call::States => self.states().await,
            Call::Look { .. } => look::look(reach).await.map(Answer::Looked),
            Call::Install { .. } => install::install(reach, &self.package).await.map(|()| Answer::Done),
            Call::Restore { .. } => install::restore(reach).await.map(|()| Answer::Done),
            Call::Join { token, .. } => join::join(reach, token).await.map(|()| Answer::Done),
        }
    }

    async fn states(&self) -> Result<Answer, Failure> {
        let arguments = ["get", "/cluster/resources", "--type", "vm", "--output-format", "json"];
        let bounds = Bounds { patience: Call::States.patience(), most: MOST_STATES };
        let ran = self.tools.run(Tool::Pvesh, &arguments, b"", bounds).await?;
        if ran.code != 0 {
            let said = line(&String::from_utf8_lossy(&ran.stderr));
            let text = format!("`pvesh get /cluster/resources` failed with exit code {}: {said}", ran.code);
            return Err(Failure::new(Cause::Unexpected, text));
        }
        let json = String::from_utf8(ran.stdout).ok().filter(|text| serde_json::from_str::<IgnoredAny>(text).is_ok());
        json.map(Answer::States).ok_or_else(|| {
            Failure::new(Cause::Unexpected, "`pvesh get /cluster/resources` printed something that is not JSON")
        })
    }
}

/// Room for it to be escaped as a string of JSON within [`super::protocol::MOST_ANSWER`] (bytes).
const MOST_STATES: usize = 6 * 1024 * 1024;

/// A token goes into the guest that it was made for, and nothing that is no token goes anywhere.
fn check(guest: Target, token: &Secret) -> Result<(), Failure> {
    let parsed = JoinToken::parse(token.reveal())
        .map_err(|error| Failure::new(Cause::Refused, format!("no token for {guest}: {}", chain(&error))))?;
    if parsed.guest == Guest::Vmid(guest.vmid) {
        return Ok(());
    }
    let text = format!("the token is guest {}'s, and was to be brought into {guest}", parsed.guest);
    Err(Failure::new(Cause::Refused, text))
}
