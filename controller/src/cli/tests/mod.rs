//! The controller's command line as operators and scripts use it.
//!
//! Answers: which lines are understood and what do they mean ([`arguments`]), with which exit code does each command end
//! ([`exit_codes`]), and what does it show ([`shown`])?

mod arguments;
mod exit_codes;
mod shown;
