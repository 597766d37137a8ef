//! Every configured issuer by its name, and who is served next when one is busy or down.
//!
//! Answers: may this request go out now, after which others, or not at all?
//! Invariant: an issuer never has more calls under way than its configuration allows; among those that wait, the
//! certificate that expires first goes first; of an issuer that is down, one call at a time finds out whether it
//! is back, and everyone else gets its error at once instead of hanging.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BinaryHeap},
    num::NonZeroU16,
    path::Path,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use pinion_proto::{
    clock::{Clock, Timestamp},
    lock::lock,
    spec::PlainName,
};
use tokio::sync::oneshot;

use super::{
    Issuer, IssuerCheck, IssuerConfig, IssuerError, IssuerRoots, Revocation, Serial, Signed, SigningRequest,
    embedded::Embedded, step_ca::StepCa,
};
use crate::store::Store;

/// The issuer that needs no configuration.
const EMBEDDED: &str = "embedded";

/// Signing inside the controller takes a core each: more at once would only take turns.
const EMBEDDED_CONCURRENCY: NonZeroU16 = NonZeroU16::MIN.saturating_add(3);

/// All issuers. Cheap to share behind an [`Arc`].
#[derive(Debug)]
pub struct Issuers(BTreeMap<PlainName, Arc<Lane>>);

impl Issuers {
    /// The configured issuers, and one named `embedded` unless another has that name.
    ///
    /// Nothing is read or dialled before an issuer is used: one that is misconfigured says so in its errors and
    /// does not keep the others from working. Relative password files are under `root`.
    #[must_use]
    pub fn from_config(
        config: &BTreeMap<PlainName, IssuerConfig>,
        store: &Arc<Store>,
        clock: Arc<dyn Clock>,
        root: &Path,
    ) -> Self {
        let embedded = |name: &PlainName| -> Box<dyn Issuer> {
            Box::new(Embedded::new(name.clone(), store.clone(), clock.clone()))
        };
        let configured = config.iter().map(|(name, config)| match config {
            IssuerConfig::Embedded => (name.clone(), embedded(name), EMBEDDED_CONCURRENCY),
            IssuerConfig::StepCa(config) => {
                let issuer: Box<dyn Issuer> =
                    Box::new(StepCa::new(name.clone(), config, store.clone(), clock.clone(), root));
                (name.clone(), issuer, config.concurrency)
            }
        });
        let mut issuers = Self::of(configured);
        if let Ok(name) = EMBEDDED.parse::<PlainName>() {
            let lane = || Arc::new(Lane::new(embedded(&name), EMBEDDED_CONCURRENCY));
            issuers.0.entry(name.clone()).or_insert_with(lane);
        }
        issuers
    }

    /// These issuers, each with the most calls that it may have under way.
    #[must_use]
    pub fn of(issuers: impl IntoIterator<Item = (PlainName, Box<dyn Issuer>, NonZeroU16)>) -> Self {
        let lane = |(name, issuer, most)| (name, Arc::new(Lane::new(issuer, most)));
        Self(issuers.into_iter().map(lane).collect())
    }

    /// Their names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &PlainName> {
        self.0.keys()
    }

    /// Signs a request when its turn has come. `expires` is when what the placement holds now expires;
    /// one that holds nothing goes before all others.
    ///
    /// # Errors
    /// The issuer's own; at once, when another call has just found it down or misconfigured; and
    /// [`IssuerError::Misconfigured`] when there is no such issuer.
    pub async fn sign(
        &self,
        issuer: &PlainName,
        request: SigningRequest,
        expires: Option<Timestamp>,
    ) -> Result<Signed, IssuerError> {
        let lane = self.lane(issuer)?;
        let permit = lane.turn(expires).await?;
        let result = lane.issuer.sign(&request).await;
        permit.done(result.as_ref().map_or_else(Outcome::of, |_| Outcome::Answered));
        result
    }

    /// Whether an issuer is to revoke certificates that were replaced; one that is not there is not.
    #[must_use]
    pub fn revokes_replaced(&self, issuer: &PlainName) -> bool {
        self.0.get(issuer).is_some_and(|lane| lane.issuer.revokes_replaced())
    }

    /// Whether an issuer can revoke certificates; one that is not there cannot.
    #[must_use]
    pub fn can_revoke(&self, issuer: &PlainName) -> bool {
        self.0.get(issuer).is_some_and(|lane| lane.issuer.can_revoke())
    }

    /// Revokes a certificate when its turn has come. `expires` is when it expires.
    ///
    /// # Errors
    /// As [`Self::sign`].
    pub async fn revoke(
        &self,
        issuer: &PlainName,
        serial: &Serial,
        why: Revocation,
        expires: Timestamp,
    ) -> Result<(), IssuerError> {
        let lane = self.lane(issuer)?;
        let permit = lane.turn(Some(expires)).await?;
        let result = lane.issuer.revoke(serial, why).await;
        permit.done(result.as_ref().map_or_else(Outcome::of, |()| Outcome::Answered));
        result
    }

    /// Looks at an issuer without waiting for a turn.
    ///
    /// # Errors
    /// What keeps it from signing, or no such issuer.
    pub async fn check(&self, issuer: &PlainName) -> Result<IssuerCheck, IssuerError> {
        let lane = self.lane(issuer)?;
        let check = lane.issuer.check().await?;
        lane.state().down = None;
        Ok(check)
    }

    /// Which roots an issuer's certificates end at, without waiting for a turn.
    ///
    /// # Errors
    /// It cannot be asked and never has been, or there is no such issuer.
    pub async fn roots(&self, issuer: &PlainName) -> Result<IssuerRoots, IssuerError> {
        self.lane(issuer)?.issuer.roots().await
    }

    /// How often an issuer is worth asking for its roots; none for one whose roots stay.
    #[must_use]
    pub fn roots_every(&self, issuer: &PlainName) -> Option<Duration> {
        self.0.get(issuer)?.issuer.roots_every()
    }

    fn lane(&self, name: &PlainName) -> Result<&Arc<Lane>, IssuerError> {
        self.0.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.names().map(PlainName::as_str).collect();
            IssuerError::misconfigured(
                format!("there is no issuer `{name}`; there are: {}", known.join(", ")),
                format!("add [issuers.{name}] to controller.toml, or name another issuer in the manifest"),
            )
        })
    }
}

