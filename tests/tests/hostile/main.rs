//! Everyone who means ill, at the real port and at a real agent: strangers, broken guests, a broken controller.
//!
//! Each is refused, learns nothing, is told to the operator, and harms nobody else.

mod allow_list;
mod attacks;
mod bytes;
mod fake;
mod flood;
mod guests;
mod identities;
mod large;
mod lies;
mod rogue;
mod tokens;
mod words;
