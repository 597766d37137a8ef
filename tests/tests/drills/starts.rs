//! A unit that takes a minute and a half to start, and is renewed.

use std::time::Duration;

use pinion_tests::lab::slow_service::{SlowService, host_of};

/// As some Java services do; systemd's own default is not enough for it.
const SERVICE: SlowService = SlowService {
    name: "notify",
    port: 8102,
    unit: "Type=notify\nNotifyAccess=all\nTimeoutStartSec=180",
    before: "sleep 90; systemd-notify --ready",
};

#[test]
fn a_unit_that_starts_for_ninety_seconds_is_restarted_once_for_each_certificate() {
    let host = host_of(&[SERVICE]).unwrap_or_else(|error| panic!("{error:#}"));
    // Its first start, by hand, is under way; nobody begins it anew.
    let served = |before: Option<&str>| {
        let served = SERVICE.wait_served(&host, before, Duration::from_secs(300));
        served.unwrap_or_else(|error| panic!("{error:#}"))
    };
    let mut serial = served(None);
    let first = SERVICE.starts(&host);
    assert!(first <= 2, "started {first} times for the first certificate");
    // The agent restarts a service three times in an hour.
    for renewals in 1..=2 {
        host.run(&["pinion", "ensure", SERVICE.name, "--renew", "--until", "issued"]).expect("it runs");
        serial = served(Some(&serial));
        assert_eq!(SERVICE.starts(&host), first + renewals, "{}", host.journal());
    }
}
