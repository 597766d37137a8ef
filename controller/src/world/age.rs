//! How old a guest's state is, as it says itself, and what shows that it was taken back to an earlier one.
//!
//! Invariant: numbers are compared within the life of one identity only. A guest that was given another one has been
//! seen since, and whoever was rolled back shows an identity of before.

use std::fmt;

use pinion_proto::{id::CertificateName, message::Hello};
use serde::{Deserialize, Serialize};

/// What a hello says of its guest's age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Age {
    /// Its how-manieth identity the guest shows.
    pub identity: u64,
    /// How many links it has begun; 0 when it cannot tell.
    pub links: u64,
}

/// What shows that a guest was taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Setback {
    /// It begins a link that it had begun before.
    Links {
        /// Its number.
        said: u64,
        /// The highest that was known.
        known: u64,
    },
    /// It knows of fewer generations of a placement than it did.
    Generation {
        /// Whose.
        certificate: CertificateName,
        /// The highest that it knows.
        said: u64,
        /// The highest that it knew.
        known: u64,
    },
}

impl fmt::Display for Setback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Links { said, known } => write!(f, "it begins its link number {said}, and {known} was known"),
            Self::Generation { certificate, said, known } => {
                write!(f, "it knows generation {said} of {certificate}, and had {known} before")
            }
        }
    }
}

impl Age {
    /// How old a guest is that has just linked, and was so old `before`.
    pub(super) fn after(before: Option<Self>, hello: &Hello) -> Self {
        let before = before.filter(|age| age.identity == hello.identity_generation);
        // An agent that cannot count this time, or does not know how, has begun no fewer links than before.
        let links = hello.link_count.max(before.map_or(0, |age| age.links));
        Self { identity: hello.identity_generation, links }
    }

    /// What in a hello shows that a guest of this age was taken back to an earlier state; `generation` is the last one of
    /// a placement that it is known to have reported. A placement that it does not know at all is no such sign: its
    /// record may have been damaged, or purged.
    pub(super) fn setback(
        self,
        hello: &Hello,
        generation: impl Fn(&CertificateName) -> Option<u64>,
    ) -> Option<Setback> {
        if self.identity != hello.identity_generation {
            return None;
        }
        if hello.link_count != 0 && hello.link_count <= self.links {
            return Some(Setback::Links { said: hello.link_count, known: self.links });
        }
        hello.reports.iter().find_map(|report| {
            let known = generation(&report.certificate)?;
            let said = report.last_generation;
            (said != 0 && said < known).then(|| Setback::Generation {
                certificate: report.certificate.clone(),
                said,
                known,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use pinion_proto::{clock::Timestamp, id::Guest, report::PlacementReport};

    use super::*;
    use crate::world::{Reports, guest_entry::MAX_REMEMBERED};

    fn hello(identity_generation: u64, link_count: u64, web: Option<u64>) -> Hello {
        let report = web.map(|last_generation| PlacementReport {
            last_generation,
            ..PlacementReport::nothing("web".parse().expect("a name"))
        });
        Hello {
            facts: Default::default(),
            identity_generation,
            link_count,
            reports: report.into_iter().collect(),
            roots: Vec::new(),
        }
    }

    #[test]
    fn whoever_joins_anew_counts_anew_whatever_the_number_of_its_identity() {
        let mut reports = after(&[hello(2, 7, None)]);
        assert!(reports.setback(guest(), &hello(2, 1, None)).is_some());
        reports.forget_age(guest());
        assert_eq!(reports.setback(guest(), &hello(2, 1, None)), None);
        reports.note_age(guest(), &hello(2, 1, None));
        assert!(reports.setback(guest(), &hello(2, 1, None)).is_some(), "and from then on as ever");
    }

    fn after(hellos: &[Hello]) -> Reports {
        let mut reports = Reports::default();
        for hello in hellos {
            reports.note_age(guest(), hello);
            reports.hello(guest(), hello.reports.clone(), Timestamp::from_unix(0));
        }
        reports
    }

    fn guest() -> Guest {
        "101".parse().expect("a guest")
    }

    #[test]
    fn a_number_that_was_said_before_is_a_setback_and_a_higher_one_is_not() {
        let reports = after(&[hello(1, 4, None), hello(1, 5, None)]);
        for said in [1, 4, 5] {
            let setback = reports.setback(guest(), &hello(1, said, None));
            assert_eq!(setback, Some(Setback::Links { said, known: 5 }));
        }
        assert_eq!(reports.setback(guest(), &hello(1, 6, None)), None);
        assert_eq!(reports.setback(guest(), &hello(1, 0, None)), None, "it cannot tell");
        assert_eq!(reports.setback(guest(), &hello(2, 1, None)), None, "it joined anew");
        assert_eq!(Reports::default().setback(guest(), &hello(1, 1, None)), None, "nothing was known");
    }

    #[test]
    fn fewer_generations_are_a_setback_and_a_lost_record_is_not() {
        let reports = after(&[hello(1, 4, Some(3))]);
        assert!(matches!(
            reports.setback(guest(), &hello(1, 5, Some(2))),
            Some(Setback::Generation { said: 2, known: 3, .. })
        ));
        for later in [Some(3), Some(9), Some(0), None] {
            assert_eq!(reports.setback(guest(), &hello(1, 5, later)), None, "{later:?}");
        }
    }

    #[test]
    fn an_agent_that_cannot_count_does_not_make_the_guest_younger() {
        let reports = after(&[hello(1, 4, None), hello(1, 0, None)]);
        assert!(reports.setback(guest(), &hello(1, 4, None)).is_some());
        assert_eq!(reports.setback(guest(), &hello(1, 5, None)), None);
    }

    #[test]
    fn the_highest_generation_outlives_the_guests_own_memory_of_it() {
        let mut reports = after(&[hello(1, 1, Some(7)), hello(2, 1, None)]);
        let id = "web@101".parse().expect("a placement");
        assert_eq!(reports.placement(&id).expect("remembered").highest(), 7);
        let record = reports.record(guest(), Timestamp::from_unix(0)).expect("a record");
        let mut restored = Reports::default();
        restored.restore(record);
        assert_eq!(restored.placement(&id).expect("remembered").highest(), 7);
        reports.purged(guest(), &id.certificate);
        assert_eq!(reports.placement(&id).expect("remembered").highest(), 7);
    }

    #[test]
    fn invented_placements_are_remembered_up_to_a_limit() {
        let mut reports = Reports::default();
        for number in 0..5000 {
            let mut report = PlacementReport::nothing(format!("web-{number}").parse().expect("a name"));
            report.last_generation = 1;
            let name = report.certificate.clone();
            reports.report(guest(), report, Timestamp::from_unix(0));
            reports.purged(guest(), &name);
        }
        assert!(reports.guest(guest()).expect("known").placements().len() <= MAX_REMEMBERED);
    }
}
