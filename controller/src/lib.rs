//! The controller: reads the manifest, orders certificates, pushes them to the guests' agents.
//!
//! The modules stand in the order that a certificate passes them.

pub mod cli;
pub mod serve;
pub mod setup;
pub mod config;
pub mod settings;
pub mod manifest;
pub mod metrics;
pub mod web;
pub mod inventory;
pub mod planner;
pub mod reconcile;
pub mod issuer;
mod authority;
pub mod identity;
pub mod enroll;
pub mod channel;
pub mod link;
mod digest;
mod rate_limit;
mod source;
pub mod world;
mod caller;
pub mod freeze;
pub mod notify;
pub mod events;
pub mod store;
mod owner;
mod system_program;
pub mod backup;
pub mod admin;
mod doctor;
mod support;
#[cfg(test)]
mod test_clock;
