//! One placement's task: takes up what is asked, and decides when it is tried and looked at; what is done then is in
//! [`super::advance`].
//!
//! Invariants: it ends only when the agent stops or nothing of the placement is left; while it waits it can be woken
//! by new letters, and what changed is in the ledger on disk.

use std::sync::Arc;

use pinion_proto::{
    alarm::sleep_until, causes::chain, id::CertificateName, message::Purge, report::PlacementReport,
    spec::PlacementSpec,
};
use tokio::time::Instant;

use super::{
    advance::Parts,
    attempt::decide,
    backoff::Retries,
    driver::Now,
    failure::{self, Failure, Interrupt, Stopped},
    kept,
    mailbox::{Desired, Look, Mailbox},
    shared::Shared,
    switch::FileSwitch,
};
use crate::ledger::{Ledger, LedgerError};

/// Why the task ended.
pub(super) enum End {
    /// The agent stops.
    Stopped,
    /// Nothing of the placement is left.
    Gone,
}

/// A placement at work.
pub(super) struct Task<'a> {
    mailbox: &'a Mailbox,
    pub(super) parts: Parts,
    /// When what is in place is looked at again.
    check_due: Instant,
    /// What a person wants removed.
    pub(super) purging: Option<Purge>,
    /// The looks that the round under way is for.
    look: Look,
}

/// What a round does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    /// The next try.
    Try,
    /// A look at what is in place.
    Look,
    /// Nothing yet.
    Nothing,
}

/// What comes after a round.
enum Next {
    Wait(Option<Instant>),
    Gone,
}

/// What is due now.
fn due(now: Instant, try_due: Instant, check_due: Instant) -> Due {
    if now >= try_due {
        Due::Try
    } else if now >= check_due {
        Due::Look
    } else {
        Due::Nothing
    }
}

/// Whether a spec asks for something else than the one before, and not only for no new certificate any more.
fn asks_for_more(before: &PlacementSpec, spec: &PlacementSpec) -> bool {
    let kept = |spec: &PlacementSpec| PlacementSpec { ordered: None, ..spec.clone() };
    spec.ordered > before.ordered || kept(before) != kept(spec)
}

/// Runs a placement to its end.
pub(super) async fn run(
    shared: &Arc<Shared>,
    name: &CertificateName,
    ledger: Box<Result<Ledger, LedgerError>>,
    mailbox: &Mailbox,
) -> End {
    let ledger = match *ledger {
        Ok(ledger) => ledger,
        Err(error) => match Box::pin(readable(shared, name, error, mailbox)).await {
            Ok(ledger) => ledger,
            Err(Stopped) => return End::Stopped,
        },
    };
    let (ledger, is_new_to_it) = Box::pin(kept::note(ledger, shared)).await;
    let now = Instant::now();
    // What a crash interrupted was looked at before it began.
    let begun = Purge { restore: ledger.restoring, force: true, ..Purge::all(name.clone()) };
    let purging = ledger.purging.then_some(begun);
    let mut task = Task {
        mailbox,
        parts: Parts::new(FileSwitch::new(Arc::clone(shared), name.clone(), ledger, is_new_to_it), now),
        check_due: now,
        purging,
        look: Look::default(),
    };
    loop {
        // Between two rounds, a placement keeps no room for what a round needs.
        let next = Box::pin(task.round()).await;
        Box::pin(task.parts.switch.save_rest()).await;
        match next {
            Ok(Next::Gone) => return End::Gone,
            Ok(Next::Wait(until)) => {
                let timer = async {
                    match until {
                        Some(until) => sleep_until(until).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = mailbox.rang() => {}
                    () = timer => {}
                    () = shared.stopped() => return End::Stopped,
                }
            }
            Err(Stopped) => return End::Stopped,
        }
    }
}

/// Waits until a broken ledger was repaired or removed. Nothing is written, and nothing in place is touched.
async fn readable(
    shared: &Arc<Shared>,
    name: &CertificateName,
    mut error: LedgerError,
    mailbox: &Mailbox,
) -> Result<Ledger, Stopped> {
    let (mut retries, mut look) = (Retries::default(), Look::default());
    loop {
        let failure = Failure::ledger(&error);
        let delay = retries.fail(name, &shared.context.config.retry, failure.halt, failure.cost);
        let retry_at = failure::at(shared.context.clock.now(), delay);
        tracing::error!(certificate = %name, error = chain(&error), "Cannot read what is remembered of a placement");
        shared.publish(PlacementReport {
            trouble: Some(failure.trouble(Some(retry_at))),
            looked: look.link,
            ..PlacementReport::nothing(name.clone())
        });
        shared.has_looked(name, look.here);
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = mailbox.rang() => {}
            () = shared.stopped() => return Err(Stopped),
        }
        look = mailbox.look();
        let (reading, reader) = (name.clone(), Arc::clone(shared));
        let read = tokio::task::spawn_blocking(move || reader.ledgers.read(&reading)).await;
        match read.map_err(|_| Stopped)? {
            Ok(ledger) => return Ok(ledger),
            Err(again) => error = again,
        }
    }
}

