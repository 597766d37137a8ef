//! A guest that was taken back to an earlier state.

use super::*;

#[test]
fn what_is_older_than_what_was_in_place_is_replaced_and_no_generation_comes_twice() {
    let mut world = World::healthy();
    let manifest = web("", "");
    let newer = holding("web", 5, leaf(&world.key, &["a.example"], world.now, world.now + seconds(30 * DAY)));
    world.report(newer);
    world.keeps(&manifest);
    // Generation 3 is good for weeks, and the guest does not know of any other.
    world.report(world.held());
    let order = world.order(&manifest);
    assert_eq!((order.generation, order.step, order.why), (6, Step::Ask, Why::TakenBack { held: 3, had: 5 }));
    let newest = holding("web", 6, leaf(&world.key, &["a.example"], world.now, world.now + seconds(30 * DAY)));
    world.report(newest);
    world.keeps(&manifest);
}

#[test]
fn a_new_generation_that_never_came_to_its_goal_is_not_missed() {
    let mut world = World::healthy();
    let next = leaf(&world.key, &["a.example"], world.now, world.now + seconds(30 * DAY));
    world.report(PlacementReport { stage: Stage::Installed, ..holding("web", 4, next) });
    // The service did not take it, and the files of before are back.
    world.report(PlacementReport { last_generation: 4, ..world.held() });
    world.keeps(&web("", ""));
}

#[test]
fn a_placement_that_is_not_known_any_more_goes_on_above_what_it_had() {
    let mut world = World::healthy();
    world.reports.hello(id("web@101").guest, Vec::new(), world.now);
    assert_eq!(world.order(&web("", "")).generation, 4);
    world.reports.purged(id("web@101").guest, &id("web@101").certificate);
    assert_eq!(world.order(&web("", "")).generation, 4);
}
