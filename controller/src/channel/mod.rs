//! The hypervisor's way into a guest: the small process that is root, and how the controller asks it.
//!
//! Answers: which guests are there, how do the packaged agent and a join token get into one, and nothing else?
//! Invariant: what crosses the socket is one of a few verbs, a VMID and a token for that VMID, or a request of which the
//! key alone is used, or a ticket that Proxmox's own daemon is asked about. No path, no command and
//! no other byte of the caller's reaches a guest or the host's file system.
//!
//! [`protocol`] is what is said, [`client`] says it, [`server`] is `pinion channel`; [`follow`] keeps the controller's
//! inventory as the root process tells it. Behind the server: `guests` looks at Proxmox's files, `verbs` finds the
//! guest's side of a verb, `pct` and `qm` are the two ways in, `tool` runs their programs, `package` holds what may be
//! brought in, `web_access` asks Proxmox who may look at the page.

pub mod protocol;
pub mod listing;
mod secret;
mod failure;
pub mod client;
pub mod follow;
pub mod server;
mod guests;
mod trusted;
mod turns;
mod verbs;
pub(crate) mod identity;
mod look;
mod boot;
mod install;
mod join;
mod reach;
mod remove;
mod replaced;
mod pct;
mod qm;
mod refusal;
mod package;
mod tool;
mod web_access;
pub(crate) use web_access::credential;
mod descendants;

#[cfg(test)]
pub(crate) mod tests;
