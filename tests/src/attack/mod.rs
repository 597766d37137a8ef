//! Attacks on the real programs, with the figures that they held: for the suite and for the measurements.
//!
//! Invariant: an attack is bounded in number and time, goes to loopback addresses alone, and ends with its value.

pub mod flood;
pub mod large;
pub mod listener;
mod raw;
