//! File systems that fail on purpose, for tests of this folder and of whatever writes through it; and tests of the whole
//! folder on arbitrary trees.
//!
//! Answers: what of the files is left when the power goes or an operation fails ([`failing`]), when the disk forgets what
//! was not synced ([`forgetful`]), when a directory is unmounted ([`mounting`]), and when another process exchanges two
//! names ([`racing`]), each at any operation?
//! Invariant: none of this is in a product.

pub(crate) mod failing;
pub(crate) mod forgetful;
pub(crate) mod mounting;
pub(crate) mod racing;
mod trees;
