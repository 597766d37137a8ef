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

/// Looks until `look` gives a value, at most `longest`. Its error is the state that it saw instead.
///
/// # Errors
/// The deadline passes, or the process is interrupted.
pub fn until<T, S: Display>(what: &str, longest: Duration, mut look: impl FnMut() -> Result<T, S>) -> Result<T> {
    let start = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        // Looking once more after the deadline is fair to a machine that slept through it.
        let late = start.elapsed() >= longest;
        let seen = match look() {
            Ok(value) => return Ok(value),
            Err(seen) => seen,
        };
        if interrupt::requested() {
            bail!("interrupted while waiting for {what}; last seen: {seen}");
        }
        if late {
            bail!("waited {longest:?} for {what}; last seen: {seen}");
        }
        thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// As [`until`], for async tests.
///
/// # Errors
/// As [`until`].
pub async fn until_async<T, S: Display, F>(what: &str, longest: Duration, mut look: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T, S>>,
{
    let start = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        let late = start.elapsed() >= longest;
        let seen = match look().await {
            Ok(value) => return Ok(value),
            Err(seen) => seen,
        };
        if interrupt::requested() {
            bail!("interrupted while waiting for {what}; last seen: {seen}");
        }
        if late {
            bail!("waited {longest:?} for {what}; last seen: {seen}");
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Most states come within milliseconds.
const FIRST_PAUSE: Duration = Duration::from_millis(5);

/// Short enough that a wait never adds much to a test, long enough to leave the processor alone.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

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