/// One issuer and those who want it.
#[derive(Debug)]
struct Lane {
    issuer: Box<dyn Issuer>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    free: u16,
    waiting: BinaryHeap<Waiter>,
    arrivals: u64,
    /// What the last call found, while the issuer is down.
    down: Option<IssuerError>,
    /// A call is finding out whether it is back.
    trial: bool,
}

/// What a call says about the issuer, rather than about its request.
enum Outcome {
    Answered,
    Down(IssuerError),
    /// The caller went away first.
    Unknown,
}

impl Outcome {
    fn of(error: &IssuerError) -> Self {
        match error {
            IssuerError::Refused { .. } => Self::Answered,
            // A wrong password or root is everyone's, and finding it out anew each time costs the CA and us.
            IssuerError::Unavailable { .. } | IssuerError::Misconfigured { .. } => Self::Down(error.clone()),
        }
    }
}

impl Lane {
    fn new(issuer: Box<dyn Issuer>, most: NonZeroU16) -> Self {
        let state = State { free: most.get(), waiting: BinaryHeap::new(), arrivals: 0, down: None, trial: false };
        Self { issuer, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change under the lock is whole in itself.
        lock(&self.state)
    }

    async fn turn(self: &Arc<Self>, expires: Option<Timestamp>) -> Result<Permit, IssuerError> {
        let turn = {
            let mut state = self.state();
            let trial = match &state.down {
                Some(error) if state.trial => return Err(error.clone()),
                Some(_) => true,
                None => false,
            };
            if state.free > 0 {
                state.free -= 1;
                state.trial |= trial;
                return Ok(Permit { lane: self.clone(), trial, outcome: Outcome::Unknown });
            }
            let (give, turn) = oneshot::channel();
            state.arrivals += 1;
            let arrival = state.arrivals;
            state.waiting.push(Waiter { expires, arrival, give });
            turn
        };
        turn.await.unwrap_or_else(|_| Err(IssuerError::Unavailable { message: "the controller is stopping".into() }))
    }

    /// A call is over: its place goes to the next, or everyone who waits is told that the issuer is down.
    fn release(self: &Arc<Self>, trial: bool, outcome: Outcome) {
        let mut told = Vec::new();
        let mut next = None;
        let mut error = None;
        {
            let mut state = self.state();
            state.trial &= !trial;
            match outcome {
                Outcome::Answered => state.down = None,
                Outcome::Unknown => {}
                Outcome::Down(why) => {
                    told = std::mem::take(&mut state.waiting).into_vec();
                    state.down = Some(why.clone());
                    error = Some(why);
                }
            }
            while next.is_none()
                && let Some(waiter) = state.waiting.pop()
            {
                next = Some(waiter).filter(|waiter| !waiter.give.is_closed());
            }
            if next.is_none() {
                state.free += 1;
            }
        }
        // Outside the lock: a permit that nobody takes any more comes back here when it is dropped.
        if let Some(waiter) = next {
            let permit = Permit { lane: self.clone(), trial: false, outcome: Outcome::Unknown };
            drop(waiter.give.send(Ok(permit)));
        }
        for waiter in told {
            if let Some(error) = &error {
                drop(waiter.give.send(Err(error.clone())));
            }
        }
    }
}

/// The right to one call; given back when dropped.
struct Permit {
    lane: Arc<Lane>,
    trial: bool,
    outcome: Outcome,
}

impl std::fmt::Debug for Permit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Permit").field("trial", &self.trial).finish_non_exhaustive()
    }
}

impl Permit {
    fn done(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let outcome = std::mem::replace(&mut self.outcome, Outcome::Unknown);
        self.lane.release(self.trial, outcome);
    }
}

/// Someone whose turn has not come. The greatest goes first: nothing held, then the soonest to expire, then the
/// first to come.
#[derive(Debug)]
struct Waiter {
    expires: Option<Timestamp>,
    arrival: u64,
    give: oneshot::Sender<Result<Permit, IssuerError>>,
}

impl Ord for Waiter {
    fn cmp(&self, other: &Self) -> Ordering {
        // `None` is the least of options, so reversing puts it first too.
        (other.expires, other.arrival).cmp(&(self.expires, self.arrival))
    }
}

impl PartialOrd for Waiter {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Waiter {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Waiter {}

#[cfg(test)]
mod tests;
