//! Who goes when there are too many, and who never does.

use super::*;

fn from(address: &str) -> SocketAddr {
    SocketAddr::new(address.parse().expect("an address"), 1234)
}

/// A caller, and the task that it is.
fn call(admission: &Arc<Admission>, address: &str) -> (Ticket, AbortHandle) {
    let ticket = admission.enter(from(address));
    let task = tokio::spawn(std::future::pending::<()>()).abort_handle();
    let (source, number) = ticket.key();
    admission.runs(source, number, task.clone());
    (ticket, task)
}

async fn is_ended(task: &AbortHandle) -> bool {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    task.is_finished()
}

#[tokio::test]
async fn a_flood_from_one_address_throws_out_itself() {
    let admission = Arc::new(Admission::default());
    let (_agent, agent) = call(&admission, "10.0.0.5");
    let flood: Vec<_> = (0..3 * MAX_HANDSHAKES).map(|_| call(&admission, "10.0.0.66")).collect();
    assert!(!is_ended(&agent).await);
    let ended = flood.iter().filter(|(_, task)| task.is_finished()).count();
    assert_eq!(ended, 2 * MAX_HANDSHAKES + 1);
    assert!(flood[..ended].iter().all(|(_, task)| task.is_finished()), "the oldest first");
    // An address has a part of an IPv6 network that is its own.
    let more: Vec<_> = (0..MAX_HANDSHAKES).map(|n| call(&admission, &format!("fd00:1::{n:x}"))).collect();
    assert!(!is_ended(&agent).await);
    assert!(more.iter().filter(|(_, task)| !task.is_finished()).count() <= MAX_HANDSHAKES / 2 + 1);
    drop((flood, more));
    assert_eq!(lock(&admission.rows).handshakes.count, 1);
}

#[tokio::test]
async fn a_flood_from_one_address_spares_its_neighbours_of_one_network() {
    for network in ["fe80::", "fd00:1::"] {
        let admission = Arc::new(Admission::default());
        let (_agent, agent) = call(&admission, &format!("{network}5"));
        let (joining, task) = call(&admission, &format!("{network}6"));
        joining.is_stranger();
        let flood: Vec<_> = (0..3 * MAX_HANDSHAKES).map(|_| call(&admission, &format!("{network}66"))).collect();
        flood.iter().for_each(|(ticket, _)| ticket.is_stranger());
        assert!(!is_ended(&agent).await && !is_ended(&task).await, "{network}");
    }
}

#[tokio::test]
async fn where_a_guest_was_let_in_is_spared_in_a_flood_from_many_addresses() {
    for network in ["fe80::", "10.0.0."] {
        let admission = Arc::new(Admission::default());
        let at = |n: usize| {
            if network.contains(':') { format!("fe80::{n:x}") } else { format!("10.0.{}.{}", n / 256, n % 256) }
        };
        let (before, _) = call(&admission, &at(0));
        before.is_guest("101".parse().expect("a guest"));
        let (_agent, agent) = call(&admission, &at(0));
        let flood: Vec<_> = (1..=MAX_HANDSHAKES).map(|n| call(&admission, &at(n))).collect();
        assert!(is_ended(&flood[0].1).await && !is_ended(&agent).await, "{network}");
    }
}

#[tokio::test]
async fn of_many_addresses_with_one_caller_each_the_oldest_goes() {
    let admission = Arc::new(Admission::default());
    let calls: Vec<_> =
        (0..=MAX_HANDSHAKES).map(|n| call(&admission, &format!("10.0.{}.{}", n / 256, n % 256))).collect();
    assert!(is_ended(&calls[0].1).await);
    assert_eq!(calls.iter().filter(|(_, task)| task.is_finished()).count(), 1);
}

#[tokio::test]
async fn a_join_that_is_being_granted_is_kept() {
    let admission = Arc::new(Admission::default());
    let (joining, task) = call(&admission, "10.0.0.66");
    joining.is_stranger();
    joining.keeper().keep();
    let flood: Vec<_> = (0..3 * MAX_STRANGERS).map(|_| call(&admission, "10.0.0.66")).collect();
    flood.iter().for_each(|(ticket, _)| ticket.is_stranger());
    assert!(!is_ended(&task).await);
    assert_eq!(flood.iter().filter(|(_, task)| !task.is_finished()).count(), MAX_STRANGERS);
}

#[tokio::test]
async fn a_guest_has_its_newest_connections() {
    let admission = Arc::new(Admission::default());
    let guest = "101".parse().expect("a guest");
    let calls: Vec<_> = (0..3).map(|_| call(&admission, "10.0.0.5")).collect();
    calls.iter().for_each(|(ticket, _)| ticket.is_guest(guest));
    assert!(is_ended(&calls[0].1).await);
    assert!(!calls[1].1.is_finished() && !calls[2].1.is_finished());
}

#[tokio::test]
async fn a_caller_that_leaves_makes_room() {
    let admission = Arc::new(Admission::default());
    let mut calls: Vec<_> = (0..MAX_HANDSHAKES).map(|_| call(&admission, "10.0.0.66")).collect();
    for _ in 0..3 {
        calls.pop();
        calls.push(call(&admission, "10.0.0.66"));
    }
    assert!(!is_ended(&calls[0].1).await, "there was room for each");
    calls.push(call(&admission, "10.0.0.66"));
    assert!(is_ended(&calls[0].1).await);
    calls.iter().for_each(|(ticket, _)| ticket.is_stranger());
    assert_eq!(lock(&admission.rows).strangers.count, MAX_STRANGERS);
    drop(calls);
    let rows = lock(&admission.rows);
    assert_eq!((rows.handshakes.count, rows.strangers.count), (0, 0));
    assert!(rows.handshakes.sources.is_empty() && rows.strangers.sources.is_empty());
}

