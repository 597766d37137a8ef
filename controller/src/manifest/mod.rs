//! The manifest: the operator's file, read once into checked types.
//!
//! Answers: what should exist, and what exactly is wrong with this file?
//! Invariant: a [`Manifest`] that exists is whole and consistent in itself; everything wrong with one
//! that is not is reported at once, each with its place.

mod certificate;
mod common;
mod defaults;
mod docker;
mod document;
mod entries;
mod errors;
pub mod file;
mod fields;
mod guest_ref;
pub mod import;
mod spec_hash;
mod last_good;
mod length;
mod node;
mod overrides;
mod root;
mod schema;
mod services;
mod shipped_recipes;
pub mod source;
mod texts;
mod trust;
mod uniqueness;
mod watch;
pub mod window;

pub use certificate::{Certificate, LeafPolicy, OwnNames, PlacedLeaf, Placement};
pub use defaults::{DEFAULT_DURATION, DEFAULT_ISSUER, Defaults};
pub use document::VERSION;
pub(crate) use errors::first_problem;
pub use errors::{ManifestErrors, Problem};
pub use guest_ref::{GuestName, GuestNameError, GuestRef};
pub use root::Manifest;
pub use schema::schema;
pub(crate) use shipped_recipes::SHIPPED_RECIPES;
pub use spec_hash::SpecHash;
pub use texts::Document;

#[cfg(test)]
mod tests;
