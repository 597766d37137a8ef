//! A step-ca server, and the session with it that signing, revoking and asking for roots share.
//!
//! Invariant: many callers that find no session open one; whoever finds that it failed opens another, once.

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use pinion_proto::{
    clock::{Clock, Timestamp},
    spec::PlainName,
};

use super::{
    config::StepCaConfig,
    roots::{self, Memory},
    session::Session,
    settings::Settings,
    skew::Skew,
};
use crate::{
    issuer::{IssuerError, IssuerRoots},
    store::Store,
};

/// A host whose clock is behind gets certificates that are valid by its own clock, within this.
const MAX_BACKDATE: i64 = 3600;

/// From this difference on, a certificate that is backdated by a minute may not be valid yet here (seconds).
pub(super) const BEHIND: i64 = 30;

/// A step-ca server.
#[derive(Debug)]
pub struct StepCa {
    pub(super) settings: Settings,
    pub(super) skew: Arc<Skew>,
    pub(super) memory: Memory,
    /// Held while a session is opened, so that many callers open one.
    pub(super) session: tokio::sync::Mutex<Option<Arc<Session>>>,
    /// The longest duration that was asked for and shortened.
    pub(super) shortened: Mutex<Option<Duration>>,
}

impl StepCa {
    /// A step-ca as configured; a relative password file is under `root`. Nothing is read or dialled yet.
    #[must_use]
    pub fn new(name: PlainName, config: &StepCaConfig, store: Arc<Store>, clock: Arc<dyn Clock>, root: &Path) -> Self {
        let settings = Settings::new(name, config, root);
        Self {
            memory: Memory::new(store, &settings),
            settings,
            skew: Skew::new(clock),
            session: tokio::sync::Mutex::new(None),
            shortened: Mutex::new(None),
        }
    }

    pub(super) async fn session(&self) -> Result<Arc<Session>, IssuerError> {
        let mut held = self.session.lock().await;
        if let Some(session) = held.as_ref().filter(|session| !session.is_stale(self.skew.here())) {
            return Ok(session.clone());
        }
        let session =
            Arc::new(Session::open(&self.settings, self.memory.successors(), &self.skew, held.as_deref()).await?);
        *held = Some(session.clone());
        Ok(session)
    }

    /// Forgets a session that failed, unless someone has opened another since; its limits and key are carried over
    /// where they still hold.
    pub(super) async fn reopen(&self, failed: &Arc<Session>) -> Result<(), IssuerError> {
        let mut held = self.session.lock().await;
        if held.as_ref().is_some_and(|session| !Arc::ptr_eq(session, failed)) {
            return Ok(());
        }
        *held = None;
        *held =
            Some(Arc::new(Session::open(&self.settings, self.memory.successors(), &self.skew, Some(failed)).await?));
        Ok(())
    }

    /// Asks the CA for its roots, and trusts them from now on.
    pub(super) async fn learn_roots(&self, session: &Arc<Session>) -> Result<(), IssuerError> {
        let (current, signing) = roots::ask(&self.settings, &session.http).await?;
        let before = self.memory.successors();
        let learned = self.memory.learn(current, signing, self.skew.here());
        learned.map_err(|why| self.settings.unavailable("write down its roots", why))?;
        if self.memory.successors() != before {
            self.reopen(session).await?;
        }
        Ok(())
    }

    pub(super) async fn roots_now(&self) -> Result<IssuerRoots, IssuerError> {
        let learned = match self.session().await {
            Ok(session) => match self.learn_roots(&session).await {
                Err(error) => {
                    // The CA may have begun to show a certificate that ends at another of its roots.
                    self.reopen(&session).await?;
                    let session = self.session().await?;
                    self.learn_roots(&session).await.map_err(|_| error)
                }
                learned => learned,
            },
            Err(error) => Err(error),
        };
        match (learned, self.memory.last_said()) {
            (Ok(()), Some(roots)) => Ok(roots),
            (Err(error), Some(roots)) => {
                tracing::debug!(issuer = %self.settings.name, %error, "Cannot ask for the roots; keeping the last \
                    ones");
                Ok(roots)
            }
            (Err(error), None) => Err(error),
            (Ok(()), None) => Err(self.settings.unavailable("ask for its roots", "it has none")),
        }
    }

    /// Whether this host's clock is so far behind the CA's that its certificates would not be valid here yet.
    pub(super) fn is_behind(&self) -> bool {
        (BEHIND..=MAX_BACKDATE).contains(&self.skew.significant())
    }

    /// The moment that an ordered duration counts from.
    pub(super) fn given_from(&self) -> Timestamp {
        if self.is_behind() { self.skew.here() } else { self.skew.at_ca() }
    }
}
