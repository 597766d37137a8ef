//! As many placements as a big host will ever have.

use super::*;

#[test]
fn of_a_hundred_thousand_exactly_those_that_need_it_are_ordered() {
    const GUESTS: u32 = 1_000;
    const CERTIFICATES: u32 = 100;
    let mut world = World::empty();
    let good = world.held().held.expect("held").leaf;
    let due = world.due().held.expect("held").leaf;
    let certificates: Vec<String> = (0..CERTIFICATES)
        .map(|c| {
            let placements: Vec<_> =
                (0..GUESTS).map(|g| format!(r#"{{"guest": {}, "recipe": "x"}}"#, g + 100)).collect();
            format!(r#"{{"name": "c{c}", "common_name": "a.example", "placements": [{}]}}"#, placements.join(","))
        })
        .collect();
    let manifest = manifest(&format!(r#"{{"version": 1, "certificates": [{}]}}"#, certificates.join(",")));
    // The tenth guests are due, the tenth but one have never been seen, and each guest has one too many.
    for g in 0..GUESTS {
        let guest = Guest::Vmid((g + 100).try_into().expect("a VMID"));
        let leaf = if g % 10 == 0 { &due } else { &good };
        let reports = (0..=CERTIFICATES).map(|c| holding(&format!("c{c}"), 3, leaf.clone())).collect();
        if g % 10 != 1 {
            world.reports.hello(guest, reports, world.now);
        }
    }
    let plan = world.plan(&manifest);
    assert_eq!(plan.placements.len(), 100_000);
    let count = |wanted: fn(&Decision) -> bool| plan.placements.iter().filter(|p| wanted(&p.decision)).count();
    assert_eq!(count(|d| matches!(d, Decision::Order(order) if order.generation == 4)), 10_000);
    assert_eq!(count(|d| matches!(d, Decision::Wait(_))), 10_000);
    assert_eq!(count(|d| matches!(d, Decision::Keep)), 80_000);
    assert_eq!((plan.retired.len(), plan.orders().len()), (900, 10_000));
    let earliest = plan.placements.iter().filter_map(|p| p.renew_at).filter(|at| *at > world.now).min();
    assert_eq!(plan.wake_at, earliest);
}
