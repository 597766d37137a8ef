//! When Proxmox is asked, when not, and what is left in memory.

use super::*;

const NOW: Timestamp = Timestamp::from_unix(0x65A1_B2C3);

const MAY_LOOK: Verdict = Verdict::Privileges { audit: true, modify: false, permissions: false };

fn ticket(signature: &str) -> Credential {
    Credential::parse(&format!("PVE:anna@pve:65A1B2C3::{signature}")).expect("a ticket")
}

fn token(secret: &str) -> Credential {
    Credential::parse(&format!("anna@pve!page={secret}")).expect("a token")
}

fn after(seconds: u64) -> Timestamp {
    NOW + Duration::from_secs(seconds)
}

/// Proxmox is asked about this, and says that.
fn asked(it: &mut Remembered, credential: Credential, verdict: Verdict, now: Timestamp) -> WebAnswer {
    match it.sign_in(credential, now) {
        Next::Ask(credential) => it.learned(credential, verdict, now),
        other => panic!("{other:?}"),
    }
}

fn good_for(next: &Next) -> u64 {
    match next {
        Next::Answer(WebAnswer::Known(user)) => user.good_for,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_answer_is_good_for_a_minute_and_not_longer() {
    let mut it = Remembered::new(NOW);
    let digest = ticket("AA").digest();
    asked(&mut it, ticket("AA"), MAY_LOOK, NOW);
    assert_eq!(good_for(&it.again(digest, after(0))), 60);
    assert_eq!(good_for(&it.again(digest, after(59))), 1);
    assert_eq!(good_for(&it.sign_in(ticket("AA"), after(59))), 1, "whoever signs in gets no longer one");
    assert_eq!(it.again(digest, after(60)), Next::Ask(Arc::new(ticket("AA"))));
    assert_eq!(
        it.again(digest, NOW - Duration::from_secs(1)),
        Next::Ask(Arc::new(ticket("AA"))),
        "the clock was set back"
    );
}

#[test]
fn rights_are_none_audit_or_both() {
    let mut it = Remembered::new(NOW);
    let of = |audit, modify, permissions| Verdict::Privileges { audit, modify, permissions };
    for (secret, verdict, right, is_almighty) in [
        ("1", of(false, false, false), WebRight::None, false),
        ("2", of(false, true, false), WebRight::None, false),
        ("3", of(true, false, false), WebRight::Audit, false),
        ("4", of(true, true, false), WebRight::AuditAndModify, false),
        ("5", of(true, true, true), WebRight::AuditAndModify, true),
    ] {
        let answer = asked(&mut it, token(secret), verdict, NOW);
        let WebAnswer::Known(user) = answer else { panic!("{answer:?}") };
        assert_eq!((user.user.as_str(), user.right, user.is_almighty), ("anna@pve!page", right, is_almighty));
        let kept = it.entries[&token(secret).digest()].kept.is_some();
        assert_eq!(kept, right != WebRight::None, "whoever may not look leaves no token here");
    }
}

#[test]
fn a_refusal_is_remembered_for_a_minute_without_what_was_refused() {
    let mut it = Remembered::new(NOW);
    assert_eq!(asked(&mut it, token("bad"), Verdict::Refused, NOW), WebAnswer::Unknown);
    assert_eq!(it.sign_in(token("bad"), after(59)), Next::Answer(WebAnswer::Unknown));
    assert!(it.entries.values().all(|entry| entry.kept.is_none()));
    assert!(matches!(it.sign_in(token("bad"), after(60)), Next::Ask(_)), "it may have been made meanwhile");
}

#[test]
fn a_right_that_is_taken_back_leaves_nothing_behind() {
    let mut it = Remembered::new(NOW);
    asked(&mut it, token("good"), MAY_LOOK, NOW);
    let Next::Ask(credential) = it.again(token("good").digest(), after(60)) else { panic!("it is to be asked") };
    it.learned(credential, Verdict::Refused, after(60));
    assert!(it.entries.values().all(|entry| entry.kept.is_none()));
    assert_eq!(it.again(token("good").digest(), after(61)), Next::Answer(WebAnswer::Unknown));
    assert_eq!(it.again(token("good").digest(), after(120)), Next::Answer(WebAnswer::Forgotten));
}

#[test]
fn what_nobody_uses_any_more_is_forgotten() {
    let mut it = Remembered::new(NOW);
    for credential in [ticket("AA"), token("idle"), token("left")] {
        asked(&mut it, credential, MAY_LOOK, NOW);
    }
    it.forget(token("left").digest());
    assert_eq!(it.again(token("left").digest(), NOW), Next::Answer(WebAnswer::Forgotten));
    assert!(matches!(it.again(ticket("AA").digest(), after(7199)), Next::Ask(_)));
    assert_eq!(it.again(ticket("AA").digest(), after(7200)), Next::Answer(WebAnswer::Forgotten), "it is two hours old");
    assert!(matches!(it.again(token("idle").digest(), after(12 * 3600 - 1)), Next::Ask(_)));
    assert_eq!(it.again(token("idle").digest(), after(24 * 3600)), Next::Answer(WebAnswer::Forgotten));
    assert!(it.entries.is_empty());
}

#[test]
fn proxmox_is_asked_so_often_and_no_more() {
    let mut it = Remembered::new(NOW);
    let many = |it: &mut Remembered, from: usize, now| {
        let next = (from..from + 100).map(|number| it.sign_in(token(&number.to_string()), now));
        next.filter(|next| matches!(next, Next::Ask(_))).count()
    };
    assert_eq!(many(&mut it, 0, NOW), 10);
    assert_eq!(many(&mut it, 100, after(2)), 1);
    assert_eq!(it.sign_in(token("mine"), after(3)), Next::Wait);
    // Those who have signed in are not held up by it.
    it.learned(Arc::new(token("mine")), MAY_LOOK, after(3));
    let digest = token("mine").digest();
    let asked = (0..1000).filter(|_| matches!(it.again(digest, after(63)), Next::Ask(_))).count();
    assert_eq!(asked, 128, "and while there is no answer they do not ask without end");
    assert_eq!(it.again(digest, after(63)), Next::Wait);
    assert!(matches!(it.again(digest, after(64)), Next::Ask(_)));
}

#[test]
fn nothing_grows_without_end() {
    let mut it = Remembered::new(NOW);
    for number in 0..1000 {
        it.learned(Arc::new(token(&format!("good{number}"))), MAY_LOOK, after(number / 100));
        it.learned(Arc::new(token(&format!("bad{number}"))), Verdict::Refused, after(number / 100));
    }
    let kept = it.entries.values().filter(|entry| entry.kept.is_some()).count();
    assert_eq!((kept, it.entries.len() - kept), (MAX_KEPT, MAX_REFUSED));
    assert_eq!(
        it.again(token("good0").digest(), after(10)),
        Next::Answer(WebAnswer::Forgotten),
        "the oldest made room"
    );
    assert_eq!(good_for(&it.again(token("good999").digest(), after(10))), 59);
}
