//! Tools that fail in every way that is known, and some more.

use std::{
    fs,
    time::{Duration, Instant},
};

use super::{
    hypervisor::{Hypervisor, token},
    package::package_in,
};
use crate::{
    channel::protocol::{Cause, Target},
    inventory::GuestKind::{Lxc, Qemu},
};

/// Enough for a call that works on a loaded machine, and short for one that hangs.
const PATIENCE: Duration = Duration::from_secs(3);

#[tokio::test]
async fn every_failure_has_its_name_and_none_is_success() {
    let hypervisor = Hypervisor::new();
    let container = hypervisor.add(101, Lxc, "x86_64\n");
    let machine = hypervisor.add(1001, Qemu, "x86_64\n");
    // Only an agent that was replaced a moment ago may be put back.
    for version in ["1.0", "2.0"] {
        package_in(hypervisor.root(), version);
        for guest in [container, machine] {
            hypervisor.client.install(guest).await.expect("installed");
        }
    }
    for guest in [container, machine] {
        fs::remove_file(hypervisor.path(guest, "usr/bin/pinion-agent.previous")).expect("it was replaced");
    }
    for (guest, mood, cause) in [
        (container, "stopped", Cause::NotRunning),
        (container, "attach", Cause::NotRunning),
        (container, "locked", Cause::Locked),
        (container, "garbage", Cause::Unexpected),
        (container, "endless", Cause::Unexpected),
        (container, "signal", Cause::Unexpected),
        (machine, "stopped", Cause::NotRunning),
        (machine, "agentless", Cause::NoGuestAgent),
        (machine, "forbidden", Cause::NoGuestAgent),
        (machine, "frozen", Cause::Locked),
        (machine, "paused", Cause::Paused),
        (machine, "busy", Cause::AgentBusy),
        (machine, "occupied", Cause::AgentBusy),
        (machine, "pid", Cause::TimedOut),
        (machine, "garbage", Cause::Unexpected),
        (machine, "endless", Cause::Unexpected),
        (machine, "signal", Cause::Unexpected),
    ] {
        hypervisor.write(guest, "mood", mood);
        let number = guest.vmid.number();
        let failures = [
            hypervisor.client.look(guest).await.expect_err(mood),
            hypervisor.client.install(guest).await.expect_err(mood),
            hypervisor.client.restore(guest).await.expect_err(mood),
        ];
        for failure in failures {
            assert!(failure.cause == cause || mood == "garbage", "{mood} of {guest}: {failure:?}");
            assert!(!failure.text.contains(char::is_control) && failure.text.len() < 1500, "{failure:?}");
        }
        if mood != "garbage" || guest == machine {
            hypervisor.client.join(guest, token(number)).await.expect_err(mood);
        }
    }
    for guest in [container, machine] {
        hypervisor.write(guest, "mood", "");
        hypervisor.client.install(guest).await.expect("it goes on when the cause goes");
    }
}

#[tokio::test]
async fn a_guest_that_is_elsewhere_or_nowhere_is_told_apart() {
    let hypervisor = Hypervisor::new();
    let target = |number: u32| Target { vmid: number.try_into().expect("a VMID"), kind: Lxc };
    let failure = hypervisor.client.look(target(201)).await.expect_err("it is not here");
    assert!(failure.text.contains("its node is unknown") && failure.cause.passes(), "{failure:?}");
    hypervisor.list(&[(201, ("pve2", "lxc")), (202, ("pve1", "qemu")), (203, ("pve1", "lxc"))].into());
    hypervisor.known(|listing| listing.guests.is_some()).await;
    for (number, cause, words) in [
        (201, Cause::WrongNode, "is on node pve2, and this is pve1"),
        (202, Cause::NoSuchGuest, "202 is a VM"),
        (203, Cause::Locked, "its configuration is missing"),
        (204, Cause::NoSuchGuest, "no container 204 in this cluster"),
    ] {
        let failure = hypervisor.client.look(target(number)).await.expect_err("it is not here");
        assert!(failure.cause == cause && failure.text.contains(words), "{failure:?}");
    }
}

#[tokio::test]
async fn a_tool_that_hangs_is_ended_with_all_it_started_and_holds_up_nobody() {
    let hypervisor = Hypervisor::with(Some(PATIENCE), rustix::process::geteuid().as_raw());
    let hung = hypervisor.add(101, Lxc, "x86_64\n");
    let well = hypervisor.add(102, Lxc, "x86_64\n");
    hypervisor.write(hung, "mood", "hang");
    let started = Instant::now();
    let (stuck, looked) = tokio::join!(hypervisor.client.look(hung), async {
        let looked = hypervisor.client.look(well).await;
        (looked, started.elapsed())
    });
    looked.0.expect("it is reached");
    assert!(looked.1 < PATIENCE, "the other guest had to wait for {:?}", looked.1);
    let failure = stuck.expect_err("it hangs");
    assert!(failure.cause == Cause::TimedOut && failure.cause.passes(), "{failure:?}");
    assert!(started.elapsed() < PATIENCE * 3, "{:?}", started.elapsed());
    for pid in hypervisor.read(hung, "pids").split_whitespace() {
        let gone = || !std::path::Path::new("/proc").join(pid).exists() || zombie(pid);
        let deadline = Instant::now() + Duration::from_secs(10);
        while !gone() && Instant::now() < deadline {
            tokio::task::yield_now().await;
        }
        assert!(gone(), "process {pid} was left behind");
    }
    hypervisor.write(hung, "mood", "");
    hypervisor.client.look(hung).await.expect("it is its turn again");
}

/// Ended, and not yet waited for by whoever inherited it.
fn zombie(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "))
}
