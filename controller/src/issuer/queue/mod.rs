//! The queue before one issuer: who is served next when it is busy or down.
//!
//! Answers: may this request go out now, after which others, or not at all?
//! Invariant: an issuer never has more calls under way than its configuration allows; among those that wait, the
//! certificate that expires first goes first; of an issuer that is down, one call at a time finds out whether it
//! is back, and everyone else gets its error at once instead of hanging; one that asks for a pause has it.

use std::{
    cmp::Ordering,
    collections::BinaryHeap,
    num::NonZeroU16,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use pinion_proto::{clock::Timestamp, lock::lock};
use tokio::{sync::oneshot, time::Instant};

use super::{Issuer, IssuerCheck, IssuerError, IssuerRoots};
pub use calls::{IssuerCalls, Operation};

mod calls;

/// One issuer and those who want it.
#[derive(Debug)]
pub(super) struct Queue {
    issuer: Box<dyn Issuer>,
    state: Mutex<State>,
    calls: Mutex<IssuerCalls>,
}

#[derive(Debug)]
struct State {
    free: u16,
    waiting: BinaryHeap<Waiter>,
    arrivals: u64,
    /// What the last call found, while the issuer is down.
    down: Option<IssuerError>,
    /// The issuer asked to be left alone until then.
    quiet_until: Option<Instant>,
    /// A call is finding out whether it is back.
    trial: bool,
}

impl State {
    fn is_quiet(&self) -> bool {
        self.quiet_until.is_some_and(|until| Instant::now() < until)
    }

    /// What those hear that come now: of a pause, what is left of it.
    fn put_off(&self, error: &IssuerError) -> IssuerError {
        let left = self.quiet_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()));
        match error {
            IssuerError::Busy { message, .. } if left.is_zero() => {
                IssuerError::Unavailable { message: message.clone() }
            }
            IssuerError::Busy { message, .. } => IssuerError::Busy { message: message.clone(), after: left },
            other => other.clone(),
        }
    }
}

/// What a call says about the issuer, rather than about its request.
enum CallOutcome {
    Answered,
    Down(IssuerError),
    /// The caller went away first.
    Unknown,
}

impl CallOutcome {
    fn of(error: &IssuerError) -> Self {
        // Finding out anew each time that it is down or misconfigured costs the CA and us.
        if error.is_answer() { Self::Answered } else { Self::Down(error.clone()) }
    }
}

impl Queue {
    /// Before this issuer, which has so many calls under way at most.
    pub(super) fn new(issuer: Box<dyn Issuer>, calls: NonZeroU16) -> Self {
        let state = State {
            free: calls.get(),
            waiting: BinaryHeap::new(),
            arrivals: 0,
            down: None,
            quiet_until: None,
            trial: false,
        };
        Self { issuer, state: Mutex::new(state), calls: Mutex::new(IssuerCalls::new()) }
    }

    /// The issuer, for what needs no turn.
    pub(super) fn issuer(&self) -> &dyn Issuer {
        &*self.issuer
    }

    /// Calls the issuer when its turn has come. `expires` is when what is held expires; where nothing is, the call goes
    /// before all others.
    ///
    /// # Errors
    /// The call's own; at once, when another has just found the issuer down or misconfigured.
    pub(super) async fn call<T, F: Future<Output = Result<T, IssuerError>>>(
        self: &Arc<Self>,
        operation: Operation,
        expires: Option<Timestamp>,
        call: F,
    ) -> Result<T, IssuerError> {
        let permit = self.turn(expires).await?;
        let began = Instant::now();
        let result = call.await;
        self.note(result.as_ref().err(), |calls, error| calls.note(operation, error, began.elapsed()));
        permit.done(result.as_ref().map_or_else(CallOutcome::of, |_| CallOutcome::Answered));
        result
    }

    /// Looks at the issuer without waiting for a turn.
    ///
    /// # Errors
    /// What keeps it from signing.
    pub(super) async fn check(&self) -> Result<IssuerCheck, IssuerError> {
        let check = self.look().await?;
        self.state().down = None;
        Ok(check)
    }

