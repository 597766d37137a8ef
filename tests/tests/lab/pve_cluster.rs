//! The root process beside a pmxcfs that is as the real one: stale for a second, away, dead, and back.
#![allow(clippy::print_stdout, reason = "how long a change took to be known is something to know")]

use std::{
    fs,
    time::{Duration, Instant},
};

use pinion_controller::{
    channel::{
        client::Client,
        listing::{ListedGuest, Listing},
        protocol::{Cause, Target},
    },
    inventory::GuestKind,
};
use pinion_tests::{
    lab::{Lab, installation::Installation},
    wait::PATIENCE,
};
use serde_json::json;
use tokio::runtime::Runtime;

/// The root process alone, and somebody who follows it.
struct Follower {
    lab: Lab,
    installation: Installation,
    client: Client,
    runtime: Runtime,
}

impl Follower {
    /// On a host whose pmxcfs is not up yet, and that has no guests.
    fn before_pmxcfs() -> Self {
        let mut lab = Lab::up(Vec::new()).expect("the lab comes up");
        lab.stop_pve_cluster().expect("stopped");
        let manifest = json!({ "version": 1, "certificates": [] });
        let mut installation = Installation::install(&lab, &manifest, "").expect("installed");
        installation.start_channel(&lab).expect("started");
        let client = Client::new(&lab.path("/run/pinion-channel/channel.sock"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        Self { lab, installation, client, runtime }
    }

    /// Waits until what is told is as `wanted` says.
    fn wait(&mut self, what: &str, wanted: impl Fn(&Listing) -> bool) -> Listing {
        let (client, mut has) = (self.client.clone(), None);
        let followed = async {
            loop {
                let listing = client.guests(has).await.expect("it answers");
                has = Some(listing.revision);
                if wanted(&listing) {
                    return listing;
                }
            }
        };
        let waited = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, followed).await });
        waited.unwrap_or_else(|_| {
            let now = self.runtime.block_on(self.client.guests(None));
            panic!("waited for {what}: {now:?}\n{}", self.installation.logged())
        })
    }

    fn write(&self, vmid: u32, name: &str) {
        let path = self.lab.path(&format!("/etc/pve/lxc/{vmid}.conf"));
        fs::write(path, format!("arch: amd64\nhostname: {name}\n")).expect("written");
    }
}

fn name(listing: &Listing, vmid: u32) -> Option<&str> {
    let guest: &ListedGuest = listing.guests.as_ref()?.iter().find(|guest| guest.vmid.number() == vmid)?;
    guest.name.as_deref()
}

#[test]
fn pmxcfs_may_come_later_go_die_and_come_back_and_no_change_is_missed() {
    let mut follower = Follower::before_pmxcfs();
    let told = follower.wait("that it is away", |listing| listing.problem.is_some());
    assert!(told.guests.is_none() && told.problem.is_some_and(|problem| problem.remedy.contains("pve-cluster")));
    follower.lab.start_pve_cluster().expect("started");
    let empty = follower.wait("the empty list", |listing| listing.guests.is_some());
    assert_eq!((empty.guests.map(|guests| guests.len()), empty.problem), (Some(0), None));

    // Changes at every moment of the second for which the kernel keeps what it was told.
    let mut slowest = Duration::ZERO;
    for round in 0..20_u64 {
        let began = Instant::now();
        for burst in 0..3 {
            follower.write(900, &format!("n{round}-{burst}"));
            // So that each burst ends at another moment of that second: the pause is the test, not a wait.
            std::thread::sleep(Duration::from_millis(17 + (round * 53) % 190));
        }
        let last = format!("n{round}-2");
        follower.wait(&last, |listing| name(listing, 900) == Some(&last));
        slowest = slowest.max(began.elapsed());
    }
    println!(
        "60 changes in 20 bursts were all seen; the slowest was known {:.1} s after its burst began",
        slowest.as_secs_f64()
    );

    // While its files answer nobody, this verb does, and whoever needs them is told so in time, as `pct` itself does.
    follower.lab.hang_pve_cluster(true).expect("stopped");
    let hung = follower.wait("that it hangs", |listing| listing.problem.is_some());
    assert!(hung.problem.is_some_and(|problem| problem.cause.contains("does not answer")));
    let guest = Target { vmid: 900.try_into().expect("a VMID"), kind: GuestKind::Lxc };
    let began = Instant::now();
    let failure = follower.runtime.block_on(follower.client.boot(guest)).expect_err("it is no real container");
    assert_eq!(failure.cause, Cause::TimedOut, "{failure}");
    println!("asked about a guest while pmxcfs hangs: {failure}, after {:.1} s", began.elapsed().as_secs_f64());
    follower.lab.hang_pve_cluster(false).expect("it goes on");
    follower.wait("that it answers", |listing| listing.problem.is_none());

    follower.lab.kill_pve_cluster().expect("killed");
    let dead = follower.wait("that it is dead", |listing| listing.problem.is_some());
    assert_eq!(name(&dead, 900), Some("n19-2"), "as it was known");
    follower.lab.start_pve_cluster().expect("started");
    let back = follower.wait("that it is back", |listing| listing.problem.is_none());
    assert_eq!(name(&back, 900), Some("n19-2"));
    follower.write(900, "after");
    follower.wait("a change under another count", |listing| name(listing, 900) == Some("after"));
    follower.lab.stop_pve_cluster().expect("stopped");
    follower.wait("that it is away again", |listing| listing.problem.is_some());
    follower.lab.start_pve_cluster().expect("started");
    follower.wait("that it is back again", |listing| listing.problem.is_none());

    fs::remove_file(follower.lab.path("/etc/pve/lxc/900.conf")).expect("destroyed");
    follower.wait("the last guest to go", |listing| listing.guests.as_ref().is_some_and(Vec::is_empty));
}
