//! The agent's command line as scripts use it.
//!
//! Answers: which lines are understood and what do they mean ([`arguments`]), and with which exit code does each command end
//! ([`exit_codes`])?

mod arguments;
mod exit_codes;
