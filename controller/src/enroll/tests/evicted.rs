//! A guest that is evicted while it is being brought in.

use super::*;

#[tokio::test]
async fn what_is_under_way_for_a_guest_that_is_put_out_ends_and_gives_it_nothing() {
    let mut fixture = Fixture::new(Enroll::Manifest, World { hung: HashSet::from([101]), ..World::default() });
    let guests = inventory([(101, running())]);
    let (answers, mut told) = mpsc::channel(8);
    let seen = Seen { link: Link::NeverSeen, version: None, served: true };
    fixture.enrolments.ask(vmid(101), &guests, seen, answers, fixture.now).expect("it is asked for");
    fixture.pass(&guests, &[101]);
    let task = fixture.enrolments.guests.get(&vmid(101)).and_then(|state| state.task.clone()).expect("it works");
    fixture.enrolments.stop(vmid(101), "guest 101 was evicted");
    let ended = async {
        while !task.is_finished() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), ended).await.expect("it ends at once");
    assert!(matches!(told.recv().await, Some(Answer::NotEnrolled(trouble)) if trouble.cause.contains("evicted")));
    fixture.pass(&guests, &[]);
    assert!(fixture.enrolments.guests.is_empty(), "and nothing begins by itself");
    fixture.after(5, &guests, &[101]);
    fixture.after(5, &guests, &[101]);
    assert!(fixture.enrolments.guests.contains_key(&vmid(101)), "a person lets it in again");
}