impl Task<'_> {
    async fn round(&mut self) -> Result<Next, Stopped> {
        self.take_letters();
        let ledger = &self.parts.switch.ledger;
        if self.purging.as_ref().is_some_and(|purge| purge.left_behind) {
            Box::pin(self.purge_left_behind()).await?;
        } else if self.purging.is_some() || ledger.spec.as_ref().is_some_and(|spec| spec.purge) {
            if Instant::now() >= self.parts.newer.due() && Box::pin(self.purge()).await? {
                return Ok(Next::Gone);
            }
            if self.purging.is_some() || self.parts.switch.ledger.spec.as_ref().is_some_and(|spec| spec.purge) {
                self.announce().await;
                return Ok(Next::Wait(Some(self.parts.newer.due())));
            }
        }
        let ledger = &self.parts.switch.ledger;
        if ledger.retired || ledger.spec.is_none() {
            return Box::pin(self.rest()).await;
        }
        let now = Instant::now();
        match due(now, self.parts.newer.due(), self.check_due) {
            Due::Nothing => {}
            due => {
                self.work(due, now).await?;
                self.check_due = self.parts.switch.shared.rhythm.after(Instant::now());
            }
        }
        self.announce().await;
        Ok(Next::Wait(Some(self.parts.newer.due().min(self.check_due))))
    }

    /// Tries, or looks after what is in place until the next try.
    async fn work(&mut self, due: Due, now: Instant) -> Result<(), Stopped> {
        let outcome = if due == Due::Try {
            Box::pin(self.parts.advance()).await.map(|()| true)
        } else {
            Box::pin(self.parts.look_after()).await
        };
        match outcome {
            Ok(true) => {
                self.parts.status.clear();
                let since = if due == Due::Try { Instant::now() } else { now };
                self.parts.newer.succeeded(self.parts.switch.shared.rhythm.after(since));
            }
            Err(Interrupt::Stopped) => return Err(Stopped),
            Err(Interrupt::Failed(failure)) if due == Due::Try => self.fail(&failure),
            // What holds it up is reported already.
            Ok(false) | Err(Interrupt::Failed(_)) => {}
        }
        Ok(())
    }

    /// Publishes the state, and what has come as soon as it is written down: the controller then forgets its copy.
    /// What is installed at once was written down with its journal.
    async fn announce(&mut self) {
        if self.parts.switch.is_answered() {
            Box::pin(self.parts.switch.save_rest()).await;
        }
        // Whoever waits for this look gets its result.
        self.parts.status.looked(self.look.link);
        self.parts.status.publish(&self.parts.switch, &self.parts.request);
        self.parts.switch.shared.has_looked(&self.parts.switch.name, self.look.here);
    }

    /// Notes why a try failed, and when the next one is made.
    pub(super) fn fail(&mut self, failure: &Failure) {
        let now = Now { clock: self.parts.switch.now(), timer: Instant::now() };
        let retry_at = self.parts.newer.failed(failure, &self.parts.switch.name, self.parts.switch.config(), now);
        self.parts.status.fail(&self.parts.switch.name, failure.trouble(Some(retry_at)));
    }

    /// A placement that is not asked for: what is there stays as it is.
    async fn rest(&mut self) -> Result<Next, Stopped> {
        if self.parts.switch.ledger.retired && self.parts.switch.ledger.is_bare() && Box::pin(self.purge()).await? {
            return Ok(Next::Gone);
        }
        match self.finish().await {
            Ok(()) => self.parts.status.clear(),
            Err(Interrupt::Stopped) => return Err(Stopped),
            Err(Interrupt::Failed(failure)) => self.fail(&failure),
        }
        // Another certificate may take its paths over.
        self.parts.switch.shared.keep_claims(&self.parts.switch.name, &[]);
        self.announce().await;
        Ok(Next::Wait(self.parts.status.is_in_trouble().then_some(self.parts.newer.due())))
    }

    /// Finishes what a crash interrupted although nothing is asked for any more.
    async fn finish(&mut self) -> Result<(), Interrupt> {
        match decide(&self.parts.switch, &mut self.parts.status) {
            Ok(job) => self.parts.switch.resume(Some(&job), self.parts.newer.failures()).await,
            Err(Interrupt::Failed(_)) => Ok(()),
            Err(stopped) => Err(stopped),
        }
    }

    /// Takes up what was asked.
    fn take_letters(&mut self) {
        let letters = self.mailbox.empty();
        let look = self.look.and(letters.look);
        let is_asked_to_look = std::mem::replace(&mut self.look, look) != look;
        if is_asked_to_look || (letters.retry && self.parts.status.is_in_trouble()) {
            self.parts.newer.try_at(Instant::now());
        }
        match letters.desired {
            Some(Desired::Wanted(spec)) => {
                if std::mem::take(&mut self.parts.switch.ledger.purging) {
                    self.parts.switch.changed();
                }
                self.purging = self.purging.take().filter(|purge| purge.left_behind);
                self.want(*spec);
            }
            Some(Desired::Absent) => self.retire(),
            None => {}
        }
        if let Some(purge) = letters.purge {
            self.take_purge(purge);
        }
        if let Some(delivery) = letters.delivery
            && self.parts.request.take(&mut self.parts.switch, delivery, self.parts.status.usage())
        {
            self.parts.start_afresh();
        }
    }

    fn want(&mut self, mut spec: PlacementSpec) {
        // What the controller does meanwhile is its own to remember.
        spec.trouble = None;
        let ledger = &mut self.parts.switch.ledger;
        if spec.roots.is_empty()
            && let Some(before) = &ledger.spec
        {
            // It does not know them yet; what is trusted stays.
            spec.roots.clone_from(&before.roots);
        }
        if ledger.spec.as_ref() == Some(&spec) && !ledger.retired {
            return;
        }
        // An order that is taken back says nothing of what failed.
        let asks_for_more = ledger.retired || ledger.spec.as_ref().is_none_or(|before| asks_for_more(before, &spec));
        ledger.spec = Some(spec);
        ledger.retired = false;
        self.parts.switch.changed();
        if asks_for_more {
            self.parts.start_afresh();
        }
    }

    fn retire(&mut self) {
        if self.parts.switch.ledger.retired {
            return;
        }
        tracing::info!(certificate = %self.parts.switch.name, "Retired; its files stay until they are purged");
        self.parts.switch.ledger.retired = true;
        self.parts.request.cancel(&mut self.parts.switch);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{super::tests::guest::spec, *};

    #[test]
    fn an_order_that_is_taken_back_is_no_reason_to_try_before_the_announced_time() {
        let ordered = |ordered| PlacementSpec { ordered, ..spec("web", "web") };
        for (before, after, asks) in [
            (None, Some(1), true),
            (Some(1), Some(2), true),
            (Some(2), Some(2), false),
            (Some(2), None, false),
            (Some(2), Some(1), false),
        ] {
            assert_eq!(asks_for_more(&ordered(before), &ordered(after)), asks, "{before:?} to {after:?}");
        }
        let elsewhere = PlacementSpec { recipe: None, ..ordered(None) };
        assert!(asks_for_more(&ordered(Some(2)), &elsewhere), "and another place");
    }

    #[test]
    fn a_try_comes_before_a_look_and_neither_before_its_time() {
        let now = Instant::now() + Duration::from_secs(60);
        let (past, future) = (now - Duration::from_secs(1), now + Duration::from_secs(1));
        for (try_due, check_due, expected) in [
            (now, now, Due::Try),
            (past, future, Due::Try),
            (past, past, Due::Try),
            (future, now, Due::Look),
            (future, past, Due::Look),
            (future, future, Due::Nothing),
        ] {
            assert_eq!(due(now, try_due, check_due), expected);
        }
    }
}
