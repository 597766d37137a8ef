//! One token, one join; one guest, one agent; and never the controller's name for a guest.

use super::*;

#[test]
fn a_token_is_good_once_even_after_a_restart() {
    let fixture = Fixture::new();
    let token = fixture.token("101");
    let fixture = fixture.restarted();
    assert_eq!(token.root, *fixture.identities.root());
    let identity = fixture.join("101", &token.secret).expect("joined");
    assert_eq!(identity.generation, 1);
    assert_eq!(peer(&identity).id.to_string(), format!("spiffe://{}/guest/101", fixture.identities.trust_domain()));
    let again = fixture.join("101", &token.secret).expect_err("spent");
    assert!(matches!(again, JoinRefused::Token(TokenRefused::None { .. })), "{again}");
    let fixture = fixture.restarted();
    fixture.join("101", &token.secret).expect_err("spent for ever");
    fixture.admit("101", &peer(&identity)).expect("the identity stays");
}

#[test]
fn tokens_that_are_not_right_are_refused_and_spend_nothing() {
    let fixture = Fixture::new();
    let (token, other) = (fixture.token("101"), fixture.token("102"));
    let mut altered = token.secret.clone();
    altered.0[31] ^= 1;
    let nothing = JoinSecret(Zeroizing::new([0; 32]));
    for wrong in [&other.secret, &altered, &nothing] {
        let error = fixture.join("101", wrong).expect_err("wrong");
        assert!(matches!(error, JoinRefused::Token(TokenRefused::Wrong { .. })), "{error}");
    }
    fixture.join("103", &token.secret).expect_err("no token of its own");
    fixture.join("101", &token.secret).expect("the right one is still good");

    let late = fixture.token("101");
    fixture.later(Duration::from_secs(600));
    let error = fixture.join("101", &late.secret).expect_err("expired");
    assert!(matches!(error, JoinRefused::Token(TokenRefused::Expired { .. })), "{error}");
    let (old, new) = (fixture.token("101"), fixture.token("101"));
    fixture.join("101", &old.secret).expect_err("a newer one took its place");
    fixture.join("101", &new.secret).expect("the newest is good");
}

#[test]
fn no_secret_is_on_the_disk() {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let fixture = Fixture::new();
    let token = fixture.token("101");
    let text =
        std::fs::read_to_string(fixture.directory.path().join("shared/join-tokens/101.json")).expect("a document");
    let hex: String = token.secret.0.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(!text.contains(&hex) && !text.contains(&URL_SAFE_NO_PAD.encode(token.secret.0.as_slice())), "{text}");
    fixture.later(Duration::from_secs(601));
    fixture.token("102");
    assert!(!fixture.directory.path().join("shared/join-tokens/101.json").exists(), "expired tokens are pruned");
}

#[test]
fn the_old_identity_is_good_until_the_new_one_is_seen() {
    let fixture = Fixture::new();
    let first = fixture.joined("101");
    let second = fixture.renewed("101", &first);
    fixture.admit("101", &first).expect("the agent may have stopped before it stored the new one");
    let third = fixture.renewed("101", &first);
    fixture.admit("101", &third).expect("the newest");
    let record = fixture.identities.guest(name("101")).expect("read").expect("known");
    assert_eq!((record.generation, record.current.as_deref(), record.next), (3, Some(third.serial.as_str()), None));
    assert_eq!(record.stale, [first.serial, second.serial]);
}

#[test]
fn a_clone_or_a_rollback_locks_that_guest_alone() {
    let fixture = Fixture::new();
    let (first, other) = (fixture.joined("101"), fixture.joined("102"));
    let second = fixture.renewed("101", &first);
    fixture.admit("101", &second).expect("the newest");
    let error = fixture.admit("101", &first).expect_err("shown again");
    assert!(matches!(error, Refused::Stale { .. }), "{error}");
    let fixture = fixture.restarted();
    for shown in [&first, &second] {
        let error = fixture.admit("101", shown).expect_err("locked");
        assert!(matches!(error, Refused::Locked { .. }), "{error}");
    }
    fixture.identities.renew(name("101"), &second, &csr()).expect_err("locked");
    fixture.admit("102", &other).expect("another guest is not concerned");
    let error = fixture.identities.create_token(name("101"), Vec::new()).expect_err("locked");
    assert!(error.to_string().contains("pinion guest unlock 101"), "{error}");

    assert!(fixture.identities.unlock(name("101")).expect("unlocked"));
    let third = fixture.joined("101");
    fixture.admit("101", &third).expect("joined anew");
    for replaced in [&first, &second] {
        let error = fixture.admit("101", replaced).expect_err("replaced");
        assert!(matches!(error, Refused::Replaced { .. }), "{error}");
    }
    fixture.admit("101", &third).expect("what was replaced on purpose locks nobody out");
    assert_eq!(fixture.identities.guest(name("101")).expect("read").expect("known").generation, 3);
}

