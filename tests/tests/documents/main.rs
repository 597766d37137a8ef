//! The documents: what they promise of the programs is what the programs do.
//!
//! Answers: does each command in them exist, and does `--json` print what docs/reference/schemas says, and is
//! each test there that a claim is founded on?

mod commands;
mod json;
mod named_tests;
mod shown;
