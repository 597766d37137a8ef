//! The first configuration of a host: what `pinion setup` finds out, writes and starts.
//!
//! Answers: at which addresses do guests reach this host, what belongs into the files, and does the controller run with them?
//! Invariant: a file that is there is never replaced, not even by one with the same content, and a new one has its name only
//! when it is complete. So every step can be repeated, and all of them together.

pub mod addresses;
pub mod example;
pub mod files;
pub mod services;
pub mod wanted;

pub use wanted::{Signer, Wanted};
