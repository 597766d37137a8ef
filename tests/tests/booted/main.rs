//! The shipped units on a host that boots a real systemd: boots, restarts, and `/etc/pve` coming and going beside them.

mod alarms;
mod boots;
mod host_agent;
mod journal;
mod pve_cluster;
mod proxmox_login;
mod recovery;
mod set_up;
mod slow_starts;
mod sockets;
mod textfile;