#[tokio::test]
async fn an_address_is_one_however_it_is_written() {
    let admission = Arc::new(Admission::default());
    let (_agent, agent) = call(&admission, "10.0.0.5");
    // As a socket for both families has it.
    let _flood: Vec<_> = (0..MAX_HANDSHAKES).map(|_| call(&admission, "::ffff:10.0.0.66")).collect();
    assert!(!is_ended(&agent).await);
    let source = |address: &str| Source::of(address.parse().expect("an address"));
    assert_eq!(source("fd00:1::1"), source("fd00:1::ffff:2"));
    assert_ne!(source("fd00:1::1"), source("fd00:1:0:1::1"));
    assert_ne!(source("10.0.0.1"), source("10.0.0.2"));
}

#[test]
fn of_addresses_where_guests_were_let_in_the_last_ones_are_remembered() {
    let mut lately = Lately::default();
    let address =
        |n: usize| IpAddr::from([10, 0, u8::try_from(n / 256).expect("few"), u8::try_from(n % 256).expect("a byte")]);
    for n in 0..=MAX_LATELY {
        lately.note(address(n), u64::try_from(n).expect("a number"));
    }
    assert_eq!(lately.0.len(), MAX_LATELY);
    assert!(!lately.has(address(0)) && lately.has(address(1)) && lately.has(address(MAX_LATELY)));
}

#[tokio::test]
async fn a_guests_connections_that_are_over_do_not_count() {
    let admission = Arc::new(Admission::default());
    let guest = "101".parse().expect("a guest");
    let enter = async || {
        let (ticket, task) = call(&admission, "10.0.0.5");
        ticket.is_guest(guest);
        tokio::task::yield_now().await;
        (ticket, task)
    };
    let first = enter().await;
    for _ in 0..3 {
        let short = enter().await;
        short.1.abort();
        assert!(is_ended(&short.1).await);
    }
    let second = enter().await;
    assert!(!is_ended(&first.1).await && !is_ended(&second.1).await, "two at once are as many as it may have");
    second.1.abort();
    first.1.abort();
    assert!(is_ended(&first.1).await && is_ended(&second.1).await);
}

#[tokio::test]
async fn while_many_shake_hands_nobody_else_is_let_in() {
    let admission = Arc::new(Admission::default());
    // Of handshakes that began just now, however slow this machine is; or long ago.
    let is_ready = async |begun: Option<Instant>| {
        for caller in lock(&admission.rows).handshakes.sources.values_mut().flatten() {
            caller.begun = begun.unwrap_or_else(|| Instant::now() + Duration::from_secs(3600));
        }
        timeout(Duration::from_millis(1), admission.is_ready()).await.is_ok()
    };
    let flood: Vec<_> = (0..MAX_HANDSHAKES).map(|_| call(&admission, "10.0.0.66")).collect();
    assert!(is_ready(None).await, "a flood from one address holds up nobody");
    drop(flood);
    let mut guests: Vec<_> = (0..BUSY).map(|n| call(&admission, &format!("10.1.0.{n}"))).collect();
    assert!(!is_ready(None).await);
    let (through, _) = guests.pop().expect("one");
    through.is_guest("101".parse().expect("a guest"));
    assert!(is_ready(None).await, "one is through");
    guests.push(call(&admission, "10.1.1.1"));
    assert!(!is_ready(None).await);
    let long_ago = Instant::now().checked_sub(YOUNG).expect("this machine is up longer");
    assert!(is_ready(Some(long_ago)).await, "those that say nothing are no reason to wait");
}

#[tokio::test]
async fn where_handshakes_take_longer_they_count_for_longer() {
    let admission = Arc::new(Admission::default());
    let begun = |milliseconds| {
        let ago = Instant::now().checked_sub(Duration::from_millis(milliseconds)).expect("this machine is up longer");
        lock(&admission.rows).handshakes.sources.values_mut().flatten().for_each(|caller| caller.begun = ago);
    };
    let is_ready = async || timeout(Duration::from_millis(1), admission.is_ready()).await.is_ok();
    let _waiting: Vec<_> = (0..BUSY).map(|n| call(&admission, &format!("10.1.0.{n}"))).collect();
    begun(1000);
    assert!(is_ready().await);
    let mut through = Vec::new();
    for n in 0..16 {
        let (ticket, task) = call(&admission, &format!("10.2.0.{n}"));
        begun(1000);
        ticket.is_guest((100 + n).to_string().parse().expect("a guest"));
        through.push((ticket, task));
    }
    begun(1000);
    assert!(!is_ready().await);
    begun(3000);
    assert!(is_ready().await, "but not for ever");
}

#[tokio::test]
async fn a_guest_that_has_gone_is_not_remembered() {
    let admission = Arc::new(Admission::default());
    let guest: Guest = "101".parse().expect("a guest");
    let (before, _) = call(&admission, "10.0.0.5");
    before.is_guest(guest);
    let (now, _) = call(&admission, "10.0.0.5");
    now.is_guest(guest);
    drop(before);
    assert_eq!(lock(&admission.rows).guests[&guest].len(), 1);
    drop(now);
    assert!(lock(&admission.rows).guests.is_empty());
}
