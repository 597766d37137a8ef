//! Where the time of a renewal went in its guest: for people, by which nothing is decided.

/// How long each step of a renewal took in its guest, in milliseconds: for people, by which nothing is decided.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GuestTiming {
    /// The renewal's generation.
    pub generation: u64,
    /// Making key and request.
    pub key: u32,
    /// Waiting while the service was busy with another placement.
    pub turn: u32,
    /// Looking at the service before its files changed.
    pub look: u32,
    /// Putting the files in place.
    pub write: u32,
    /// Checking them with the service's own command.
    pub check: u32,
    /// Waiting for certificates of other placements, so that the service is reloaded once.
    pub gather: u32,
    /// Reloading the service.
    pub reload: u32,
    /// Looking at the service until it served the certificate.
    pub probe: u32,
}
