//! Newer agents for guests that have one.

use super::*;

#[tokio::test]
async fn older_agents_are_replaced_one_at_a_time_and_put_back_when_the_new_one_does_not_link() {
    let mut fixture = Fixture::new(Enroll::Manifest, World::default());
    let guests = inventory([(101, running()), (102, running())]);
    for number in [101, 102] {
        fixture.world.agents.lock().expect("agents").insert(vmid(number), agent("0.0.1", true, true));
        fixture.linked.insert(vmid(number), "0.0.1".into());
    }
    fixture.pass(&guests, &[101, 102]);
    fixture.ended(1).await;
    assert_eq!((fixture.calls(101), fixture.calls(102)), (vec!["install"], vec![]));
    fixture.linked.remove(&vmid(101));
    fixture.after(10, &guests, &[101, 102]);
    fixture.linked.insert(vmid(101), env!("CARGO_PKG_VERSION").into());
    fixture.after(1, &guests, &[101, 102]);
    fixture.after(1, &guests, &[101, 102]);
    fixture.ended(1).await;
    assert_eq!((fixture.calls(101), fixture.calls(102)), (vec!["install"], vec!["install"]));

    // The second one never links with the new agent.
    fixture.linked.remove(&vmid(102));
    fixture.after(61, &guests, &[101, 102]);
    fixture.ended(1).await;
    assert_eq!(fixture.calls(102), ["install", "restore"]);
    let told =
        fixture.notes.iter().any(|note| matches!(note, Note::Happened { what: GuestEvent::AgentPutBack(_), .. }));
    assert!(told, "{:?}", fixture.notes);
    fixture.linked.insert(vmid(102), "0.0.1".into());
    fixture.after(1, &guests, &[101, 102]);
    assert_eq!(fixture.calls(102), ["install", "restore"], "not again at once");
}

#[tokio::test]
async fn a_guest_that_is_stopped_in_mid_upgrade_holds_up_no_other_upgrade() {
    let mut fixture = Fixture::new(Enroll::Manifest, World::default());
    for number in [101, 102] {
        fixture.world.agents.lock().expect("agents").insert(vmid(number), agent("0.0.1", true, true));
        fixture.linked.insert(vmid(number), "0.0.1".into());
    }
    fixture.pass(&inventory([(101, running()), (102, running())]), &[101, 102]);
    fixture.ended(1).await;
    assert_eq!((fixture.calls(101), fixture.calls(102)), (vec!["install"], vec![]));
    fixture.linked.remove(&vmid(101));
    let guests = inventory([(101, GuestInfo { running: Some(false), ..running() }), (102, running())]);
    fixture.after(1, &guests, &[101, 102]);
    fixture.ended(1).await;
    assert_eq!(fixture.calls(102), ["install"]);
}

fn with_old_agents(numbers: &[u32]) -> Fixture {
    let mut fixture = Fixture::new(Enroll::Manifest, World::default());
    for number in numbers {
        fixture.world.agents.lock().expect("agents").insert(vmid(*number), agent("0.0.1", true, true));
        fixture.linked.insert(vmid(*number), "0.0.1".into());
    }
    fixture
}

#[tokio::test]
async fn the_canary_has_to_be_served_again_before_the_others_follow_a_few_at_a_time() {
    let all: Vec<u32> = (101..109).collect();
    let mut fixture = with_old_agents(&all);
    let guests = inventory(all.iter().map(|number| (*number, running())));
    fixture.pass(&guests, &all);
    fixture.ended(1).await;
    let installed = |fixture: &Fixture| all.iter().filter(|number| !fixture.calls(**number).is_empty()).count();
    assert_eq!(installed(&fixture), 1);

    // It is linked, and its services are still looked at.
    fixture.linked.insert(vmid(101), env!("CARGO_PKG_VERSION").into());
    fixture.served = false;
    fixture.after(5, &guests, &all);
    assert_eq!(installed(&fixture), 1, "nobody follows a canary that does not serve yet");
    fixture.served = true;
    fixture.after(5, &guests, &all);
    fixture.ended(4).await;
    assert_eq!(installed(&fixture), 5, "then four at once");
}

