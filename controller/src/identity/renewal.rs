//! Renews this node's authority, where the identity root's key is the root process's.
//!
//! Invariant: an authority that cannot be renewed stays in use, and is asked for again.

use std::{sync::Arc, time::Duration};

use pinion_proto::clock::Clock;

use super::{
    Identities,
    asking::{Deadline, Terms, ask},
};
use crate::{
    channel::client::Client,
    events::{Events, HostEvent, What},
    store::Store,
};

/// An identity does not outlive the authority that signed it, and guests are away for weeks: the authority is never much
/// older than this.
const RENEW_AFTER: Duration = Duration::from_secs(24 * 3600);

/// When that fails, it is tried again after this long; the root process signs no more often for long.
const RETRY: Duration = Duration::from_secs(15 * 60);

/// Renews this node's authority for as long as the controller runs; returns at once where it holds the root itself.
pub(crate) async fn keep(
    identities: Arc<Identities>,
    store: Arc<Store>,
    client: Client,
    events: Arc<Events>,
    clock: Arc<dyn Clock>,
) {
    let mut told = false;
    while let Some((made, known)) = identities.node() {
        let due = made + RENEW_AFTER;
        // When the clock was set back to before it was made, agents would not take it until then.
        while (made..due).contains(&clock.now()) {
            clock.sleep_until(due).await;
        }
        let terms = Terms { known: Some(known), ..Terms::default() };
        let asked = ask(&store, &client, terms, Deadline::over(), clock.now()).await;
        match asked.and_then(|asked| Ok(asked.keep(&store)?)) {
            Ok(grant) => {
                tracing::info!(expires = %grant.authority.expires(), "This node's authority is renewed");
                if std::mem::take(&mut told) {
                    events.record(What::Host(HostEvent::NodeAuthorityRenewed).at(clock.now()));
                }
                identities.renewed_node(grant);
            }
            Err(error) => {
                let failed = What::Host(HostEvent::NodeAuthorityFails(pinion_proto::causes::chain(&error)));
                let failed = failed.at(clock.now());
                if !std::mem::replace(&mut told, true) {
                    events.record(failed);
                } else {
                    tracing::warn!("{}", failed.text);
                }
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}
