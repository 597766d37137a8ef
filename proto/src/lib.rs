//! The contract between the controller and its agents.
//!
//! Answers: what may be said between the two programs, and which values are well-formed.
//! Bytes and strings become the types of this crate once, at the edge; [`wire`] is the only
//! module that touches the generated code, and neither program's logic stands here.

pub mod bundle;
pub mod clock;
pub mod exit;
pub mod id;
pub mod key;
pub mod lines;
pub mod message;
pub mod names;
pub mod report;
pub mod spec;
pub mod stage;
pub mod tls;
pub mod wire;