#[tokio::test]
async fn one_that_is_not_served_again_is_put_back_and_stops_the_others_until_a_person_tries_again() {
    let all = [101, 102, 103];
    let mut fixture = with_old_agents(&all);
    let guests = inventory(all.iter().map(|number| (*number, running())));
    fixture.pass(&guests, &all);
    fixture.ended(1).await;
    fixture.linked.insert(vmid(101), env!("CARGO_PKG_VERSION").into());
    fixture.served = false;
    fixture.after(5, &guests, &all);
    fixture.after(121, &guests, &all);
    fixture.ended(1).await;
    assert_eq!(fixture.calls(101), ["install", "restore"]);
    let trouble = fixture.enrolments.trouble().expect("told as the host's").to_string();
    assert!(trouble.contains("in guest 101") && trouble.contains("not everything that was served before"), "{trouble}");
    fixture.linked.insert(vmid(101), "0.0.1".into());
    fixture.served = true;
    fixture.after(3600, &guests, &all);
    assert_eq!(
        (fixture.calls(101).len(), fixture.calls(102), fixture.calls(103)),
        (2, vec![], vec![]),
        "nobody follows"
    );

    let (answers, _heard) = mpsc::channel(16);
    let seen = Seen { link: Link::Linked { since: fixture.now }, version: Some("0.0.1"), served: true };
    fixture.enrolments.ask(vmid(101), &guests, seen, answers, fixture.now).expect("a person tries again");
    assert!(fixture.enrolments.trouble().is_none());
    fixture.after(1, &guests, &all);
    fixture.ended(1).await;
    assert_eq!((fixture.calls(101).len(), fixture.calls(102)), (3, vec![]), "with one first");
}

#[tokio::test]
async fn a_newer_agent_stays_until_a_person_asks_for_the_packaged_one() {
    let mut fixture = Fixture::new(Enroll::Manifest, World::default());
    let guests = inventory([(101, running()), (102, running())]);
    for number in [101, 102] {
        fixture.world.agents.lock().expect("agents").insert(vmid(number), agent("99.0.0", true, true));
        fixture.linked.insert(vmid(number), "99.0.0".into());
    }
    fixture.pass(&guests, &[101, 102]);
    fixture.after(3600, &guests, &[101, 102]);
    assert_eq!((fixture.calls(101), fixture.calls(102)), (vec![], vec![]), "a downgrade replaces none by itself");

    let (answers, mut heard) = mpsc::channel(16);
    let seen = Seen { link: Link::Linked { since: fixture.now }, version: Some("99.0.0"), served: true };
    fixture.enrolments.ask(vmid(101), &guests, seen, answers, fixture.now).expect("a person asks");
    fixture.after(1, &guests, &[101, 102]);
    fixture.ended(1).await;
    assert_eq!((fixture.calls(101), fixture.calls(102)), (vec!["install"], vec![]));
    fixture.linked.insert(vmid(101), env!("CARGO_PKG_VERSION").into());
    fixture.after(1, &guests, &[101, 102]);
    let mut last = None;
    while let Ok(answer) = heard.try_recv() {
        last = Some(answer);
    }
    assert!(matches!(last, Some(Answer::Enrolled(_))), "{last:?}");

    // The other one does not link with the older agent, and gets its newer one back.
    let (answers, _heard) = mpsc::channel(16);
    fixture.enrolments.ask(vmid(102), &guests, seen, answers, fixture.now).expect("a person asks");
    fixture.after(1, &guests, &[101, 102]);
    fixture.ended(1).await;
    fixture.linked.remove(&vmid(102));
    fixture.after(61, &guests, &[101, 102]);
    fixture.ended(1).await;
    fixture.linked.insert(vmid(102), "99.0.0".into());
    fixture.after(3600, &guests, &[101, 102]);
    assert_eq!(fixture.calls(102), ["install", "restore"], "not again by itself");
}
