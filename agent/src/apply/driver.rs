//! One certificate's way to its service: how firmly the service is notified, how often that failed, when it is tried again.
//!
//! A placement has two of them: `newer` for the certificate that was asked for last, `current` for the one in place while
//! a newer one is held up. Invariant: neither knows of the other, so what fails with one says nothing of the other.

use std::{collections::BTreeSet, time::Duration};

use pinion_proto::{bundle::Fingerprint, clock::Timestamp, id::CertificateName};
use tokio::time::Instant;

use super::{
    backoff::Retries,
    escalate::Escalation,
    failure::{Failure, NextTry, at},
};
use crate::{
    config::Config,
    ledger::Installed,
    recipe::{Levels, ReloadAction},
};

/// The pause between two looks whether something is there that somebody else brings.
const SOON: Duration = Duration::from_secs(5);

/// How one certificate comes to its service.
#[derive(Debug)]
pub(super) struct Driver {
    pub(super) escalation: Escalation,
    pub(super) told: Told,
    /// Of several services, those that have not followed since all of them last showed what they should.
    blamed: BTreeSet<Box<str>>,
    retries: Retries,
    due: Instant,
}

/// Which of several services were notified of what is in place already, while another one was not to be had yet.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// What is in place: its generation, and which roots are in its files.
    of: (u64, Box<[Fingerprint]>),
    how: Vec<ReloadAction>,
}

impl Told {
    /// Another set of files is in place, if it is another one.
    pub(super) fn of(&mut self, held: &Installed) {
        let now = (held.bundle.generation(), held.roots.clone());
        if self.of != now {
            *self = Self { of: now, how: Vec::new() };
        }
    }

    /// Nobody knows of it, as far as this placement knows.
    pub(super) fn forget(&mut self) {
        self.how.clear();
    }

    /// A service was notified so.
    pub(super) fn add(&mut self, how: &ReloadAction) {
        if !self.contains(how) {
            self.how.push(how.clone());
        }
    }

    /// Whether a service was notified so.
    pub(super) fn contains(&self, how: &ReloadAction) -> bool {
        self.how.contains(how)
    }
}

/// This moment, by the clock that reports are dated with and by the one that timers run on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) clock: Timestamp,
    pub(super) timer: Instant,
}

impl Driver {
    pub(super) fn new(due: Instant) -> Self {
        let (escalation, told) = (Escalation::default(), Told::default());
        Self { escalation, told, blamed: BTreeSet::new(), retries: Retries::default(), due }
    }

    /// A service has not followed.
    pub(super) fn blame(&mut self, service: &Levels) {
        self.blamed.insert(service.strongest().service().into());
    }

    /// All services have followed.
    pub(super) fn blame_nobody(&mut self) {
        self.blamed.clear();
    }

    /// Whether a service has not followed.
    pub(super) fn is_blamed(&self, service: &Levels) -> bool {
        self.blamed.contains(service.strongest().service())
    }

    /// How many tries have failed since the last success.
    pub(super) fn failures(&self) -> u32 {
        self.retries.failures()
    }

    /// When the next try may be made.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// The next try may be made from then on.
    pub(super) fn try_at(&mut self, due: Instant) {
        self.due = due;
    }

    /// A try succeeded.
    pub(super) fn succeeded(&mut self, due: Instant) {
        self.retries.reset();
        self.due = due;
    }

    /// A try failed: when the report says that it is tried again.
    pub(super) fn failed(&mut self, failure: &Failure, name: &CertificateName, config: &Config, now: Now) -> Timestamp {
        match failure.next_try {
            // Tried often all the same: clocks are put right, and services are restarted by others.
            NextTry::At(until) => {
                self.due = now.timer + until.since(now.clock).min(config.check_every);
                until
            }
            // Nobody says when it is over; looking costs little, and is no failed try.
            NextTry::Soon => {
                let pause = SOON.min(config.check_every);
                self.due = now.timer + pause;
                at(now.clock, pause)
            }
            NextTry::Backoff => at(now.clock, self.back_off(failure, name, config, now.timer)),
        }
    }

    /// A try failed, and the next one is put off for longer each time.
    pub(super) fn back_off(
        &mut self,
        failure: &Failure,
        name: &CertificateName,
        config: &Config,
        now: Instant,
    ) -> Duration {
        let pause = self.retries.fail(name, &config.retry, failure.halt, failure.cost);
        self.due = now + pause;
        pause
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::{super::window::Closed, *};

    const HOUR: Duration = Duration::from_secs(60 * 60);

    fn config() -> Config {
        let mut config = Config::shipped(PathBuf::from("/nowhere"));
        config.check_every = Duration::from_secs(60);
        config.retry.initial = Duration::from_secs(10);
        config
    }

    fn now() -> Now {
        Now { clock: Timestamp::from_unix(1_800_000_000), timer: Instant::now() }
    }

    fn name() -> CertificateName {
        "web".parse().expect("a name")
    }

    #[test]
    fn when_a_failed_try_is_made_again_depends_on_what_failed() {
        let (config, now, name) = (config(), now(), name());
        let until = |seconds| now.clock + Duration::from_secs(seconds);
        let window = |seconds| Failure::window("restart".into(), Closed::Until(until(seconds)), &name);
        for (failure, pause, reported, failures) in [
            // A window that opens in hours is looked at at every check, and soon enough when it opens before.
            (window(7200), Duration::from_secs(60), until(7200), 0),
            (window(20), Duration::from_secs(20), until(20), 0),
            // One that is over is no reason to wait.
            (window(0), Duration::ZERO, until(0), 0),
        ] {
            let mut driver = Driver::new(now.timer);
            assert_eq!(driver.failed(&failure, &name, &config, now), reported);
            assert_eq!((driver.due(), driver.failures()), (now.timer + pause, failures));
        }
        let mut driver = Driver::new(now.timer);
        let first = driver.failed(&Failure::no_roots(), &name, &config, now);
        assert!(first >= until(10) && first <= until(13), "{first}: after the first pause, and rounded up");
        assert!(driver.due() >= now.timer + Duration::from_secs(10) && driver.failures() == 1);
        driver.failed(&Failure::no_roots(), &name, &config, now);
        assert!(driver.due() >= now.timer + Duration::from_secs(20) && driver.failures() == 2);
    }

    #[test]
    fn what_somebody_else_brings_is_looked_for_every_few_seconds() {
        let (mut config, now, name) = (config(), now(), name());
        let mut driver = Driver::new(now.timer);
        let mut soon = Failure::no_roots();
        soon.next_try = NextTry::Soon;
        driver.failed(&soon, &name, &config, now);
        assert_eq!((driver.due(), driver.failures()), (now.timer + SOON, 0));
        config.check_every = Duration::from_secs(2);
        driver.failed(&soon, &name, &config, now);
        assert_eq!(driver.due(), now.timer + config.check_every, "no rarer than anything is looked at");
    }

    #[test]
    fn a_success_ends_the_growing_of_pauses() {
        let (config, now, name) = (config(), now(), name());
        let mut driver = Driver::new(now.timer);
        for _ in 0..3 {
            driver.back_off(&Failure::no_roots(), &name, &config, now.timer);
        }
        driver.escalation.failed();
        driver.succeeded(now.timer + HOUR);
        assert_eq!((driver.failures(), driver.due()), (0, now.timer + HOUR));
        assert_ne!(driver.escalation, Escalation::default(), "only what the service shows resets that");
        driver.try_at(now.timer);
        assert_eq!(driver.due(), now.timer);
    }
}
