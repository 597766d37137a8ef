//! What is this host's own, and what would the nodes of a cluster share?
//!
//! | shared | local |
//! |---|---|
//! | the roots with their keys, and the trust domain | which root was last seen, the authority of this node |
//! | which guest has which identity, and who must join again | what guests reported, and which guests were listed |
//! | join tokens, as hashes | what is signed and not yet delivered, what is to be revoked |
//! | keys of `shared` certificates, the roots of step-ca | freezes, the last good manifest, events |
//! | a copy of the evictions | evictions |
//!
//! Invariant: what must be the same on every node is in the shared area, and nothing else is; it keeps to what pmxcfs can do.

/// Which directory a document lives in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Area {
    /// This host's own: reports, events. Up to 16 MiB a document.
    Local,
    /// What a cluster's nodes share, perhaps on pmxcfs: authorities, guests' identities. Up to 1 MiB a document.
    Shared,
}

impl Area {
    /// How large a document may be (bytes).
    pub(super) fn max(self) -> usize {
        match self {
            Self::Local => MAX_LOCAL,
            Self::Shared => MAX_SHARED,
        }
    }
}

/// The most that pmxcfs takes (bytes); more in a document means that it should be several.
pub(super) const MAX_SHARED: usize = 1024 * 1024;

/// Reports of thousands of guests fit; a file that was filled by mistake does not take the memory (bytes).
const MAX_LOCAL: usize = 16 * 1024 * 1024;

/// The form of documents that this program writes and reads.
pub(super) const VERSION: u32 = 1;

/// The end of a document's file name.
pub(super) const SUFFIX: &str = ".json";
