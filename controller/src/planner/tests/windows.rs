//! When a service may be disturbed: what its guest is sent of windows and freezes.

use super::*;

const NIGHT: &str = r#", "window": {"days": ["sat"], "from": "02:00", "to": "04:00"}"#;

#[test]
fn a_renewal_does_not_wait_for_the_window_and_the_guest_is_told_when_it_opens() {
    let mut world = World::linked();
    let web = web("", NIGHT);
    world.report(world.due());
    assert_eq!(world.order(&web).generation, 4);
    let told = world.one(&web).spec().window.expect("there is a window");
    assert_eq!(told.first(), Some(&Opening { opens: at("2026-07-04T02:00:00Z"), closes: at("2026-07-04T04:00:00Z") }));
    assert_eq!(told.get(1).map(|next| next.opens), Some(at("2026-07-11T02:00:00Z")));
    // While it is open it is still the first; once it is over the next one is, without anybody's doing.
    world.now = at("2026-07-04T03:00:00Z");
    assert_eq!(world.one(&web).spec().window.expect("there is a window").first(), told.first());
    assert_eq!(world.plan(&web).wake_at, Some(at("2026-07-04T04:00:00Z")));
    world.now = at("2026-07-04T04:00:00Z");
    assert_eq!(world.one(&web).spec().window.expect("there is a window").first(), told.get(1));
}

#[test]
fn who_asks_by_hand_waits_for_no_window_until_it_is_served() {
    let mut world = World::healthy();
    let web = web("", NIGHT);
    let has_window = |world: &World| world.one(&web).spec().window.is_some();
    assert!(has_window(&world));
    world.reports.request_renewal(&id("web@101"));
    assert_eq!(world.order(&web).why, Why::Requested);
    assert!(!has_window(&world));
    let mut installed = world.held();
    installed.last_generation = 4;
    installed.stage = Stage::Installed;
    installed.held.as_mut().expect("held").generation = 4;
    world.report(installed.clone());
    assert!(!has_window(&world));
    world.report(PlacementReport { stage: Stage::Served, ..installed });
    assert!(has_window(&world));
}

#[test]
fn a_freeze_gives_way_in_the_last_day_of_what_is_served() {
    let mut world = World::healthy();
    let web = web("", "");
    let served = world.held();
    let ends = served.held.as_ref().expect("held").leaf.not_after();
    let last_day = ends - seconds(DAY);
    let told = |world: &mut World, until: Timestamp| {
        let mut freezes = crate::freeze::Freezes::default();
        let by = crate::admin::caller::Caller { uid: 0, name: None };
        freezes.add(Freeze { name: None, guest: None, since: world.now, until: Some(until), by });
        world.reports.set_freezes(freezes);
        world.one(&web).spec().window.expect("it is closed")[0].opens
    };
    // An agent waits for what comes before the end of what it serves, and otherwise until the last day of that.
    let hour = seconds(HOUR);
    assert_eq!(told(&mut world, last_day - hour), last_day - hour);
    assert!(told(&mut world, last_day + hour) > ends + seconds(1000 * DAY), "the last day comes before it is over");

    // The new files are in place: what is held is not what is served, and only the agent knows that.
    let mut installed = served;
    installed.stage = Stage::Installed;
    world.report(installed.clone());
    assert!(told(&mut world, last_day - hour) > ends, "until the agent says how long what is served lasts");
    let waits = |retry_at| Trouble {
        halt: Halt::Waiting,
        attempt: "restart web.service".into(),
        cause: "the new files are in place; the service's window opens later".into(),
        remedy: "nothing".into(),
        retry_at: Some(retry_at),
    };
    world.report(PlacementReport { trouble: Some(waits(last_day)), ..installed.clone() });
    assert_eq!(told(&mut world, last_day - hour), last_day - hour);
    assert!(told(&mut world, last_day + hour) > ends);
    world.report(PlacementReport { trouble: Some(waits(last_day - hour)), ..installed });
    assert_eq!(told(&mut world, last_day - hour), last_day - hour, "it stays as it was told");
    assert!(told(&mut world, last_day) > ends, "the freeze was made longer");
}
