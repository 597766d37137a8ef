//! The channel as a whole: client, socket, server and verbs, on a hypervisor of shell scripts.

mod hypervisor;
mod identity;
mod node_identity;
pub(crate) mod root_process;
pub(crate) mod package;
mod callers;
mod guests;
mod verbs;
mod hostile;
