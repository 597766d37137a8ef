//! A guest whose identity is refused gets another one, whatever is being done for it.

use super::*;

#[tokio::test]
async fn an_identity_that_is_refused_is_replaced_at_once() {
    let mut fixture = Fixture::new(Enroll::Manifest, World::default());
    fixture.world.agents.lock().expect("agents").insert(vmid(101), agent(env!("CARGO_PKG_VERSION"), true, true));
    let guests = inventory([(101, running())]);
    fixture.enrolments.must_rejoin(vmid(101), fixture.now);
    fixture.pass(&guests, &[101]);
    fixture.ended(1).await;
    assert_eq!(fixture.calls(101), ["look", "join"]);
}

#[tokio::test]
async fn an_identity_that_is_refused_while_a_guest_is_given_time_to_dial_is_replaced_at_once() {
    // Before the look is over, and while its link is waited for.
    for refused_first in [true, false] {
        let mut fixture = Fixture::new(Enroll::Manifest, World::default());
        let guests = inventory([(101, running())]);
        fixture.give_identity(101);
        fixture.world.agents.lock().expect("agents").insert(vmid(101), agent(env!("CARGO_PKG_VERSION"), true, true));
        fixture.pass(&guests, &[101]);
        fixture.after(5, &guests, &[101]);
        if refused_first {
            fixture.enrolments.must_rejoin(vmid(101), fixture.now);
        }
        fixture.ended(1).await;
        fixture.after(1, &guests, &[101]);
        if !refused_first {
            assert_eq!(fixture.calls(101), ["look"], "it may dial");
            fixture.enrolments.must_rejoin(vmid(101), fixture.now);
            fixture.after(1, &guests, &[101]);
        }
        fixture.ended(1).await;
        assert_eq!(fixture.calls(101), ["look", "look", "join"], "refused first: {refused_first}");

        // What it showed before it had joined is refused late: it is not joined twice.
        fixture.enrolments.must_rejoin(vmid(101), fixture.now);
        fixture.after(1, &guests, &[101]);
        assert_eq!(fixture.calls(101).len(), 3);
    }
}

#[tokio::test]
async fn an_identity_that_expired_while_the_guest_was_off_is_replaced_at_the_first_look() {
    let mut fixture = Fixture::new(Enroll::Manifest, World::default());
    let expired = FoundAgent { expires: Some(fixture.now), ..agent(env!("CARGO_PKG_VERSION"), true, true) };
    fixture.world.agents.lock().expect("agents").insert(vmid(101), expired);
    let guests = inventory([(101, running())]);
    fixture.pass(&guests, &[101]);
    fixture.after(5, &guests, &[101]);
    fixture.ended(1).await;
    assert_eq!(fixture.calls(101), ["look", "join"]);
}
