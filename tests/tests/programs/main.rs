//! The programs as the system around them sees them: the root process, service managers, packages, templates.

mod channel;
mod daemons;
mod next_root;
mod packaging;
mod root_key;
mod seal;
mod systemd;
