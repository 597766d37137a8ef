//! What is known, as the command line shows it.
//!
//! Invariant: what is answered from a plan is answered from the one that the loop acts on, so that what a person is
//! shown is what is done.

mod ensure;
mod health;
mod identity_root;
mod placement;
mod plan;
mod show;
mod status;
mod unknown;
mod view;

pub(super) use health::{Health, expires};
pub(super) use plan::plan;
pub(super) use show::show;
pub(super) use status::{host_troubles, status};
pub(super) use view::View;

#[cfg(test)]
mod tests;
