//! The guests as Proxmox's files tell them, in a directory that stands for `/etc/pve`.

mod alike;
mod destroyed;
mod many;
mod pve;
mod quorum;
mod told;
mod tools;
