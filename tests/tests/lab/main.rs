//! Pinion on a Proxmox host with real guests: from nothing to served, and a guest's whole life.
#![allow(clippy::print_stdout, reason = "how long it took, and what the operator sees, are something to know")]

mod bad_host;
mod evicted;
mod failing_channels;
mod small_guests;
mod host_files;
mod killed_while_enrolling;
mod guest_life;
mod real_vm;
mod network;
mod feature_scripts;
mod from_nothing;
mod privileges;
mod pve_cluster;
mod recovery;
mod reload_fails;
mod new_issuer_root;
mod template;
mod token_secrecy;
mod transcript;
mod every_recipe;
mod without_systemd;
mod taken_over;
