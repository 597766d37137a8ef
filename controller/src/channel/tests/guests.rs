//! The verb `guests`: told when something has changed, held until then, and bounded.

use std::{
    fs,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener},
    },
    sync::Arc,
    time::{Duration, Instant},
};

use pinion_proto::clock::SystemClock;
use tokio::task::JoinSet;

use super::hypervisor::Hypervisor;
use crate::{
    channel::{
        client::Client,
        listing::{ListedGuest, Listing},
        protocol::Cause,
    },
    inventory::GuestKind::{Lxc, Qemu},
};

impl Hypervisor {
    fn configure(&self, node: &str, kind: &str, number: u32, text: &str) {
        let path = self.root().join(format!("etc/pve/nodes/{node}/{kind}/{number}.conf"));
        fs::create_dir_all(path.parent().expect("a directory")).expect("made");
        fs::write(path, text).expect("written");
    }

    /// What a container that runs is known by.
    fn run(&self, number: u32) -> UnixListener {
        let name = format!("{}/var/lib/lxc/{number}/command", self.root().display());
        UnixListener::bind_addr(&SocketAddr::from_abstract_name(name).expect("an address")).expect("bound")
    }
}

fn guest(listing: &Listing, number: u32) -> Option<&ListedGuest> {
    listing.guests.as_ref()?.iter().find(|guest| guest.vmid.number() == number)
}

#[tokio::test]
async fn each_change_is_told_within_moments_and_nothing_is_repeated() {
    let hypervisor = Hypervisor::new();
    let listing = hypervisor.known(|listing| listing.problem.is_some()).await;
    assert_eq!(listing.guests, None, "nothing is known before there is anything to read");
    hypervisor.configure(
        "pve1",
        "lxc",
        101,
        "hostname: gateway\ntags: web;pinion\nlock: backup\ncipassword: hunter2\n#a note\nnet0: name=eth0,\
         hwaddr=BC:24:11:00:00:01,type=veth\n",
    );
    hypervisor.configure(
        "pve1",
        "qemu-server",
        1001,
        "agent: 1\nname: docker\nvmgenid: 7f2c1d3e-0b5f-4a6b-9c8d-0123456789ab\ncipassword: hunter2\n",
    );
    hypervisor.configure("pve2", "lxc", 200, "hostname: far\n");
    hypervisor.list(&[(101, ("pve1", "lxc")), (1001, ("pve1", "qemu")), (200, ("pve2", "lxc"))].into());
    let listing = hypervisor.known(|listing| listing.guests.is_some()).await;
    assert_eq!((listing.problem.as_ref(), listing.states_unknown.as_ref()), (None, None));
    let gateway = guest(&listing, 101).expect("listed");
    assert_eq!((gateway.kind, gateway.name.as_deref(), gateway.running), (Some(Lxc), Some("gateway"), Some(false)));
    assert_eq!((gateway.tags.len(), gateway.lock.as_deref(), gateway.hwaddrs.len()), (2, Some("backup"), 1));
    let docker = guest(&listing, 1001).expect("listed");
    assert_eq!((docker.kind, docker.agent, docker.running), (Some(Qemu), true, Some(false)));
    assert!(docker.vmgenid.is_some());
    let far = guest(&listing, 200).expect("listed");
    assert_eq!((far.node.as_deref(), far.running), (Some("pve2"), None), "what runs elsewhere is not seen here");
    assert!(!serde_json::to_string(&listing).expect("JSON").contains("hunter2"));

    // A caller that has this is held, until a container starts.
    let client = hypervisor.client.clone();
    let has = listing.revision;
    let held = tokio::spawn(async move { client.guests(Some(has)).await });
    let running = hypervisor.run(101);
    let began = Instant::now();
    let next = held.await.expect("no panic").expect("an answer");
    assert_eq!(guest(&next, 101).and_then(|guest| guest.running), Some(true));
    assert!(next.revision != listing.revision && began.elapsed() < super::super::guests::HOLD, "{:?}", began.elapsed());
    drop(running);
    hypervisor.known(|listing| guest(listing, 101).is_some_and(|guest| guest.running == Some(false))).await;

    // One that has what an earlier root process told is not held.
    let other = crate::channel::listing::Revision { run: 1, number: has.number };
    let began = Instant::now();
    hypervisor.client.guests(Some(other)).await.expect("an answer");
    assert!(began.elapsed() < super::super::guests::HOLD / 2, "{:?}", began.elapsed());
}

#[tokio::test]
async fn those_who_wait_are_few_and_leave_room_when_they_go() {
    let hypervisor = Hypervisor::new();
    let has = Some(hypervisor.known(|listing| listing.problem.is_some()).await.revision);
    let mut waiting = JoinSet::new();
    let refused = tokio::time::timeout(Duration::from_secs(60), async {
        loop {
            let client = hypervisor.client.clone();
            waiting.spawn(async move { client.guests(has).await });
            // Whoever has the listing is held, and so says nothing; the first that is too many says so.
            if let Ok(Some(ended)) = tokio::time::timeout(Duration::from_millis(20), waiting.join_next()).await {
                match ended.expect("no panic") {
                    Err(failure) => return failure,
                    Ok(_) => continue,
                }
            }
        }
    });
    let refused = refused.await.expect("there is a bound");
    assert_eq!(refused.cause, Cause::Busy, "{refused}");
    assert!(waiting.len() <= 16, "{} are held", waiting.len());
    // Other verbs go on beside them.
    let guest = hypervisor.add(101, Lxc, "x86_64\n");
    hypervisor.client.look(guest).await.expect("it is reached");
    waiting.shutdown().await;
    let again = tokio::time::timeout(Duration::from_secs(60), async {
        while hypervisor.client.guests(None).await.is_err() {
            tokio::task::yield_now().await;
        }
    });
    again.await.expect("those who left made room");
}

#[tokio::test]
async fn a_host_without_proxmox_says_so() {
    let root = tempfile::tempdir().expect("a directory");
    let config = crate::config::Config::load(root.path()).expect("no configuration is one");
    let (server, watcher) =
        crate::channel::server::Server::new(&config, rustix::process::geteuid().as_raw(), Arc::new(SystemClock));
    let listener = pinion_proto::lines::bind(&config.channel.socket, 0o600).expect("a socket");
    let mut tasks = JoinSet::new();
    tasks.spawn(watcher);
    tasks.spawn(async move {
        let mut calls = JoinSet::new();
        Arc::new(server).serve(&listener, &mut calls).await;
    });
    let listing = Client::new(&config.channel.socket).guests(None).await.expect("an answer");
    let problem = listing.problem.expect("a problem");
    assert!(problem.cause.contains("not a Proxmox host") && problem.remedy.contains("[proxmox]"), "{problem:?}");
}
