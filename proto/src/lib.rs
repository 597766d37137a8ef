//! The contract between the controller and its agents.
//!
//! Answers: what may be said between the two programs, and which values are well-formed.
//! Bytes and strings become the types of this crate once, at the edge; [`wire`] is the only
//! module that touches the generated code, and neither program's logic stands here.

pub mod id;
pub mod hwaddr;
pub mod names;
pub mod key;
pub mod keyboard;
pub mod output;
pub mod printable;
pub mod private_key;
pub mod stage;
pub mod verdict;
pub mod relative;
pub mod table;
pub mod content;
pub mod spec;
pub mod mount;
pub mod file_system;
pub mod containers;
pub mod report;
pub mod timing;
pub mod examination;
pub mod message;
pub mod token;
pub mod bundle;
pub mod alarm;
pub mod clock;
pub mod length;
pub mod tls;
pub mod wire;
pub mod lines;
pub mod listeners;
pub mod peer;
pub mod users;
pub mod exit;
#[cfg(feature = "schema")]
pub mod schema;
pub mod causes;
pub mod text_position;
pub mod lock;
pub mod file_lock;
pub mod backoff;
pub mod spread;
pub mod document;
pub mod process;
pub mod settings;
pub mod field_names;
pub mod trusted;
pub mod daemon;
pub mod failure;
