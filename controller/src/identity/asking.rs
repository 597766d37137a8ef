//! How the root process is asked for this node's authority, and for how long.
//!
//! Invariant: an answer under another root than the one that is known, or wanted, is refused.

use std::{future::Future, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use pinion_proto::{bundle::Fingerprint, clock::Timestamp};
use zeroize::Zeroizing;

use super::{
    PUBLIC_ROOT,
    error::IdentityError,
    grant::{Asked, Kept},
};
use crate::{
    authority::{AuthorityError, SecretText, fresh_key},
    channel::{
        client::Client,
        protocol::{Cause, Failure},
    },
    store::{Area, Store},
};

/// How long a start waits for the root process, which starts beside it; in tests it is there or it is not.
const START_PATIENCE: Duration = if cfg!(test) { Duration::from_millis(1) } else { Duration::from_secs(30) };

/// How often it is asked meanwhile.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// Until when a start waits for the root process.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline(tokio::time::Instant);

impl Deadline {
    /// As long as a start may take.
    pub(super) fn of_start() -> Self {
        Self(tokio::time::Instant::now() + START_PATIENCE)
    }

    /// Nobody waits.
    pub(super) fn over() -> Self {
        Self(tokio::time::Instant::now())
    }

    /// Asks until the root process is there.
    pub(super) async fn ask<T, F>(self, ask: impl Fn() -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        loop {
            match ask().await {
                Err(failure) if failure.cause == Cause::ToolMissing && tokio::time::Instant::now() < self.0 => {
                    tokio::time::sleep(ASK_EVERY).await;
                }
                asked => return asked,
            }
        }
    }
}

/// What is said to the root process with a request.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Terms {
    /// The root that is known here.
    pub(super) known: Option<Fingerprint>,
    /// The next root, if every guest trusts it.
    pub(super) takes_over: Option<Fingerprint>,
    /// Whether the root process's root must be a new one; the root process does not hear of it.
    pub(super) begins: bool,
}

/// Asks the root process for an authority.
pub(super) async fn ask(
    store: &Store,
    client: &Client,
    terms: Terms,
    deadline: Deadline,
    now: Timestamp,
) -> Result<Asked, IdentityError> {
    let Terms { known, takes_over, begins } = terms;
    let (key, csr) = fresh_key()?;
    let signed = deadline.ask(|| client.node_authority(&csr, known, takes_over)).await;
    let signed = signed.map_err(IdentityError::RootProcess)?;
    if begins && signed.existed {
        let known = format!("the root process has the root {} from before", signed.root.fingerprint());
        return Err(
            AuthorityError::Lost { name: PUBLIC_ROOT, path: store.file(Area::Shared, PUBLIC_ROOT)?, known }.into()
        );
    }
    let kept = Kept {
        certificate: signed.certificate,
        key: SecretText::new(Zeroizing::new(STANDARD.encode(key.as_slice()))),
        root: signed.root,
        trust_domain: signed.trust_domain,
        made: now,
    };
    let grant = kept.grant(now)?;
    if let Some(wanted) = takes_over.or(known).filter(|wanted| *wanted != grant.authority.root().fingerprint()) {
        return Err(IdentityError::Node(format!("it is not under the root {wanted}")));
    }
    Ok(Asked { kept, grant })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// How often a root process is asked that answers from the second time on, and whether it has answered.
    async fn asked(deadline: Deadline, first: Cause) -> (usize, bool) {
        let count = Cell::new(0);
        let answer = deadline.ask(|| async {
            count.set(count.get() + 1);
            if count.get() > 1 { Ok(()) } else { Err(Failure::new(first, "no answer")) }
        });
        let answer = answer.await;
        (count.get(), answer.is_ok())
    }

    #[tokio::test]
    async fn a_root_process_that_is_still_starting_is_waited_for_and_no_other() {
        let soon = || Deadline(tokio::time::Instant::now() + Duration::from_secs(60));
        for (what, deadline, first, expected) in [
            ("it is not there yet", soon(), Cause::ToolMissing, (2, true)),
            ("nobody waits", Deadline::over(), Cause::ToolMissing, (1, false)),
            ("it refuses", soon(), Cause::Busy, (1, false)),
        ] {
            assert_eq!(asked(deadline, first).await, expected, "{what}");
        }
    }
}
