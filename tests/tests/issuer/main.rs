//! The issuers, each against another implementation.

mod compromise;
mod embedded;
mod revoke;
mod step_ca;
