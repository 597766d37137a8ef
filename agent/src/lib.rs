//! The agent: makes keys, installs certificates, reloads services and looks at what they serve.
//!
//! The modules stand in the order that a certificate passes them.

pub mod cli;
pub mod run;
pub mod summary;
pub mod config;
pub mod facts;
pub mod identity;
pub mod link;
pub mod apply;
pub mod recipe;
pub mod verify;
pub mod bundle;
pub mod install;
pub mod keystore;
pub mod reload;
pub mod restarts;
pub mod probe;
mod certificate;
pub mod examine;
pub mod ledger;
pub mod local;
pub mod seal;
