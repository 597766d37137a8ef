//! When renewals happen, and how failures are spread.

use super::*;
use crate::planner::{backoff::Backoff, renewal, renewal::spread};

fn certificate(more: &str) -> Certificate {
    web(more, "").certificates.into_iter().next().expect("one")
}

fn renew_at(certificate: &Certificate, guest: Guest, held: &Held) -> Timestamp {
    let policy = certificate.content.leaf().expect("a certificate");
    renewal::renew_at(&certificate.name, policy, guest, held)
}

fn lived(length: u64) -> Held {
    let leaf = leaf(&key(), &["a.example"], at(NOW), at(NOW) + seconds(length));
    holding("web", 1, leaf).held.expect("it is held")
}

#[test]
fn at_two_thirds_of_the_real_life_less_a_twentieth_at_most() {
    let certificate = certificate("");
    for life in [300, DAY, 30 * DAY, 3_650 * DAY] {
        let held = lived(life);
        for vmid in 100..140 {
            let guest = Guest::Vmid(vmid.try_into().expect("a VMID"));
            let passed = renew_at(&certificate, guest, &held).since(at(NOW)).as_secs();
            assert!(passed <= life / 3 * 2 && passed >= life / 3 * 2 - life / 20, "{passed} of {life}");
            assert_eq!(passed, renew_at(&certificate, guest, &held).since(at(NOW)).as_secs());
        }
    }
}

#[test]
fn placements_issued_together_are_spread() {
    let (certificate, held) = (certificate(""), lived(30 * DAY));
    let moments: std::collections::BTreeSet<_> =
        (100..1_100).map(|n| renew_at(&certificate, Guest::Vmid(n.try_into().expect("a VMID")), &held)).collect();
    assert!(moments.len() > 950, "{} different moments of 1,000", moments.len());
    let hours: std::collections::BTreeSet<_> = moments.iter().map(|moment| moment.unix() / 3_600).collect();
    assert!(hours.len() >= 36, "36 hours are a twentieth of 30 days");
}

#[test]
fn what_ends_first_in_the_chain_is_the_end() {
    let (certificate, guest) = (certificate(""), id("web@101").guest);
    let ten = self::certificate(r#", "renew_before": "10d""#);
    let whole = lived(30 * DAY);
    let until = |end: u64| Held { chain_ends: Some(at(NOW) + seconds(end)), ..whole.clone() };
    assert_eq!(until(3 * DAY).expires(), at(NOW) + seconds(3 * DAY));
    assert_eq!(renew_at(&certificate, guest, &until(3 * DAY)), renew_at(&certificate, guest, &lived(3 * DAY)));
    assert_eq!(renew_at(&ten, guest, &until(3 * DAY)), at(NOW) + seconds(2 * DAY));
    // An authority that outlives the certificate changes nothing, and an agent that says nothing of it neither.
    for held in [until(30 * DAY), until(31 * DAY), whole.clone()] {
        assert_eq!(held.expires(), whole.leaf.not_after());
        assert_eq!(renew_at(&ten, guest, &held), at(NOW) + seconds(20 * DAY));
    }
}

#[test]
fn renew_before_overrides() {
    let guest = id("web@101").guest;
    let ten = certificate(r#", "renew_before": "10d""#);
    assert_eq!(renew_at(&ten, guest, &lived(30 * DAY)), at(NOW) + seconds(20 * DAY));
    // The CA gave a day instead of thirty: the same proportion of it.
    assert_eq!(renew_at(&ten, guest, &lived(DAY)), at(NOW) + seconds(16 * HOUR));
    // The CA gave more.
    assert_eq!(renew_at(&ten, guest, &lived(60 * DAY)), at(NOW) + seconds(50 * DAY));
}

#[test]
fn the_jitter_of_a_name_never_changes() {
    // Else a new version of Pinion would renew everything at its own moments.
    let spread = |text: &str| spread(&id(text).certificate, id(text).guest, 1_000_000);
    assert_eq!([spread("web@101"), spread("web@102"), spread("web@host")], [139_565, 223_928, 279_655]);
}

#[test]
fn failures_back_off_from_half_a_minute_to_an_hour() {
    let backoff = Backoff::default();
    let mut max = 0;
    for (failures, whole) in [(1, 30), (2, 60), (3, 120), (7, 1_920), (8, 3_600), (50, 3_600), (u32::MAX, 3_600)] {
        for guest in 100..200 {
            let delay = backoff.delay(failures, &id(&format!("web@{guest}"))).as_secs_f64();
            assert!(delay <= f64::from(whole) && delay >= f64::from(whole) * 0.8, "{delay} after {failures}");
        }
        max = max.max(whole);
    }
    assert_eq!(max, 3_600);
}

proptest::proptest! {
    #[test]
    fn kept_to_the_second_then_ordered(life in 300_u64..100 * DAY, vmid in 100_u32..100_000, ago in 0..1_000_u64) {
        let mut world = World::empty();
        let guest = Guest::Vmid(vmid.try_into().expect("a VMID"));
        let begin = world.now - seconds(ago);
        let leaf = leaf(&world.key, &["a.example"], begin, begin + seconds(life));
        world.reports.hello(guest, vec![holding("web", 3, leaf)], world.now);
        let text = format!(
            r#"{{"version": 1, "certificates": [{{"name": "web", "common_name": "a.example",
                "placements": [{{"guest": {vmid}, "recipe": "x"}}]}}]}}"#
        );
        let manifest = manifest(&text);
        let moment = world.one(&manifest).renew_at.expect("something is held");
        world.now = moment - seconds(1);
        world.keeps(&manifest);
        proptest::prop_assert_eq!(world.plan(&manifest).wake_at, Some(moment));
        world.now = moment;
        proptest::prop_assert_eq!(world.order(&manifest).why, Why::Due { since: moment });
    }
}
