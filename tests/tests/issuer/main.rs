//! The issuers, each against another implementation.

mod embedded;
mod step_ca;
