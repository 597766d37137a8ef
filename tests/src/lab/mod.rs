//! A hypervisor in a box: so far, what its guests' configurations say, and the tools that its host has.

pub mod conf;
pub mod tools;
