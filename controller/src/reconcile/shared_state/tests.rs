//! When it is told that shared state cannot be written, and when that it can.

use super::*;
use crate::reconcile::{
    resources::Resources,
    testing::{WEB, at, resources, world},
};

/// What happens, step by step, and how often everything that failed is tried again.
fn steps(problems: &[Option<&str>]) -> (Vec<String>, usize) {
    let (mut world, mut texts, mut tried) = (world(WEB), Vec::new(), 0);
    for problem in problems {
        let mut effects = Effects::at(at(0));
        take(&world, problem.map(ToOwned::to_owned), &mut effects);
        texts.extend(effects.texts().into_iter().map(ToOwned::to_owned));
        tried += effects.changes().iter().filter(|change| ***change == Change::AttemptsForgotten).count();
        effects.apply(&mut world);
        assert_eq!(world.shared_state_problem(), *problem);
    }
    (texts, tried)
}

#[test]
fn it_is_told_when_it_begins_and_when_it_ends() {
    let full = Some("the disk is full");
    let cases: [(&str, &[Option<&str>], &[&str], usize); 6] = [
        ("always writable", &[None, None], &[], 0),
        ("it begins", &[None, full], &["the disk is full; renewals continue"], 0),
        ("it lasts", &[full, full, full], &["the disk is full; renewals continue"], 0),
        ("another reason", &[full, Some("no quorum")], &["the disk is full; renewals continue"], 0),
        (
            "it ends",
            &[full, None, None],
            &["the disk is full; renewals continue", "The shared state can be written"],
            1,
        ),
        (
            "and begins again",
            &[full, None, full],
            &["the disk is full", "The shared state can be written", "the disk is full"],
            1,
        ),
    ];
    for (what, problems, expected, tried) in cases {
        let (texts, found) = steps(problems);
        assert_eq!((texts.len(), found), (expected.len(), tried), "{what}: {texts:?}");
        for (text, start) in texts.iter().zip(expected) {
            assert!(text.starts_with(start), "{what}: {text}");
        }
    }
}

#[tokio::test]
async fn that_shared_state_cannot_be_written_any_more_wakes_the_loop() {
    let (directory, resources) = resources(crate::issuer::Issuers::of([]));
    let Resources { store, identities, .. } = &resources;
    let mut watch = SharedStateWatch::start(store.clone());
    let problem = || {
        let mut effects = Effects::at(at(0));
        step(&world(WEB), store, identities, &mut effects);
        effects.texts().len()
    };
    assert_eq!(problem(), 0);
    let early = tokio::time::timeout(Duration::from_millis(100), watch.changed()).await;
    assert!(early.is_err(), "nothing has changed");
    let shared = directory.path().join("shared");
    std::fs::rename(&shared, directory.path().join("gone")).expect("renamed");
    let changed = tokio::time::timeout(Duration::from_secs(60), watch.changed()).await;
    assert!(changed.is_ok(), "it is looked at every other second");
    assert_eq!(problem(), 1, "it is told");
    std::fs::rename(directory.path().join("gone"), &shared).expect("renamed");
    let changed = tokio::time::timeout(Duration::from_secs(60), watch.changed()).await;
    assert!(changed.is_ok(), "it is there again");
    assert_eq!(problem(), 0);
    let task = watch.task.abort_handle();
    drop(watch);
    let ended = async {
        while !task.is_finished() {
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(60), ended).await.is_ok(), "nobody looks any more");
}
