//! Proxmox's own files: the only place that knows how they look.
//!
//! Answers: which guests does Proxmox say there are?
//! Invariant: everything here is untrusted bytes with limits; what cannot be understood leaves what was understood
//! last, and is told.

mod conf;
mod observer;
mod read;
mod resources;
mod vmlist;
mod watch;

pub use observer::Observer;
pub use resources::{MOST_RESOURCES, ResourcesError, States};
pub use vmlist::{Entry, VmList, VmListError};
pub use watch::watch;
