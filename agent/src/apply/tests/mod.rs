//! Placements from order to served, with a real service, real hooks and a CA, in one process.

mod care;
mod crash;
mod cuts;
mod faults;
mod ground;
mod guest;
mod mounts;
mod restarts;
mod service;
mod shares;
mod state;
mod trust;
mod whole;
mod works;
