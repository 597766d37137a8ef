//! A step-ca server, and the session with it that signing, revoking and asking for roots share.
//!
//! Invariants: many callers that find no session open one; a caller that finds it failed opens another, once. What
//! refusals have taught belongs to the server, and is kept when a session is replaced.

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use pinion_proto::{
    clock::{Clock, Timestamp},
    lock::lock,
    spec::PlainName,
};

use super::{
    config::StepCaConfig,
    durations::Limits,
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
    /// How long certificates may be valid, as far as is known.
    pub(super) limits: Mutex<Limits>,
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
            limits: Mutex::default(),
            shortened: Mutex::new(None),
        }
    }

    pub(super) async fn session(&self) -> Result<Arc<Session>, IssuerError> {
        let mut held = self.session.lock().await;
        if let Some(session) = held.as_ref().filter(|session| !session.is_stale(self.skew.here())) {
            return Ok(session.clone());
        }
        let session = Session::open(&self.settings, self.memory.successors(), &self.skew, held.as_deref()).await?;
        Ok(self.use_from_now_on(&mut held, session))
    }

    /// Forgets a session that failed, and opens another one; not if someone has since. Says whether it did.
    pub(super) async fn reopen(&self, failed: &Arc<Session>) -> Result<bool, IssuerError> {
        let mut held = self.session.lock().await;
        if held.as_ref().is_some_and(|session| !Arc::ptr_eq(session, failed)) {
            return Ok(false);
        }
        *held = None;
        let session = Session::open(&self.settings, self.memory.successors(), &self.skew, Some(failed)).await?;
        self.use_from_now_on(&mut held, session);
        Ok(true)
    }

    pub(super) fn use_from_now_on(&self, held: &mut Option<Arc<Session>>, session: Session) -> Arc<Session> {
        lock(&self.limits).refresh(session.claims);
        held.insert(Arc::new(session)).clone()
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
        learned?;
        self.memory.last_said().ok_or_else(|| self.settings.unavailable("ask for its roots", "it has none"))
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