    /// Looks at the issuer, unless it asked to be left alone, and changes nothing about who may call it.
    ///
    /// # Errors
    /// What keeps it from signing.
    pub(super) async fn glance(&self) -> Result<(), IssuerError> {
        if self.state().is_quiet() { Ok(()) } else { self.look().await.map(drop) }
    }

    async fn look(&self) -> Result<IssuerCheck, IssuerError> {
        let check = self.issuer.check().await;
        self.note(check.as_ref().err(), |calls, _| {
            calls.checked = check.as_ref().ok().or(calls.checked.as_ref()).cloned()
        });
        check
    }

    /// Asks the issuer for its roots without waiting for a turn; none of one that cannot say.
    ///
    /// # Errors
    /// It does not answer as it should.
    pub(super) async fn roots(&self) -> Result<Option<IssuerRoots>, IssuerError> {
        let Some(roots) = self.issuer.roots() else { return Ok(None) };
        let roots = roots.now().await;
        self.note(roots.as_ref().err(), |_, _| {});
        roots.map(Some)
    }

    /// What became of its calls until now.
    pub(super) fn calls(&self) -> IssuerCalls {
        IssuerCalls { waiting: self.state().waiting.len(), ..lock(&self.calls).clone() }
    }

    /// Notes what the issuer has answered, and since when it does not.
    fn note(&self, error: Option<&IssuerError>, note: impl FnOnce(&mut IssuerCalls, Option<&IssuerError>)) {
        let mut calls = lock(&self.calls);
        note(&mut calls, error);
        calls.down_since = match error {
            Some(error) if !error.is_answer() => calls.down_since.or_else(|| Some(Instant::now())),
            _ => None,
        };
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change under the lock is whole in itself.
        lock(&self.state)
    }

    async fn turn(self: &Arc<Self>, expires: Option<Timestamp>) -> Result<Permit, IssuerError> {
        let turn = {
            let mut state = self.state();
            let trial = match &state.down {
                Some(error) if state.trial || state.is_quiet() => return Err(state.put_off(error)),
                Some(_) => true,
                None => false,
            };
            if state.free > 0 {
                state.free -= 1;
                state.trial |= trial;
                return Ok(Permit { queue: self.clone(), trial, outcome: CallOutcome::Unknown });
            }
            let (give, turn) = oneshot::channel();
            state.arrivals += 1;
            let arrival = state.arrivals;
            state.waiting.push(Waiter { expires, arrival, give });
            turn
        };
        turn.await.unwrap_or_else(|_| Err(IssuerError::Unavailable { message: "the controller is stopping".into() }))
    }

    /// A call is over: its place goes to the next, or everyone who waits gets the error because the issuer is down.
    fn release(self: &Arc<Self>, trial: bool, outcome: CallOutcome) {
        let mut refused = Vec::new();
        let mut next = None;
        let mut error = None;
        {
            let mut state = self.state();
            state.trial &= !trial;
            match outcome {
                CallOutcome::Answered => (state.down, state.quiet_until) = (None, None),
                CallOutcome::Unknown => {}
                CallOutcome::Down(why) => {
                    refused = std::mem::take(&mut state.waiting).into_vec();
                    state.quiet_until = match &why {
                        IssuerError::Busy { after, .. } => Some(Instant::now() + *after),
                        _ => None,
                    };
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
            let permit = Permit { queue: self.clone(), trial: false, outcome: CallOutcome::Unknown };
            drop(waiter.give.send(Ok(permit)));
        }
        for waiter in refused {
            if let Some(error) = &error {
                drop(waiter.give.send(Err(error.clone())));
            }
        }
    }
}

/// The right to one call; given back when dropped.
struct Permit {
    queue: Arc<Queue>,
    trial: bool,
    outcome: CallOutcome,
}

impl std::fmt::Debug for Permit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Permit").field("trial", &self.trial).finish_non_exhaustive()
    }
}

impl Permit {
    fn done(mut self, outcome: CallOutcome) {
        self.outcome = outcome;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let outcome = std::mem::replace(&mut self.outcome, CallOutcome::Unknown);
        self.queue.release(self.trial, outcome);
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
