//! Services that take their time to start, and one that does not come up: how often each is started, and what it serves.

use std::{sync::Arc, time::Duration};

use pinion_proto::stage::Halt;
use pinion_tests::{
    lab::{
        booted::Booted,
        slow_service::{SlowService, host_of},
    },
    outage::Client,
};

const LONG: Duration = Duration::from_secs(120);

const SERVICES: [SlowService; 3] = [
    // systemd takes it for started when it is forked, as it does with most Java and Node programs.
    SlowService { name: "late", port: 8101, unit: "Type=simple", before: "sleep 8" },
    SlowService {
        name: "notify",
        port: 8102,
        unit: "Type=notify\nNotifyAccess=all\nTimeoutStartSec=60",
        before: "sleep 10; systemd-notify --ready",
    },
    // It ends at once with any pair but its first one of Pinion's.
    SlowService {
        name: "crash",
        port: 8103,
        unit: "Type=simple\nRestart=always\nRestartSec=1\nStartLimitIntervalSec=0",
        before: "[ -e $D/good ] && ! cmp -s $D/good $D/cert.pem && exit 1",
    },
];

/// A client on the booted host itself.
fn client(host: &Arc<Booted>, service: &SlowService) -> Client {
    let (host, address) = (Arc::clone(host), format!("127.0.0.1:{}", service.port));
    Client::start_with(move || {
        let words = ["openssl", "s_client", "-connect", &address];
        host.run_with(&words, b"").is_ok_and(|ended| ended.code() == 0)
    })
}

#[test]
fn a_service_is_restarted_once_however_long_it_starts_and_gets_its_old_files_at_once_when_it_crashes() {
    let host = Arc::new(host_of(&SERVICES).unwrap_or_else(|error| panic!("{error:#}")));
    let wait_served = |service: &SlowService, before: Option<&str>| {
        service.wait_served(&host, before, LONG).unwrap_or_else(|error| panic!("{error:#}"))
    };
    let first: Vec<String> = SERVICES.iter().map(|service| wait_served(service, None)).collect();
    let [late, notify, crash] = &SERVICES;
    // One that was still starting when its files came has read them already.
    let starts = [late, notify].map(|service| service.starts(&host));
    assert!(starts.iter().all(|starts| *starts <= 2), "by hand, and for the first certificate: {starts:?}");
    for ((service, serial), starts) in [late, notify].into_iter().zip(&first).zip(starts) {
        let client = client(&host, service);
        host.run(&["pinion", "ensure", service.name, "--renew", "--until", "issued"]).expect("it runs");
        wait_served(service, Some(serial));
        client.end(&format!("slow starts, {}", service.name), "0 reloads, 1 restart").expect("measured");
        assert_eq!(service.starts(&host), starts + 1, "{}: and for the renewed one", service.name);
    }

    // Somebody restarts it in the middle of nothing: what it then shows needs no restart of Pinion's.
    host.well(&["systemctl", "restart", "--no-block", "notify.service"]).expect("restarted");
    let looked = host.wait_status("the agent to notice", LONG, |status| {
        status.placement(&notify.id()).filter(|placement| placement.trouble.is_some()).map(drop)
    });
    looked.unwrap_or_else(|error| panic!("{error:#}"));
    wait_served(notify, None);
    assert_eq!(notify.starts(&host), starts[1] + 2, "it was left to start\n{}", host.journal());

    // One that does not come up with its new files has its old ones within seconds, and not after two minutes.
    host.well(&["cp", "/srv/crash/cert.pem", "/srv/crash/good"]).expect("copied");
    let client = client(&host, crash);
    host.run(&["pinion", "ensure", "crash", "--renew", "--until", "issued"]).expect("it runs");
    let trouble = host.wait_status("the crash to be reported", Duration::from_secs(40), |status| {
        let placement = status.placement(&crash.id())?;
        placement.trouble.clone().filter(|trouble| trouble.cause.contains("serves the old certificate meanwhile"))
    });
    let trouble = trouble.unwrap_or_else(|error| panic!("{error:#}"));
    assert!(trouble.halt == Halt::Blocked && trouble.cause.contains("systemd"), "{trouble}");
    assert!(trouble.remedy.contains("`settle`"), "{trouble}");
    host.well(&["cmp", "/srv/crash/good", "/srv/crash/cert.pem"]).expect("its old certificate is back");
    client.end("slow starts, crash", "0 reloads, 1 restart, and 1 with the old files").expect("measured");
}
