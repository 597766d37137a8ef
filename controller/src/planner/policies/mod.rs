//! The decision for one placement: a list of policies, the first of which that has an answer decides.
//!
//! To learn why a placement is treated as it is, read its list from top to bottom.
//! Invariant: total. After each list comes a policy that always answers.

mod certificate;
mod purge;
mod roots;
mod watched;

use pinion_proto::{clock::Timestamp, content::Content, spec::AdoptionDecision};

use super::{
    Decision, adoption,
    case::{Case, Verdict},
    leaf_case::LeafCase,
};

#[cfg(test)]
pub(super) use certificate::{DELIVERY_PATIENCE, INSTALL_PATIENCE, MISFIT_PATIENCE, REFUSED_PATIENCE};

/// What decides about a placement of a certificate, in this order; then [`certificate::ask_for_request`].
const CERTIFICATE: [fn(&LeafCase<'_, '_>) -> Option<Verdict>; 10] = [
    certificate::keep_what_is_good,
    certificate::let_guest_install,
    certificate::wait_for_guest,
    certificate::wait_until_roots_are_known,
    certificate::adopt_what_is_there,
    certificate::await_delivery,
    certificate::back_off_after_failure,
    certificate::wait_for_new_root,
    certificate::sign_request,
    certificate::pause_after_misfit,
];

/// What decides about a placement of roots, in this order; then [`roots::change`].
const ROOTS: [fn(&Case<'_>) -> Option<Verdict>; 3] =
    [roots::wait_until_known, roots::keep_what_is_in_place, roots::wait_for_guest];

/// What decides about a placement that is only watched, in this order; then nothing is to be done.
const WATCHED: [fn(&Case<'_>) -> Option<Verdict>; 2] = [watched::was_managed, watched::wait_for_guest];

/// What decides about a placement whose files are to be removed, in this order; then [`purge::remove`].
const PURGE: [fn(&Case<'_>) -> Option<Verdict>; 2] = [purge::nothing_is_there, purge::wait_for_guest];

/// What is decided for one placement.
pub(super) struct Decided {
    pub(super) verdict: Verdict,
    /// When what is held is renewed.
    pub(super) renew_at: Option<Timestamp>,
    /// What becomes of a pair that was there before Pinion.
    pub(super) adoption: Option<AdoptionDecision>,
}

impl Decided {
    fn of(verdict: Verdict) -> Self {
        Self { verdict, renew_at: None, adoption: None }
    }
}

/// The decision for one placement.
pub(super) fn decide(case: &Case<'_>) -> Decided {
    if case.placement.purge {
        let decided = PURGE.iter().find_map(|policy| policy(case));
        return Decided::of(decided.unwrap_or_else(|| purge::remove(case)));
    }
    match case.certificate.content_at(case.placement) {
        Content::Leaf(leaf) => {
            let case = LeafCase::new(case, leaf);
            let decided = CERTIFICATE.iter().find_map(|policy| policy(&case));
            let verdict = decided.unwrap_or_else(|| certificate::ask_for_request(&case));
            let adoption = adoption::told(case.case, leaf, &case.standing, &verdict.decision);
            Decided { verdict, renew_at: case.renew_at, adoption }
        }
        Content::Roots => {
            let decided = ROOTS.iter().find_map(|policy| policy(case));
            Decided::of(decided.unwrap_or_else(|| roots::change(case)))
        }
        Content::Watched => {
            let decided = WATCHED.iter().find_map(|policy| policy(case));
            Decided::of(decided.unwrap_or_else(|| Verdict::of(Decision::Keep)))
        }
    }
}
