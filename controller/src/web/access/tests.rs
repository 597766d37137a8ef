//! Which secrets are good, for how long, and what is left of them on disk.

use std::{
    fs,
    sync::atomic::{AtomicI64, Ordering},
};

use super::*;
use crate::test_clock::Hands;

struct Fixture {
    _directory: tempfile::TempDir,
    clock: Arc<Hands>,
    store: Arc<Store>,
    access: WebAccess,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let clock = Arc::new(Hands(AtomicI64::new(1_800_000_000)));
        let store = Store::open(&directory.path().join("local"), &directory.path().join("shared")).expect("a store");
        let store = Arc::new(store);
        let access = WebAccess::open(store.clone(), clock.clone());
        Self { _directory: directory, clock, store, access }
    }

    fn pass(&self, seconds: i64) {
        self.clock.0.fetch_add(seconds, Ordering::SeqCst);
    }

    fn again(&self) -> WebAccess {
        WebAccess::open(self.store.clone(), self.clock.clone())
    }
}

fn name(text: &str) -> PlainName {
    text.parse().expect("a name")
}

#[test]
fn a_link_is_good_once_and_for_a_short_time() {
    let it = Fixture::new();
    let link = it.access.link(Right::Look);
    let session = it.access.open_link(&link).expect("good");
    assert_eq!(it.access.session(&session).expect("a session").right, Right::Look);
    assert_eq!(it.access.open_link(&link), None, "a second time");
    let late = it.access.link(Right::Renew);
    it.pass(120);
    assert_eq!(it.access.open_link(&late), None, "after two minutes");
    assert_eq!(it.access.session(&late), None, "a link is no session");
    assert_eq!(it.access.token(&session), None, "a session is no token");
}

#[test]
fn a_session_ends_when_nobody_uses_it_and_after_a_week() {
    let it = Fixture::new();
    let begin = || it.access.open_link(&it.access.link(Right::Look)).expect("good");
    let idle = begin();
    let used = begin();
    for _ in 0..13 {
        it.pass(11 * 3600);
        assert!(it.access.session(&used).is_some());
    }
    assert_eq!(it.access.session(&idle), None);
    it.pass(26 * 3600);
    assert_eq!(it.access.session(&used), None, "it was used until now");
    let early = begin();
    it.pass(-3600);
    assert_eq!(it.access.session(&early), None, "the clock was set back before it began");
    let left = begin();
    it.access.sign_out(&left);
    assert_eq!(it.access.session(&left), None);
}

/// A user of Proxmox's, of whom it was asked now.
fn anna(it: &Fixture, secret: &str, ends: Option<Timestamp>) -> ProxmoxUser {
    let asked = it.clock.now();
    let good_until = asked + Duration::from_secs(60);
    ProxmoxUser { name: "anna@pve".to_owned(), digest: Digest::of(secret), asked, good_until, ends }
}

#[test]
fn a_session_of_proxmoxs_user_has_the_right_of_the_last_answer_and_ends_with_the_ticket() {
    let it = Fixture::new();
    let ends = it.clock.now() + Duration::from_secs(100);
    let session = it.access.begin_for(Right::Renew, anna(&it, "ticket", Some(ends)));
    assert_eq!(it.access.session(&session).expect("a session").right, Right::Renew);
    it.pass(60);
    let user = it.access.session(&session).and_then(|session| session.proxmox).expect("a user");
    assert!(
        user.is_known_at(user.asked) && !user.is_known_at(it.clock.now()) && !user.is_known_at(user.asked - LINK_LIFE)
    );
    let confirmed = it.access.confirm(&session, Right::Look, anna(&it, "ticket", Some(ends))).expect("it goes on");
    assert_eq!((confirmed.right, it.access.session(&session)), (Right::Look, Some(confirmed.clone())));
    it.pass(39);
    assert!(it.access.session(&session).is_some());
    it.pass(1);
    assert_eq!(it.access.session(&session), None);
    assert_eq!(it.access.confirm(&session, Right::Look, anna(&it, "ticket", None)), None, "and does not come back");
}

#[test]
fn what_proxmoxs_user_signed_in_with_is_forgotten_with_the_last_session() {
    let it = Fixture::new();
    let begin = |secret: &str| it.access.begin_for(Right::Look, anna(&it, secret, None));
    let [first, second, other] = ["token", "token", "another"].map(begin);
    assert_eq!(it.access.sign_out(&first), None, "another session has it");
    assert_eq!(it.access.sign_out(&second), Some(Digest::of("token")));
    assert_eq!(it.access.sign_out(&second), None);
    assert_eq!(it.access.sign_out(&other), Some(Digest::of("another")));
    let link = it.access.open_link(&it.access.link(Right::Look)).expect("good");
    assert_eq!(it.access.sign_out(&link), None, "nothing of Proxmox's");
}

#[test]
fn a_token_lasts_until_it_is_taken_back_and_its_secret_is_nowhere() {
    let it = Fixture::new();
    let secret = it.access.create_token(name("prometheus"), Right::Look).expect("made");
    assert!(matches!(it.access.create_token(name("prometheus"), Right::Renew), Err(TokenError::Exists(_))));
    let restarted = it.again();
    assert_eq!(restarted.token(&secret), Some(Right::Look));
    assert_eq!(restarted.tokens().expect("read").len(), 1);
    let file = fs::read_to_string(it.store.file(Area::Local, FILE).expect("a path")).expect("written");
    assert!(!file.contains(secret.as_str()) && file.contains("prometheus"), "{file}");
    let session = restarted.sign_in(&secret).expect("good");
    restarted.revoke_token(&name("prometheus")).expect("taken back");
    assert_eq!((restarted.token(&secret), restarted.session(&session)), (None, None));
    assert!(matches!(restarted.revoke_token(&name("prometheus")), Err(TokenError::Unknown(_))));
    assert_eq!(it.again().token(&secret), None);
}

#[test]
fn nothing_grows_without_end_and_a_damaged_document_lets_nobody_in() {
    let it = Fixture::new();
    let first = it.access.link(Right::Look);
    for _ in 0..MAX_LINKS {
        it.pass(1);
        drop(it.access.link(Right::Look));
    }
    assert_eq!(it.access.open_link(&first), None, "the oldest made room");
    for _ in 0..MAX_SESSIONS + 10 {
        it.access.open_link(&it.access.link(Right::Look)).expect("good");
    }
    assert_eq!(it.access.state().sessions.len(), MAX_SESSIONS);
    for number in 0..MAX_TOKENS {
        it.access.create_token(name(&format!("t{number}")), Right::Look).expect("made");
    }
    assert!(matches!(it.access.create_token(name("more"), Right::Look), Err(TokenError::TooMany)));

    let it = Fixture::new();
    let secret = it.access.create_token(name("a"), Right::Look).expect("made");
    fs::write(it.store.file(Area::Local, FILE).expect("a path"), "{").expect("written");
    let damaged = it.again();
    assert_eq!(damaged.token(&secret), None);
    assert!(matches!(damaged.create_token(name("b"), Right::Look), Err(TokenError::Store(_))));
}
