//! When a certificate is renewed.
//!
//! At two thirds of its real life, which is the CA's decision and not the manifest's; less a jitter of up to
//! a twentieth of the life, which is a function of the placement's name, so that two plans agree and those
//! that were issued together are not renewed together. `renew_before` overrides both.

use std::time::Duration;

use pinion_proto::{
    bundle::Leaf,
    clock::Timestamp,
    id::{CertificateName, Guest},
    spread,
};

use crate::manifest::LeafPolicy;

/// When what a placement holds is renewed.
#[must_use]
pub fn renew_at(certificate: &CertificateName, policy: &LeafPolicy, guest: Guest, held: &Leaf) -> Timestamp {
    let life = Validity::of(held);
    match policy.renew_before {
        Some(before) => life.end - life.scaled(before, policy.duration),
        None => life.begin + (life.two_thirds() - life.jitter(certificate, guest)),
    }
}

/// A number from 0 to `most`, both included, that is a function of the placement's name.
#[must_use]
pub fn spread(certificate: &CertificateName, guest: Guest, most: u64) -> u64 {
    let guest = match guest {
        Guest::Host => 0,
        Guest::Vmid(vmid) => vmid.number(),
    };
    spread::number(certificate.as_str().bytes().chain(*b"@").chain(guest.to_le_bytes()), most)
}

struct Validity {
    begin: Timestamp,
    end: Timestamp,
}

impl Validity {
    fn of(leaf: &Leaf) -> Self {
        Self { begin: leaf.not_before(), end: leaf.not_after() }
    }

    fn length(&self) -> Duration {
        self.end.since(self.begin)
    }

    fn two_thirds(&self) -> Duration {
        Duration::from_secs(self.length().as_secs() / 3 * 2)
    }

    fn jitter(&self, certificate: &CertificateName, guest: Guest) -> Duration {
        Duration::from_secs(spread(certificate, guest, self.length().as_secs() / 20))
    }

    /// `before` as it was meant for a life of `duration`: as it is, or in proportion when the CA gave less, so
    /// that "10 of 30 days" becomes "8 of 24 hours" and not a renewal at each look.
    fn scaled(&self, before: Duration, duration: Duration) -> Duration {
        let life = self.length();
        if life >= duration || duration.is_zero() {
            return before;
        }
        let seconds = u128::from(before.as_secs()) * u128::from(life.as_secs()) / u128::from(duration.as_secs());
        Duration::from_secs(u64::try_from(seconds).unwrap_or(u64::MAX))
    }
}
