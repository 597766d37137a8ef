//! What must not disturb anything: restarts, absences, files that went bad, changes that change nothing.

mod absent_daemons;
mod backup;
mod bad_guest;
mod bad_host;
mod bad_password;
mod empty_root;
mod freeze;
mod host_placements;
mod lost_state;
mod manifest_changes;
mod unmounted_share;
mod nothing_to_do;
mod many_placements;
mod purge;
mod new_host_address;
mod restarts;
mod new_identity_root;
mod wire;
