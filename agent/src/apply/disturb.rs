//! Whether a service may be disturbed now: its window, and how often it was restarted lately.
//!
//! Invariant: a restart is written down before it is made, whoever makes it.

use std::sync::Arc;

use pinion_proto::clock::Timestamp;

use super::{
    failure::{Failure, Interrupt},
    switch::FileSwitch,
    window,
};
use crate::{
    bundle::Credential,
    install::files::Files,
    recipe::ReloadAction,
    restarts::{self, Restarts},
};

/// Whether the service may be notified in this way now.
pub(super) fn may_disturb(switch: &FileSwitch, action: &ReloadAction) -> Result<(), Interrupt> {
    let journal = switch.ledger.journal.as_ref();
    let serves = journal.is_none_or(|journal| journal.was_serving);
    if action.may_disturb() && serves {
        let window = switch.ledger.spec.as_ref().and_then(|spec| spec.window.as_deref());
        let ends = served(switch).map(|credential| credential.chain.expires()).or_else(|| replaced_ends(switch));
        if let Some(closed) = window::closed(window, ends, switch.now()) {
            return Err(Failure::window(action.to_string(), closed, &switch.name).into());
        }
    }
    if action.is_disruptive() {
        let allowed = switch.shared.restarts.allow(action.service(), reason(switch), switch.now());
        allowed.map_err(|limited| Failure::restarted(action, &limited))?;
    }
    Ok(())
}

/// Whether the service of an action may be restarted now.
pub(super) fn may_restart(switch: &FileSwitch, action: &ReloadAction) -> bool {
    switch.shared.restarts.allow(action.service(), reason(switch), switch.now()).is_ok()
}

/// Writes down what is about to be done, if that is a restart.
pub(super) async fn note(switch: &FileSwitch, action: &ReloadAction) -> Result<(), Interrupt> {
    if action.is_disruptive() { note_restart(switch, action).await } else { Ok(()) }
}

/// Writes a restart of the action's service down.
pub(super) async fn note_restart(switch: &FileSwitch, action: &ReloadAction) -> Result<(), Interrupt> {
    let now = switch.now();
    write(switch, action, move |restarts, files, service| restarts.note(files, service, now)).await
}

/// Nothing was there that could have been restarted.
pub(super) async fn take_back(switch: &FileSwitch, action: &ReloadAction) -> Result<(), Interrupt> {
    if !action.is_disruptive() {
        return Ok(());
    }
    write(switch, action, Restarts::take_back).await
}

async fn write(
    switch: &FileSwitch,
    action: &ReloadAction,
    change: impl FnOnce(&Restarts, &dyn Files, &str) + Send + 'static,
) -> Result<(), Interrupt> {
    let (shared, service) = (Arc::clone(&switch.shared), action.service().to_owned());
    let written = tokio::task::spawn_blocking(move || change(&shared.restarts, &*shared.context.files, &service));
    written.await.map_err(|_| Interrupt::Stopped)
}

/// When what the service serves is no longer valid, if it may be restarted once more for that.
fn reason(switch: &FileSwitch) -> Option<Timestamp> {
    let chain = &served(switch)?.chain;
    restarts::reason(chain.leaf().not_before(), chain.expires())
}

/// When what was there before Pinion, and is served until then, is no longer valid.
fn replaced_ends(switch: &FileSwitch) -> Option<Timestamp> {
    switch.ledger.originals.iter().filter_map(|original| original.not_after).min()
}

/// What the service serves until it is notified, as far as that is known.
fn served(switch: &FileSwitch) -> Option<&Credential> {
    let previous = switch.ledger.journal.as_ref().and_then(|journal| journal.previous.as_ref());
    previous.and_then(|held| held.bundle.credential())
}
