//! Names of the documents in the shared area that have the identity root.

/// The root with its key, or what says where that is kept.
pub(crate) const ROOT_DOCUMENT: &str = "identity-ca";

/// The root without its key, where the root process holds that.
pub(crate) const PUBLIC_ROOT: &str = "identity-root";

/// The name of a root that was given up.
pub(crate) const ROOT_BEFORE: &str = "identity-ca-before";
