//! What takes long by nature, on the real clock: `cargo xtask drills` runs it, `cargo xtask test` does not.
//!
//! Answers: does what holds for a minute also hold for half an hour? Invariant: the service is asked all the time, and every
//! handshake counts.
#![allow(clippy::print_stdout, reason = "how much was done in the time is something to know")]

mod asked;
mod quorum;
mod soak;
mod starts;

use std::{env, time::Duration};

/// How long a drill lasts: half an hour, or what `PINION_DRILL_MINUTES` says.
fn length() -> Duration {
    let said =
        env::var("PINION_DRILL_MINUTES").ok().map(|text| text.parse().expect("PINION_DRILL_MINUTES is a number"));
    Duration::from_secs(60 * said.unwrap_or(30))
}
