//! Floods of strangers: those who belong here get in between.
#![allow(clippy::print_stderr, reason = "the figures are for whoever runs it")]

use std::{net::Ipv4Addr, time::Instant};

use pinion_tests::{
    attack::flood::Flood,
    guest::Guest,
    host::{Host, HostOptions},
    wait::{self, PATIENCE},
};

/// What the agent logs when it has its link, and when it has to dial once more.
const LINKED: &str = "Linked";
const DIALS_AGAIN: &str = "No link to the controller";

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_links_again_at_its_first_try_during_a_flood_from_one_address() {
    let mut host = Host::start(&HostOptions::default()).expect("a host");
    let mut guest = Guest::join(&host, 1001).expect("a guest");
    let flood = Flood::start(host.address(), Ipv4Addr::new(127, 0, 0, 66).into());
    flood.reaches(2000).await.expect("a flood");
    for _ in 0..5 {
        flood.reaches(flood.made() + 200).await.expect("it goes on");
        guest.kill9().expect("killed");
        let (before, begun) = (flood.made(), Instant::now());
        guest.start().expect("started");
        let agent = guest.agent().expect("it was started");
        let linked = agent.log().matches(LINKED).count() + 1;
        wait::until("the link", PATIENCE, || match agent.log().matches(LINKED).count() {
            count if count >= linked => Ok(()),
            _ => Err(agent.log_tail()),
        })
        .expect("linked");
        let (took, made) = (begun.elapsed(), flood.made() - before);
        eprintln!("linked {took:?} after its start, while {made} connections came, {:.0} a second", flood.rate());
        assert!(!agent.log().contains(DIALS_AGAIN), "{}", agent.log_tail());
    }
    // The next relink of an agent that joined during the flood is as good.
    let other = Guest::join(&host, 1002).expect("joined during the flood");
    host.controller().expect("it was started").check_running().expect("up");
    drop((other, flood));
}
