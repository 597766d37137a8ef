//! Thirty days: every renewal at its moment, none early, none late, none too many.

use std::collections::{BTreeMap, HashSet};

use pinion_controller::events::Kind;
use pinion_proto::{bundle::Fingerprint, clock::Clock};

use super::one_process::{DAY, HOUR, Lab, START, certificate};

#[tokio::test(flavor = "multi_thread")]
async fn thirty_days_have_exactly_the_renewals_that_are_due() {
    let certificates = [
        certificate("day-always", "24h", "always"),
        certificate("day-never", "24h", "never"),
        certificate("month-always", "30d", "always"),
        certificate("month-never", "30d", "never"),
    ];
    let lab = Lab::start(&certificates).await;
    let end = START + 30 * DAY;
    let mut status = lab.settled("the beginning").await;
    let mut expected: BTreeMap<String, usize> = BTreeMap::new();
    let mut keys: BTreeMap<String, HashSet<Fingerprint>> = BTreeMap::new();
    for placement in &status.placements {
        let name = placement.certificate.to_string();
        let (renew_at, not_before) =
            (placement.renew_at.expect("a moment"), placement.not_before.expect("a beginning"));
        // Two thirds of the real life, which begins a minute before it was signed, less a twentieth at most.
        let life = placement.not_after.expect("an end").since(not_before);
        let after = renew_at.since(not_before);
        assert!(
            after <= life * 2 / 3 && after + life / 20 >= life * 2 / 3 - HOUR / 3600 * 3,
            "{name}: {after:?} of {life:?}"
        );
        // The same pause each time, since the jitter is the name's.
        let pause = renew_at.since(START);
        let times = usize::try_from((30 * DAY).as_secs() / pause.as_secs()).expect("a few");
        expected.insert(name.clone(), 1 + times);
        keys.entry(name.clone()).or_default().insert(lab.key(&name));
    }
    while let Some(due) =
        status.placements.iter().filter_map(|placement| placement.renew_at).min().filter(|at| *at <= end)
    {
        lab.clock.set(due - HOUR / 3600);
        let before = lab.settled("the second before").await;
        assert_eq!(generations(&before), generations(&status), "nothing is early");
        assert!(before.placements.iter().all(|placement| placement.incoming.is_none()), "nothing is even ordered");
        lab.clock.set(due);
        let after = lab.settled("the renewal").await;
        for (old, new) in before.placements.iter().zip(&after.placements) {
            let name = new.certificate.to_string();
            let due_now = old.renew_at.is_some_and(|at| at <= due);
            let expected = old.generation.map(|generation| generation + u64::from(due_now));
            assert_eq!(new.generation, expected, "{name} at {due}: on time, once");
            if due_now {
                let first = keys.get_mut(&name).expect("known").insert(lab.key(&name));
                assert_eq!(first, name.ends_with("always"), "{name}: a key is used once, or kept");
            }
        }
        status = after;
    }
    lab.clock.set(end);
    lab.settled("the end").await;
    let issued = lab.events(Kind::Issued).await;
    let mut counted: BTreeMap<String, usize> = BTreeMap::new();
    for event in &issued {
        *counted.entry(event.certificate.as_ref().expect("a certificate").to_string()).or_default() += 1;
    }
    assert_eq!(counted, expected, "exactly what the arithmetic says");
    let serials: HashSet<_> = issued.iter().map(|event| event.serial.clone()).collect();
    assert_eq!(serials.len(), issued.len());
    // The guest's identity lives thirty days, and was renewed after twenty; the link came back with it.
    assert_eq!(lab.identities(), 2);
    assert_eq!(lab.events(Kind::Renewed).await.len(), 1);
    assert_eq!(lab.events(Kind::Failed).await, []);
    assert_eq!(lab.events(Kind::Refused).await, []);
    assert!(lab.clock.now() == end);
    lab.stop().await;
}

fn generations(status: &pinion_controller::admin::protocol::Status) -> Vec<Option<u64>> {
    status.placements.iter().map(|placement| placement.generation).collect()
}
