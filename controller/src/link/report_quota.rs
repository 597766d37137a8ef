//! How much a guest may have the controller remember.
//!
//! Invariant: what a guest has reported on one link is never more than one hello could say, so a guest that invents
//! placements for ever costs a bounded amount of memory and disk.

use std::collections::HashMap;

use pinion_proto::{
    id::CertificateName,
    message::ToController,
    report::PlacementReport,
    wire::{MAX_MESSAGE, MAX_PLACEMENTS},
};

/// What a guest has reported.
#[derive(Debug, Default)]
pub(super) struct ReportQuota {
    weights: HashMap<CertificateName, usize>,
    total: usize,
}

impl ReportQuota {
    /// What a hello says; it has met the limits of a message.
    pub(super) fn of(reports: &[PlacementReport]) -> Self {
        let mut quota = Self::default();
        for report in reports {
            quota.put(report);
        }
        quota
    }

    /// Counts a message in. The error is why it is too much.
    pub(super) fn take(&mut self, message: &ToController) -> Result<(), String> {
        match message {
            ToController::Report(report) => self.put(report),
            ToController::Purged(purged) => {
                self.total -= self.weights.remove(&purged.certificate).unwrap_or(0);
            }
            // Nothing of it is kept.
            ToController::Examined(_) => {}
            ToController::Hello(_) | ToController::RenewIdentity(_) => {}
        }
        if self.weights.len() > MAX_PLACEMENTS {
            return Err(format!("it reports more than {MAX_PLACEMENTS} placements"));
        }
        if self.total > 2 * MAX_MESSAGE {
            return Err(format!("its reports are larger than {} bytes together", 2 * MAX_MESSAGE));
        }
        Ok(())
    }

    fn put(&mut self, report: &PlacementReport) {
        let weight = report.weight();
        self.total += weight;
        self.total -= self.weights.insert(report.certificate.clone(), weight).unwrap_or(0);
    }
}

#[cfg(test)]
mod tests {
    use pinion_proto::message::Purged;

    use super::*;

    fn report(name: &str) -> ToController {
        ToController::Report(Box::new(PlacementReport::nothing(name.parse().expect("a name"))))
    }

    #[test]
    fn a_guest_that_invents_placements_is_stopped_and_one_that_repeats_itself_is_not() {
        let mut quota = ReportQuota::default();
        for _ in 0..3 * MAX_PLACEMENTS {
            quota.take(&report("same")).expect("one placement");
        }
        for n in 1..MAX_PLACEMENTS {
            quota.take(&report(&format!("c{n}"))).expect("as many as a guest may have");
        }
        quota.take(&report("more")).expect_err("one too many");
        quota.take(&ToController::Purged(Purged::all("more".parse().expect("a name")))).expect("one fewer");
        quota.take(&report("same")).expect("within the limit again");
    }

    #[test]
    fn large_reports_are_counted_by_their_size() {
        let mut quota = ReportQuota::default();
        let path = format!("/{}", ["x".repeat(250), "y".repeat(250)].join("/"));
        let large = |n: usize| {
            let mut report = PlacementReport::nothing(format!("c{n}").parse().expect("a name"));
            report.left_behind = vec![path.parse().expect("a path"); 100];
            ToController::Report(Box::new(report))
        };
        let refused = (0..MAX_PLACEMENTS).position(|n| quota.take(&large(n)).is_err());
        assert!(refused.is_some_and(|n| n > 100), "{refused:?}");
    }

    #[test]
    fn what_a_hello_says_is_counted_and_what_is_purged_makes_room() {
        let reports: Vec<_> =
            (0..MAX_PLACEMENTS).map(|n| PlacementReport::nothing(format!("c{n}").parse().expect("a name"))).collect();
        let mut quota = ReportQuota::of(&reports);
        let purged = |name: &str| ToController::Purged(Purged::all(name.parse().expect("a name")));
        quota.take(&report("more")).expect_err("one too many");
        quota.take(&purged("c0")).expect("one fewer");
        quota.take(&purged("nobody-knows-it")).expect("nothing to remove");
        quota.take(&report("c0")).expect_err("`more` took its place");
        for n in 0..MAX_PLACEMENTS {
            drop(quota.take(&purged(&format!("c{n}"))));
        }
        quota.take(&purged("more")).expect("the last one");
        assert_eq!((quota.total, quota.weights.len()), (0, 0), "and nothing is left");
    }

    #[test]
    fn reports_may_weigh_twice_the_largest_message_and_no_more() {
        let mut quota = ReportQuota { total: 2 * MAX_MESSAGE - 1, ..ReportQuota::default() };
        quota.take(&ToController::RenewIdentity(vec![0; 10])).expect("a request is no report");
        let weight = PlacementReport::nothing("one".parse().expect("a name")).weight();
        quota.total = 2 * MAX_MESSAGE - weight;
        quota.take(&report("one")).expect("exactly as much as there may be");
        quota.take(&report("one")).expect("the same again weighs nothing");
        let why = quota.take(&report("two")).expect_err("more");
        assert!(why.contains(&(2 * MAX_MESSAGE).to_string()), "{why}");
    }
}
