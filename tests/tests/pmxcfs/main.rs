//! The lab's `/etc/pve`, mounted by the kernel: is it what Proxmox's is to a program?

mod files;
mod start_stop_kill;
mod cluster_failures;
