//! Waiting on a state with a deadline; nothing in the harness sleeps and hopes.
//!
//! Invariant: a wait ends with the state, or with an error that says what was waited for, how long,
//! and what was seen last.

use std::{
    fmt::Display,
    future::Future,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

use crate::interrupt;

/// Long enough for a loaded machine with one core; a test that works needs a fraction of it.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Looks until `look` gives a value, at most `max`. Its error is the state that it saw instead.
///
/// # Errors
/// The deadline passes, or the process is interrupted.
pub fn until<T, S: Display>(what: &str, max: Duration, mut look: impl FnMut() -> Result<T, S>) -> Result<T> {
    let mut patience = Patience::new(what, max);
    loop {
        let late = patience.is_over();
        let seen = match look() {
            Ok(value) => return Ok(value),
            Err(seen) => seen,
        };
        thread::sleep(patience.pause(late, &seen)?);
    }
}

/// As [`until`], for async tests.
///
/// # Errors
/// As [`until`].
pub async fn until_async<T, S: Display, F>(what: &str, max: Duration, mut look: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T, S>>,
{
    let mut patience = Patience::new(what, max);
    loop {
        let late = patience.is_over();
        let seen = match look().await {
            Ok(value) => return Ok(value),
            Err(seen) => seen,
        };
        tokio::time::sleep(patience.pause(late, &seen)?).await;
    }
}

/// How long is waited, and how often looked.
struct Patience<'w> {
    what: &'w str,
    max: Duration,
    start: Instant,
    pause: Duration,
}

impl<'w> Patience<'w> {
    fn new(what: &'w str, max: Duration) -> Self {
        Self { what, max, start: Instant::now(), pause: FIRST_PAUSE }
    }

    /// Asked before each look: looking once more after the deadline is fair to a machine that slept through it.
    fn is_over(&self) -> bool {
        self.start.elapsed() >= self.max
    }

    /// How long to pause before the next look.
    fn pause(&mut self, late: bool, seen: &impl Display) -> Result<Duration> {
        let Self { what, max, .. } = self;
        if interrupt::requested() {
            bail!("interrupted while waiting for {what}; last seen: {seen}");
        }
        if late {
            bail!("waited {max:?} for {what}; last seen: {seen}");
        }
        let pause = self.pause;
        self.pause = (pause * 2).min(MAX_PAUSE);
        Ok(pause)
    }
}

/// Most states come within milliseconds.
const FIRST_PAUSE: Duration = Duration::from_millis(5);

/// Short enough that a wait never adds much to a test, long enough to leave the processor alone.
const MAX_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_with_the_state() {
        let mut looks = 0;
        let value = until("the third look", PATIENCE, || {
            looks += 1;
            if looks == 3 { Ok(looks) } else { Err(format!("look {looks}")) }
        });
        assert_eq!(value.expect("the state comes"), 3);
    }

    #[test]
    fn a_wait_that_fails_says_what_for_and_what_it_saw() {
        let error = until::<(), _>("rain", Duration::ZERO, || Err("a clear sky")).expect_err("no rain");
        assert_eq!(error.to_string(), "waited 0ns for rain; last seen: a clear sky");
    }
}
