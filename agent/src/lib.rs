//! The agent: makes keys, installs certificates, reloads services and looks at what they serve.
//!
//! The modules stand in the order that a certificate passes them.

pub mod apply;
pub mod cli;
pub mod config;
pub mod facts;
pub mod identity;
pub mod install;
pub mod ledger;
pub mod link;
pub mod local;
pub mod probe;
pub mod recipe;
pub mod reload;
pub mod run;
pub mod seal;
pub mod verify;
