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
        persist.start(&world, &mut revocations, &resources.store, at(0));
        assert_eq!(persist.write_at(), None);
    }
    persist.finish().await;
    let record: Option<ReportRecord> =
        resources.store.read(crate::store::Area::Local, "reports/101").expect("it can be read");
    assert_eq!(record.expect("it is written").placements.len(), 3);
}
