//! The controller's socket as its callers use it.
//!
//! Answers: what may be asked, by whom and in which words ([`protocol`]), and what comes back ([`socket`])?

mod protocol;
mod socket;
