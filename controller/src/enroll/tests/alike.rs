//! Guests with one network card: what cannot be told apart is left alone.

use super::*;
use crate::inventory::Alike;

#[tokio::test]
async fn a_guest_that_cannot_be_told_from_another_is_left_alone_until_it_can() {
    let mut fixture = Fixture::new(Enroll::Manifest, World::default());
    let trouble = Trouble {
        halt: Halt::Blocked,
        attempt: "tell guests 101 and 120 apart".into(),
        cause: "VM 120: no guest agent".into(),
        remedy: "stop one of them".into(),
        retry_at: None,
    };
    let guests = inventory([(101, running()), (102, running()), (120, running())]);
    let alike = vec![Alike { guests: vec![vmid(101), vmid(120)], trouble: trouble.clone() }];
    let untold = guests.clone().with_alike(alike);
    fixture.pass(&untold, &[101, 102]);
    fixture.after(600, &untold, &[101, 102]);
    fixture.ended(1).await;
    assert_eq!((fixture.calls(101), fixture.calls(102).len()), (vec![], 3), "no other waits for it");
    assert_eq!(fixture.trouble(101), Some(&trouble), "what its placements wait for");
    fixture.after(5, &guests, &[101, 102]);
    fixture.ended(1).await;
    assert_eq!(fixture.calls(101), ["look", "install", "join"]);
}
