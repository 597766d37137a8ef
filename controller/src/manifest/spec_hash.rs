//! What a certificate must be, as one small value.
//!
//! Of 100,000 placements nearly all are as they should be; comparing their names one by one is what a plan
//! would spend its time on.

use pinion_proto::{
    bundle::Fingerprint,
    key::KeyAlgorithm,
    names::{SubjectName, SubjectNames},
    spec::PlainName,
};

/// The SHA-256 of common name, names, key algorithm and issuer: two are equal exactly when these are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpecHash(Fingerprint);

impl SpecHash {
    /// The spec_hash of a certificate.
    #[must_use]
    pub fn of(common_name: &SubjectName, names: &SubjectNames, algorithm: KeyAlgorithm, issuer: &PlainName) -> Self {
        use std::fmt::Write;
        let mut text = format!("{algorithm}\n{issuer}\n{common_name}\n");
        for name in names.iter() {
            // None of the four can contain a line break. Writing to a string does not fail.
            writeln!(text, "{name}").expect("a string grows");
        }
        Self(Fingerprint::of(text.as_bytes()))
    }
}
