//! The harness: real programs as child processes, in directories of their own, on loopback ports.
//!
//! Answers: how does a test, the demo or a measurement get a controller, guests and services to
//! work on? Invariant: what a value here started ends when the value is dropped, by process id,
//! and everything it wrote is in a temporary directory that goes with it.
//!
//! Begin with [`host::Host`] and [`guest::Guest`]; [`nginx`], [`traefik`], [`docker`] and [`tls_server`] are their services,
//! [`ca`] is who signs, [`look`], [`pair`] and [`openssl`] judge from outside.

pub mod account;
pub mod attack;
pub mod ca;
pub mod clock;
pub mod damage;
pub mod docker;
pub mod guest;
pub mod host;
pub mod interrupt;
pub mod journal;
pub mod lab;
pub mod look;
pub mod memory;
pub mod nginx;
pub mod openssl;
pub mod outage;
pub mod pair;
pub mod port;
pub mod postfix;
pub mod postgresql;
pub mod process;
pub mod program;
pub mod prometheus;
pub mod pvedaemon;
pub mod receiver;
pub mod regression;
pub mod site;
pub mod status;
pub mod steps;
pub mod terminal;
pub mod tls_server;
pub mod traces;
pub mod traefik;
pub mod unit;
pub mod wait;
