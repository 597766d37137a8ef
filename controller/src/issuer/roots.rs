//! The roots that an issuer's certificates end at.

use pinion_proto::bundle::{Fingerprint, RootCertificate};

/// The roots that an issuer's certificates end at, as it tells them itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerRoots {
    /// Those that it has now.
    pub current: Vec<RootCertificate>,
    /// Those that it had: some certificate may still end at them.
    pub former: Vec<RootCertificate>,
    /// The one that its next certificate ends at.
    pub signing: Fingerprint,
}

impl IssuerRoots {
    /// Every one, those that it has now first.
    pub fn all(&self) -> impl Iterator<Item = &RootCertificate> {
        self.current.iter().chain(&self.former)
    }

    /// Whether it has this one now.
    #[must_use]
    pub fn is_current(&self, root: Fingerprint) -> bool {
        self.current.iter().any(|current| current.fingerprint() == root)
    }
}
