//! What must not disturb anything: restarts, absences, files that went bad, changes that change nothing.

mod away;
mod backup;
mod bad_guest;
mod bad_host;
mod bad_password;
mod empty_root;
mod freeze;
mod host;
mod lost;
mod manifest;
mod mounts;
mod nothing;
mod places;
mod purge;
mod renumbered;
mod restarts;
mod rollover;
