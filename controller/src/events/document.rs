//! What the controller remembers, and what it means when that cannot be read.

/// What the controller remembers, each in documents of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Document {
    /// What guests reported.
    Reports,
    /// Which guests Proxmox listed.
    Departures,
    /// Which guests were evicted.
    Evictions,
    /// What is frozen.
    Freezes,
    /// Which guests the manifest's names have meant.
    GuestNames,
    /// What is to be revoked.
    Revocations,
    /// The shared keys.
    SharedKeys,
    /// Certificates on their way to guests.
    Undelivered,
    /// The events.
    Journal,
}

impl Document {
    /// What it means that it cannot be read.
    pub(super) fn unreadable(self) -> &'static str {
        match self {
            Self::Reports => "What a guest reported before is unknown until it links again",
            Self::Departures => "Cannot read which guests there were before",
            Self::Evictions => "Cannot read the list of evicted guests, so Pinion enrols no guest by itself",
            Self::Freezes => "Cannot read the freezes, so nothing is frozen now",
            Self::GuestNames => "Cannot read which guests the names in the manifest meant before",
            Self::Revocations => "Cannot read which certificates to revoke, so they are left to expire",
            Self::SharedKeys => "Cannot list the shared keys",
            Self::Undelivered => "Cannot read an undelivered certificate; it is signed once more if it is needed",
            Self::Journal => "Cannot read earlier events",
        }
    }
}
