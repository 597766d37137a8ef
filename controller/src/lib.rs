//! The controller: reads the manifest, orders certificates, pushes them to the guests' agents.
//!
//! The modules stand in the order that a certificate passes them.

pub mod admin;
mod allowance;
mod authority;
pub mod channel;
pub mod cli;
pub mod config;
pub mod events;
pub mod identity;
pub mod enroll;
pub mod inventory;
pub mod issuer;
pub mod link;
pub mod manifest;
pub mod planner;
pub mod reconcile;
pub mod reports;
pub mod serve;
pub mod store;
