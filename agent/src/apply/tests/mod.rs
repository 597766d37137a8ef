//! Placements from order to served, with a real service, real hooks and a CA, in one process.

mod crash;
mod cuts;
mod faults;
mod ground;
pub(super) mod guest;
mod mounts;
mod restarts;
mod service;
mod shares;
mod state;
mod trust;
mod upkeep;
mod whole;
mod works;
