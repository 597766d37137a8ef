//! One try at one guest: look, bring the agent in, let it join.
//!
//! Invariant: every step is safe to repeat, and none is done that the look shows to be done already.

use pinion_proto::{causes::chain, clock::Timestamp, id::Guest};

use super::{
    notes::{EnrolStep, Identity, Tools},
    version::is_older,
};
use crate::{
    channel::protocol::{Cause, Failure, Looked, Secret, Target},
    identity::TokenRefused,
};

/// Does what is missing in a guest whose agent is not linked.
pub(super) async fn enrol(
    tools: &Tools,
    target: Target,
    patient: bool,
    now: Timestamp,
    tell: impl Fn(EnrolStep),
) -> Result<Identity, Failure> {
    let looked = tools.channel.look(target).await?;
    tell(EnrolStep::Reached(words(&looked)));
    let agent = looked.agent.as_ref();
    if !agent.is_some_and(|agent| agent.running && !is_older(&agent.version, env!("CARGO_PKG_VERSION"))) {
        tell(EnrolStep::Installing);
        tools.channel.install(target).await?;
        tell(EnrolStep::Installed(looked.init.note()));
    }
    let guest = Guest::Vmid(target.vmid);
    let known =
        blocking(tools, move |tools| Ok(tools.identities.guest(guest)?.is_some_and(|record| record.locked.is_none())));
    let has_identity = agent.is_some_and(|agent| agent.joined && agent.expires.is_none_or(|at| now < at));
    let may_dial = patient || agent.is_some_and(|agent| !agent.running);
    if has_identity && may_dial && known.await? {
        tell(EnrolStep::Dialling);
        return Ok(Identity::AsBefore);
    }
    tell(EnrolStep::Joining);
    let token = blocking(tools, move |tools| {
        // What comes out of the hypervisor's channel is the guest itself: that is what a lock waits for.
        tools.identities.unlock(guest)?;
        tools.identities.create_token(guest, tools.advertise.borrow().addresses.clone())
    });
    let text = token.await?.to_text().map_err(|error| Failure::new(Cause::Unexpected, chain(&error)))?;
    tools.channel.join(target, Secret::new(text)).await?;
    tell(EnrolStep::Joined);
    Ok(Identity::New)
}

/// Brings the packaged agent into a guest that is linked.
pub(super) async fn upgrade(tools: &Tools, target: Target, tell: impl Fn(EnrolStep)) -> Result<Identity, Failure> {
    tell(EnrolStep::Installing);
    tools.channel.install(target).await?;
    tell(EnrolStep::Installed(None));
    Ok(Identity::AsBefore)
}

/// Puts the agent of before back.
pub(super) async fn restore(tools: &Tools, target: Target, tell: impl Fn(EnrolStep)) -> Result<Identity, Failure> {
    tools.channel.restore(target).await?;
    tell(EnrolStep::Restored);
    Err(Failure::new(
        Cause::Refused,
        format!(
            "agent {} did not link from guest {}, and the previous agent is back",
            env!("CARGO_PKG_VERSION"),
            target.vmid
        ),
    ))
}

/// Runs what waits for the disk.
async fn blocking<T: Send + 'static>(
    tools: &Tools,
    work: impl FnOnce(&Tools) -> Result<T, TokenRefused> + Send + 'static,
) -> Result<T, Failure> {
    let tools = tools.clone();
    match tokio::task::spawn_blocking(move || work(&tools)).await {
        Ok(outcome) => outcome.map_err(|error| Failure::new(Cause::Unexpected, chain(&error))),
        Err(error) => Err(Failure::new(Cause::Unexpected, format!("creating a token failed: {error}; this is a bug"))),
    }
}

fn words(looked: &Looked) -> String {
    let agent = match &looked.agent {
        None => "no agent".to_owned(),
        Some(agent) => {
            let joined = if agent.joined { "has an identity" } else { "has not joined" };
            let running = if agent.running { "runs" } else { "does not run" };
            format!("agent {} {running} and {joined}", agent.version)
        }
    };
    format!("{}, {agent}", looked.architecture)
}
