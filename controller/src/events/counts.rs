//! What the events add up to, placement by placement, for whoever measures.
//!
//! Invariant: a guest that invents names of certificates makes neither what is counted nor what is recalled longer than
//! [`MAX_PLACEMENTS`].

use std::collections::BTreeMap;

use pinion_proto::{
    clock::Timestamp,
    id::{CertificateName, Guest},
    stage::Stage,
};

use super::{Event, Kind};

/// More placements than any installation has; others are not counted.
const MAX_PLACEMENTS: usize = 200_000;

/// What happened to each placement since the controller started, and when it last got somewhere.
#[derive(Debug, Clone, Default)]
pub struct EventCounts(BTreeMap<(CertificateName, Guest), PlacementCounts>);

/// What happened to one placement.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PlacementCounts {
    /// How often no certificate was signed for it.
    pub signing: u64,
    /// How often its guest's request was not what was ordered.
    pub request: u64,
    /// How often something in its guest held it up.
    pub guest: u64,
    /// When it last was reloaded.
    reloaded: Option<Timestamp>,
    /// When it last was served.
    served: Option<Timestamp>,
}

impl PlacementCounts {
    /// When it last reached its goal.
    #[must_use]
    pub const fn reached(&self, goal: Stage) -> Option<Timestamp> {
        match goal {
            Stage::Served => self.served,
            _ => self.reloaded,
        }
    }

    const fn reach(&mut self, event: &Event) {
        match event.stage {
            Some(Stage::Served) => self.served = Some(event.at),
            Some(Stage::Reloaded) => self.reloaded = Some(event.at),
            _ => {}
        }
    }
}

impl EventCounts {
    /// Of a placement.
    #[must_use]
    pub fn of(&self, certificate: &CertificateName, guest: Guest) -> PlacementCounts {
        self.0.get(&(certificate.clone(), guest)).copied().unwrap_or_default()
    }

    /// Counts an event, and takes in when a placement got somewhere.
    pub(super) fn note(&mut self, event: &Event) {
        let Some(counts) = self.entry(event) else { return };
        match event.kind {
            Kind::Failed => counts.signing += 1,
            Kind::Refused => counts.request += 1,
            Kind::Trouble => counts.guest += 1,
            _ => {}
        }
        counts.reach(event);
    }

    /// Takes in when a placement got somewhere before the controller started, which it has not counted.
    pub(super) fn recall(&mut self, event: &Event) {
        if let Some(counts) = self.entry(event) {
            counts.reach(event);
        }
    }

    /// These, and what was counted since.
    #[must_use]
    pub(super) fn and(mut self, since: &Self) -> Self {
        for (id, later) in &since.0 {
            let counts = self.0.entry(id.clone()).or_default();
            let (reloaded, served) = (later.reloaded.or(counts.reloaded), later.served.or(counts.served));
            *counts = PlacementCounts { reloaded, served, ..*later };
        }
        self
    }

    fn entry(&mut self, event: &Event) -> Option<&mut PlacementCounts> {
        let id = (event.certificate.clone()?, event.guest?);
        (self.0.len() < MAX_PLACEMENTS || self.0.contains_key(&id)).then(|| self.0.entry(id).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{Events, PlacementEvent, What};

    fn event(stage: Stage, back: bool, at: i64) -> Event {
        let event = PlacementEvent::Stage { stage, back, generation: 3, serial: "0A".into() };
        What::Placement("web@101".parse().expect("an id"), event).at(Timestamp::from_unix(at))
    }

    #[test]
    fn a_placement_succeeds_when_it_reaches_its_goal_and_not_when_it_goes_back() {
        let mut counts = EventCounts::default();
        for (stage, back, at) in [(Stage::Reloaded, false, 10), (Stage::Served, false, 11), (Stage::Served, true, 20)] {
            counts.recall(&event(stage, back, at));
        }
        let web = counts.of(&"web".parse().expect("a name"), "101".parse().expect("a guest"));
        assert_eq!(web.reached(Stage::Served), Some(Timestamp::from_unix(11)));
        assert_eq!(web.reached(Stage::Reloaded), Some(Timestamp::from_unix(10)));
        assert_eq!((web.signing, web.request, web.guest), (0, 0, 0));
    }

    #[test]
    fn what_happened_before_the_start_is_known_and_not_counted() {
        let directory = tempfile::tempdir().expect("a directory");
        let web = "web@101".parse::<pinion_proto::id::PlacementId>().expect("an id");
        let refused = || {
            let why = PlacementEvent::RequestRefused { generation: 3, why: "no".into() };
            What::Placement(web.clone(), why).at(Timestamp::from_unix(9))
        };
        let first = Events::open(directory.path());
        first.record(event(Stage::Served, false, 10));
        first.record(refused());
        drop(first);
        let second = Events::open(directory.path());
        second.record(refused());
        let counts = |events: &Events| events.counts().of(&web.certificate, web.guest);
        assert_eq!(
            (counts(&second).reached(Stage::Served), counts(&second).request),
            (Some(Timestamp::from_unix(10)), 1)
        );
        second.record(event(Stage::Served, false, 12));
        assert_eq!(counts(&second).reached(Stage::Served), Some(Timestamp::from_unix(12)), "what comes later counts");
    }

    #[test]
    fn invented_names_do_not_fill_the_memory() {
        let mut counts = EventCounts::default();
        for number in 0..=MAX_PLACEMENTS {
            let mut event = event(Stage::Served, false, 1);
            event.certificate = Some(format!("c{number}").parse().expect("a name"));
            counts.note(&event);
        }
        assert_eq!(counts.0.len(), MAX_PLACEMENTS);
    }
}
