//! The issuers, each against another implementation.

mod embedded;
mod revoke;
mod step_ca;
