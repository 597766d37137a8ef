//! Whole lives of a placement, against a small model of a guest: whatever is lost on the way, and whoever
//! restarts when, nothing is ordered twice and everything arrives in the end.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::planner::backoff::Backoff;

/// What can happen between two plans.
#[derive(Debug, Clone, Copy)]
enum Event {
    Pass(u64),
    LinkBreaks,
    LinkComes,
    /// The plan is carried out, and the guest answers.
    Work,
    /// The plan is carried out, and what the controller sends is lost with the link.
    WorkAndLose,
    IssuerFails,
    Renew,
    NewNames(bool),
    ControllerRestarts,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        1 => (1..3 * DAY).prop_map(Event::Pass),
        1 => (1..90_u64).prop_map(Event::Pass),
        1 => Just(Event::LinkBreaks),
        3 => Just(Event::LinkComes),
        6 => Just(Event::Work),
        1 => Just(Event::WorkAndLose),
        1 => Just(Event::IssuerFails),
        1 => Just(Event::Renew),
        1 => any::<bool>().prop_map(Event::NewNames),
        1 => Just(Event::ControllerRestarts),
    ];
    prop::collection::vec(event, 1..40)
}

/// The guest, the controller's memory, and what has been signed.
struct Run {
    world: World,
    report: PlacementReport,
    linked: bool,
    wide: bool,
    signed: BTreeSet<u64>,
}

const NAMES: [&[&str]; 2] = [&["a.example"], &["a.example", "b.example"]];

impl Run {
    fn names(&self) -> &'static [&'static str] {
        if self.wide { NAMES[1] } else { NAMES[0] }
    }

    fn manifest(&self) -> Manifest {
        web(if self.wide { r#", "sans": ["b.example"], "duration": "3d""# } else { r#", "duration": "3d""# }, "")
    }

    fn guest(&self) -> Guest {
        id("web@101").guest
    }

    fn happen(&mut self, event: Event) {
        let (guest, now) = (self.guest(), self.world.now);
        match event {
            Event::Pass(length) => self.world.pass(length),
            Event::LinkBreaks => {
                self.linked = false;
                self.world.reports.link_down(guest, now);
            }
            Event::LinkComes => {
                self.linked = true;
                self.world.reports.hello(guest, vec![self.report.clone()], now);
            }
            Event::Work => self.work(false),
            Event::WorkAndLose => {
                self.work(true);
                self.happen(Event::LinkBreaks);
            }
            Event::IssuerFails => {
                let trouble = Trouble {
                    halt: Halt::Waiting,
                    attempt: "sign".to_owned(),
                    cause: "down".to_owned(),
                    remedy: String::new(),
                    retry_at: None,
                };
                self.world.reports.attempt_failed(&id("web@101"), trouble, &Backoff::default(), now);
            }
            Event::Renew => drop(self.world.reports.request_renewal(&id("web@101"))),
            Event::NewNames(wide) => self.wide = wide,
            Event::ControllerRestarts => {
                let record = self.world.reports.record(guest, now);
                self.world.reports = Reports::default();
                if let Some(record) = record {
                    self.world.reports.restore(record);
                }
                self.linked = false;
            }
        }
    }

    /// Carries the plan out, as reconciler and guest do.
    fn work(&mut self, lose: bool) {
        let manifest = self.manifest();
        let planned = self.world.one(&manifest);
        let now = self.world.now;
        let Decision::Order(order) = planned.decision else { return };
        assert!(self.linked, "nothing is ordered of a guest that is away");
        assert!(!self.signed.contains(&order.generation), "generation {} is signed twice", order.generation);
        match order.step {
            Step::Ask => {
                assert!(order.generation > self.report.last_generation);
                if !lose {
                    let progress = request(&self.world.key, self.names());
                    self.report = with_incoming(self.report.clone(), order.generation, progress);
                    self.world.report(self.report.clone());
                }
            }
            Step::Sign => {
                let incoming = self.report.incoming.as_ref().expect("the guest has asked");
                assert_eq!(incoming.generation, order.generation);
                self.world.reports.attempt_succeeded(&id("web@101"));
                self.world.reports.delivery_sent(&id("web@101"), order.generation, now);
                if !lose {
                    self.signed.insert(order.generation);
                    let leaf = leaf(&self.world.key, self.names(), now, now + seconds(3 * DAY));
                    self.report = holding("web", order.generation, leaf);
                    self.world.report(self.report.clone());
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn nothing_is_ordered_twice_and_all_arrives(events in events()) {
        let world = World::empty();
        let report = PlacementReport::nothing("web".parse().expect("a name"));
        let mut run = Run { world, report, linked: false, wide: false, signed: BTreeSet::new() };
        for event in events {
            run.happen(event);
            let manifest = run.manifest();
            let plan = run.world.plan(&manifest);
            prop_assert_eq!(&plan, &run.world.plan(&manifest), "the same arguments, the same plan");
            prop_assert!(plan.wake_at.is_none_or(|wake| wake > run.world.now));
            // Until it wakes, only events change it.
            let until = plan.wake_at.map_or(run.world.now + seconds(1_000 * DAY), |wake| wake - seconds(1));
            let later = super::plan(&manifest, &run.world.inventory, &run.world.reports, until);
            prop_assert_eq!(&plan.placements, &later.placements, "at {} and at {}", run.world.now, until);
        }
        // In the end the link is there and stays.
        run.happen(Event::LinkComes);
        for _ in 0..6 {
            let manifest = run.manifest();
            let plan = run.world.plan(&manifest);
            match &plan.placements.first().expect("one").decision {
                Decision::Order(_) => run.work(false),
                Decision::Keep if plan.placements.first().is_some_and(|planned| planned.ordered.is_none()) => break,
                _ => run.world.now = plan.wake_at.expect("it continues by itself"),
            }
        }
        let manifest = run.manifest();
        run.world.keeps(&manifest);
        prop_assert_eq!(run.report.held.as_ref().map(|held| held.leaf.names().iter().len()), Some(run.names().len()));
    }
}
