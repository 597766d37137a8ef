//! Another identity root, over some weeks: agents renew their identities under it by themselves.

use std::cell::RefCell;

use pinion_controller::events::Kind;
use pinion_proto::clock::{Clock, SystemClock};
use pinion_tests::wait::{self, PATIENCE};
use rustix::process::geteuid;

use super::one_process::{DAY, Lab, certificate};

#[tokio::test(flavor = "multi_thread")]
async fn identities_are_renewed_under_the_root_processs_next_root() {
    renewed_under_the_next_root(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn identities_are_renewed_under_the_root_that_has_moved_to_the_root_process() {
    renewed_under_the_next_root(true).await;
}

async fn renewed_under_the_next_root(moves: bool) {
    // Authorities of this node are valid from the root process's time on.
    let start = SystemClock.now();
    let root_process = RefCell::new(None);
    let mut lab = Lab::start_at(start, &[certificate("web", "30d", "always")], |host, _| {
        host.configure(&format!("\n[channel]\nuser = \"{}\"\n", geteuid().as_raw())).expect("written");
        if !moves {
            root_process.replace(Some(host.start_channel().expect("it listens")));
        }
    })
    .await;
    let (old, joined) = (lab.root(), lab.identity());
    let option: &[&str] = if moves { &["--to-root-process"] } else { &[] };
    lab.restart(|host| {
        if let Some(mut process) = root_process.take() {
            process.stop().expect("stopped");
        }
        let asked = host.pinion(&[&["identity", "new-root", "--yes"], option].concat()).expect("it runs");
        asked.succeeded().expect("it is left");
        root_process.replace(Some(host.start_channel().expect("it listens")));
    })
    .await;
    wait::until_async("the guest to trust the next root", PATIENCE, async || {
        let notes = lab.status().await.notes;
        let all = notes.iter().any(|note| note.starts_with("every guest trusts the next identity root"));
        if all && lab.root() == old { Ok(()) } else { Err(format!("{notes:?}")) }
    })
    .await
    .expect("it does");
    lab.restart(|_| ()).await;
    let next = lab.root();
    assert_ne!(next, old);
    lab.settled("linked under the next root").await;
    assert_eq!((lab.identities(), lab.identity().root.fingerprint()), (joined.generation, old), "the same identity");

    // At two thirds of its life it is renewed, under the next root.
    for _ in 0..5 {
        lab.clock.advance(DAY * 9 / 2);
        lab.settled("some days later").await;
    }
    wait::until_async("another identity", PATIENCE, async || {
        let identity = lab.identity();
        if identity.root.fingerprint() == next { Ok(()) } else { Err(format!("{identity:?}")) }
    })
    .await
    .expect("renewed under the next root");
    assert!(lab.identities() > joined.generation);
    lab.settled("linked with the next identity").await;
    assert_eq!(lab.events(Kind::Joined).await.len(), 1, "it has not joined anew");
    lab.stop().await;
    root_process.take().expect("it runs").stop().expect("stopped");
}
