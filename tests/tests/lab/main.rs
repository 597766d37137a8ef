//! Pinion on a Proxmox host with real guests: from nothing to served, and a guest's whole life.
#![allow(clippy::print_stdout, reason = "how long it took, and what the operator sees, are something to know")]

mod bad_host;
mod failing_channels;
mod few;
mod host_files;
mod killed;
mod life;
mod machine;
mod network;
mod nothing;
mod privileges;
mod pve_cluster;
mod reload_fails;
mod roots;
mod template;
mod token;
mod transcript;
mod whole;
mod without_systemd;
