//! When what is known is written, and in which order.

use super::*;
use crate::{
    reconcile::testing::{WEB, at, guest, link, nothing, resources, world},
    world::ReportRecord,
};

#[test]
fn a_busy_minute_is_one_write_and_a_persons_word_is_written_at_once() {
    let cases: [(&str, &[When], Option<bool>); 5] = [
        ("nothing", &[], None),
        ("soon", &[When::Soon], Some(true)),
        ("at once", &[When::AtOnce], Some(false)),
        ("soon, then at once", &[When::Soon, When::AtOnce], Some(false)),
        ("at once, then soon", &[When::AtOnce, When::Soon], Some(false)),
    ];
    for (what, whens, waits) in cases {
        let mut persist = Persist::default();
        whens.iter().for_each(|when| persist.save(guest("101"), *when));
        assert_eq!(persist.write_at().map(|at| at > Instant::now()), waits, "{what}");
    }
    let mut persist = Persist::default();
    persist.write(When::Soon);
    let first = persist.write_at();
    persist.write(When::Soon);
    assert_eq!(persist.write_at(), first, "the second does not put the first off");
}

#[tokio::test]
async fn the_last_word_of_a_guest_is_what_is_written() {
    let (_directory, resources) = resources(crate::issuer::Issuers::of([]));
    let (mut persist, mut revocations) = (Persist::default(), Revocations::default());
    let mut world = world(WEB);
    for count in [1, 2, 3] {
        let reports = ["a", "b", "c"].iter().take(count).map(|name| nothing(name)).collect();
        link(&mut world, "101", reports);
        persist.save(guest("101"), When::AtOnce);
        persist.start(RECORDS, &world, &mut revocations, &resources.store, at(0));
        assert_eq!(persist.write_at(), None);
    }
    persist.finish().await;
    let record: Option<ReportRecord> =
        resources.store.read(crate::store::Area::Local, "reports/101").expect("it can be read");
    assert_eq!(record.expect("it is written").placements.len(), 3);
}

#[tokio::test]
async fn of_a_large_fleet_some_are_written_at_a_time_and_what_a_person_waits_for_at_once() {
    let (_directory, resources) = resources(crate::issuer::Issuers::of([]));
    let (mut persist, mut revocations) = (Persist::default(), Revocations::default());
    let mut world = world(WEB);
    for vmid in 100..110 {
        link(&mut world, &vmid.to_string(), vec![nothing("web")]);
        persist.save(guest(&vmid.to_string()), When::Soon);
    }
    // What is new of a guest that waits already does not put it back.
    persist.save(guest("100"), When::Soon);
    persist.save(guest("109"), When::AtOnce);
    let mut written = async |persist: &mut Persist, records| {
        persist.start(records, &world, &mut revocations, &resources.store, at(0));
        let more = persist.write_at().is_some();
        persist.finish().await;
        let names = resources.store.list(crate::store::Area::Local, "reports").expect("they are listed");
        (names.into_iter().map(|name| name.parse::<u32>().expect("a VMID")).collect::<BTreeSet<_>>(), more)
    };
    assert_eq!(written(&mut persist, 4).await, ([100, 101, 102, 103, 109].into(), true));
    assert_eq!(written(&mut persist, 4).await, ((100..108).chain([109]).collect(), true));
    assert_eq!(written(&mut persist, usize::MAX).await, ((100..110).collect(), false));
}