#[test]
fn a_guest_that_is_locked_or_forgotten_stays_out() {
    let fixture = Fixture::new();
    let shown = fixture.joined("101");
    let token = fixture.token("101");
    assert!(fixture.identities.lock(name("101"), "stolen").expect("locked"));
    assert!(!fixture.identities.lock(name("999"), "x").expect("nothing to lock"));
    let error = fixture.join("101", &token.secret).expect_err("locked");
    assert!(matches!(error, JoinRefused::Identity(Refused::Locked { .. })), "{error}");
    assert_eq!(fixture.identities.guests().expect("listed").len(), 1);
    fixture.identities.forget(name("101")).expect("forgotten");
    let error = fixture.admit("101", &shown).expect_err("unknown");
    assert!(matches!(error, Refused::Unknown { .. }), "{error}");
    assert_eq!(fixture.identities.guests().expect("listed").len(), 0);
}

#[test]
fn the_controllers_name_is_never_a_guests() {
    let fixture = Fixture::new();
    let identity = fixture.join("host", &fixture.token("host").secret).expect("joined");
    let text = identity.chain[0].as_slice();
    let (_, leaf) = x509_parser::parse_x509_certificate(text).expect("X.509");
    let usage = leaf.extended_key_usage().expect("one").expect("usage").value;
    assert!(usage.client_auth && !usage.server_auth);
    let names = &leaf.subject_alternative_name().expect("one").expect("names").value.general_names;
    assert_eq!(names.len(), 1, "the request's DNS name is not taken: {names:?}");

    let controller = fixture.identities.issue_controller().expect("issued");
    tls::IdentityCell::new(&controller.chain, &controller.key).expect("usable");
    let (_, leaf) = x509_parser::parse_x509_certificate(&controller.chain[0]).expect("X.509");
    let usage = leaf.extended_key_usage().expect("one").expect("usage").value;
    assert!(usage.server_auth && !usage.client_auth);
    let peer = tls::peer(&[CertificateDer::from(controller.chain[0].as_slice())]).expect("an identity");
    assert_eq!(peer.id.member, pinion_proto::id::Member::Controller);
    assert_eq!(controller.not_after, fixture.clock.now() + Duration::from_secs(30 * 24 * 3600));
}

#[test]
fn a_bad_request_spends_the_token_and_gives_nothing() {
    let fixture = Fixture::new();
    let token = fixture.token("101");
    let bad = JoinRequest {
        guest: name("101"),
        secret: token.secret.clone(),
        csr: vec![0x30, 0],
        facts: GuestFacts::default(),
    };
    let error = fixture.identities.join(&bad, fixture.clock.now()).expect_err("no request");
    assert!(matches!(error, JoinRefused::Sign(_)), "{error}");
    assert_eq!(fixture.identities.guest(name("101")).expect("read"), None);
    fixture.join("101", &token.secret).expect_err("spent");
}

#[test]
fn the_trust_domain_stays_what_it_was() {
    let fixture = Fixture::new();
    let domain = fixture.identities.trust_domain().clone();
    let (directory, clock) = (fixture.directory, fixture.clock);
    drop(fixture.identities);
    assert_eq!(*open(&directory, clock.clone(), Some(&domain)).expect("the same").trust_domain(), domain);
    let error = open(&directory, clock, Some(&"x.pinion".parse().expect("a domain"))).expect_err("another");
    assert!(error.to_string().contains("x.pinion"), "{error}");
}

#[test]
fn without_quorum_no_token_is_made_no_identity_given_and_nobody_cut_off() {
    let (fixture, files) = on_pmxcfs(Arc::new(NoMachines));
    let joined = fixture.joined("101");
    let token = fixture.token("102");
    let refusal = crate::store::pmxcfs::Refusal { errno: rustix::io::Errno::ACCESS, shows: false };
    files.refuse(Some(refusal));
    let error = fixture.identities.create_token(name("101"), Vec::new()).expect_err("no token");
    let text = pinion_proto::causes::chain(&error);
    assert!(text.contains("cannot be written (no quorum?)"), "{text}");
    fixture.join("102", &token.secret).expect_err("no identity");
    fixture.identities.renew(name("101"), &joined, &csr()).expect_err("no renewal");
    fixture.admit("101", &joined).expect("its link stays");
    assert_eq!(fixture.identities.guest(name("102")).expect("read"), None);
    files.refuse(None);
    fixture.join("102", &token.secret).expect("the token is still good");
    let renewed = fixture.renewed("101", &joined);
    fixture.admit("101", &renewed).expect("admitted");
}
