//! The guests as Proxmox's files tell them, in a directory that stands for `/etc/pve`.

mod unknown_names;
mod restored_copy;
mod destroyed;
mod two_hundred_guests;
mod proxmox_files;
mod quorum;
mod renamed;
mod guest_changes;
mod root_process;
