//! A placement of a certificate, and what follows from its guest's report: what [`super::policies`] decide by.

use pinion_proto::{
    bundle::CertificateRequest,
    clock::Timestamp,
    report::{Held, Incoming, Progress},
};

use super::{adoption::Standing, case::Case, decision::Why, misfit::misfit, renewal};
use crate::{manifest::PlacedLeaf, world::PlacementEntry};

/// A placement of a certificate, and what follows from its guest's report.
pub(super) struct LeafCase<'c, 's> {
    pub(super) case: &'c Case<'s>,
    pub(super) leaf: PlacedLeaf<'s>,
    pub(super) held: Option<&'s Held>,
    /// When what is held is renewed.
    pub(super) renew_at: Option<Timestamp>,
    /// What is known of a pair that was there before Pinion, while nothing is held.
    pub(super) standing: Standing<'s>,
    /// Why a new generation is needed, if one is.
    pub(super) why: Option<Why>,
    /// The generation of the guest's request, where that can be signed as the manifest is now.
    pub(super) requested: Option<u64>,
}

impl<'c, 's> LeafCase<'c, 's> {
    pub(super) fn new(case: &'c Case<'s>, leaf: PlacedLeaf<'s>) -> Self {
        let held = case.held();
        let renew_at = held.map(|held| renewal::renew_at(&case.certificate.name, leaf.policy, case.reach.guest, held));
        let standing = Standing::of(case, leaf);
        let why = held.map_or_else(|| Some(standing.why()), |held| renewal::why(case, leaf, held, renew_at));
        let mut leaf_case = Self { case, leaf, held, renew_at, standing, why, requested: None };
        leaf_case.requested = leaf_case.fitting_request();
        leaf_case
    }

    /// What is on its way, unless it is older than what is held.
    pub(super) fn incoming(&self) -> Option<&'s Incoming> {
        let incoming = self.case.report()?.incoming.as_ref()?;
        self.held.is_none_or(|held| incoming.generation > held.generation).then_some(incoming)
    }

    fn fitting_request(&self) -> Option<u64> {
        let incoming = self.incoming()?;
        let Progress::Requested(der) = &incoming.progress else { return None };
        let fits = |request: &CertificateRequest| misfit(request, self.leaf).is_none();
        let good = match (self.leaf.policy.shared, self.case.entry?.request()) {
            (true, None) => der.is_empty(),
            (false, Some(Ok(request))) => fits(request),
            _ => false,
        };
        good.then_some(incoming.generation)
    }

    /// The generation that the last delivery was of, whether or not it has come.
    pub(super) fn delivered(&self) -> Option<u64> {
        self.case.entry.and_then(PlacementEntry::delivery).map(|delivery| delivery.generation)
    }

    /// The generation that must be exceeded, when a renewal was asked for.
    pub(super) fn renew_above(&self) -> Option<u64> {
        self.case.entry.and_then(PlacementEntry::renew_above)
    }
}
