//! What a user relies on: one token, one join; one guest, one agent; and never the controller's name for a guest.

use std::sync::{
    Mutex,
    atomic::{AtomicI64, Ordering},
};
use std::{future::Future, pin::Pin, time::Duration};

use pinion_proto::{hwaddr::HwAddr, message::JoinSecret, report::GuestFacts, tls};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::CertificateDer;
use tempfile::TempDir;
use zeroize::Zeroizing;

use super::*;

/// A clock whose hands the test moves.
#[derive(Debug)]
struct Hands(AtomicI64);

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix(self.0.load(Ordering::SeqCst))
    }

    fn sleep_until(&self, _: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {})
    }
}

struct Fixture {
    directory: TempDir,
    clock: Arc<Hands>,
    identities: Identities,
}

mod borders;
mod handover;
mod state;

use state::copy;

impl Fixture {
    fn new() -> Self {
        let directory = TempDir::new().expect("a directory");
        let clock = Arc::new(Hands(AtomicI64::new(1_800_000_000)));
        let identities = open(&directory, clock.clone(), None).expect("identities");
        Self { directory, clock, identities }
    }

    fn restarted(self) -> Self {
        let Self { directory, clock, identities } = self;
        drop(identities);
        let identities = open(&directory, clock.clone(), None).expect("identities");
        Self { directory, clock, identities }
    }

    fn token(&self, guest: &str) -> JoinToken {
        self.identities.create_token(name(guest), vec!["127.0.0.1:7443".parse().expect("an address")]).expect("a token")
    }

    fn join(&self, guest: &str, secret: &JoinSecret) -> Result<IssuedIdentity, JoinRefused> {
        let facts = GuestFacts { hostname: "docker".into(), ..GuestFacts::default() };
        let request = JoinRequest { guest: name(guest), secret: secret.clone(), csr: csr(), facts };
        self.identities.join(&request, self.clock.now())
    }

    fn joined(&self, guest: &str) -> Peer {
        peer(&self.join(guest, &self.token(guest).secret).expect("joined"))
    }

    fn renewed(&self, guest: &str, shown: &Peer) -> Peer {
        peer(&self.identities.renew(name(guest), shown, &csr()).expect("renewed"))
    }

    fn admit(&self, guest: &str, shown: &Peer) -> Result<(), Refused> {
        let facts = GuestFacts::default();
        let caller = Caller { facts: &facts, from: "127.0.0.1:1".parse().expect("an address") };
        self.identities.admit(name(guest), shown, caller)
    }

    /// What the shared area has now, as a backup.
    fn backup(&self) -> TempDir {
        let backup = TempDir::new().expect("a directory");
        copy(&self.directory.path().join("shared"), &backup.path().join("shared"));
        backup
    }

    /// The shared area as the backup has it.
    fn restored(self, backup: &TempDir) -> Self {
        let shared = self.directory.path().join("shared");
        std::fs::remove_dir_all(&shared).expect("removed");
        copy(&backup.path().join("shared"), &shared);
        self.restarted()
    }

    fn later(&self, by: Duration) {
        self.clock.0.fetch_add(i64::try_from(by.as_secs()).expect("a while"), Ordering::SeqCst);
    }
}

fn open(directory: &TempDir, clock: Arc<Hands>, domain: Option<&TrustDomain>) -> Result<Identities, IdentityError> {
    let store = Store::open(&directory.path().join("local"), &directory.path().join("shared")).expect("a store");
    Identities::open(&Arc::new(store), clock, domain, Arc::new(NoMachines))
}

fn name(guest: &str) -> Guest {
    guest.parse().expect("a guest")
}

fn csr() -> Vec<u8> {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new([tls::CONTROLLER_NAME.to_owned()]).expect("params");
    params.serialize_request(&key).expect("a request").der().to_vec()
}

fn peer(identity: &IssuedIdentity) -> Peer {
    tls::peer(&[CertificateDer::from(identity.chain[0].as_slice())]).expect("an identity")
}

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

/// Identities on files that are as pmxcfs.
fn on_pmxcfs(machines: Arc<dyn Machines>) -> (Fixture, Arc<crate::store::pmxcfs::Pmxcfs>) {
    let directory = TempDir::new().expect("a directory");
    let clock = Arc::new(Hands(AtomicI64::new(1_800_000_000)));
    let files = Arc::new(crate::store::pmxcfs::Pmxcfs::default());
    let paths = (directory.path().join("local"), directory.path().join("shared"));
    let store = Store::open_on(&paths.0, &paths.1, files.clone()).expect("a store");
    let identities = Identities::open(&Arc::new(store), clock.clone(), None, machines).expect("identities");
    (Fixture { directory, clock, identities }, files)
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

/// The hypervisor gave each guest the network card with its number.
#[derive(Debug, Clone, Default)]
struct Cards {
    /// Guest 101's.
    vmgenid: Arc<Mutex<Option<String>>>,
    /// What it says of everyone, instead of by their cards.
    whose: Arc<Mutex<Option<Whose>>>,
}

impl Machines for Cards {
    fn whose(&self, claimed: Guest, facts: &GuestFacts) -> Whose {
        if let Some(whose) = *self.whose.lock().expect("unpoisoned") {
            return whose;
        }
        let hwaddrs = &facts.hwaddrs;
        let of = |guest: Guest| card(&guest.to_string());
        if hwaddrs.contains(&of(claimed)) {
            return Whose::Its;
        }
        match ["101", "102"].map(name).into_iter().find(|guest| hwaddrs.contains(&of(*guest))) {
            Some(Guest::Vmid(vmid)) => Whose::Anothers(vmid),
            _ if hwaddrs.contains(&of(name("999"))) => Whose::Strange,
            _ => Whose::Nobodys,
        }
    }

    fn vmgenid(&self, guest: Guest) -> Option<String> {
        self.vmgenid.lock().expect("unpoisoned").clone().filter(|_| guest == name("101"))
    }
}

fn card(guest: &str) -> HwAddr {
    HwAddr::parse(&format!("bc:24:11:00:0{}:{}", &guest[..1], &guest[1..])).expect("an address")
}

fn machine(cards: &[&str], boot: &str) -> GuestFacts {
    GuestFacts {
        hostname: "gateway".into(),
        boot_id: boot.into(),
        hwaddrs: cards.iter().map(|guest| card(guest)).collect(),
        ..GuestFacts::default()
    }
}

impl Fixture {
    fn with_cards() -> Self {
        Self::with_machines(Cards::default())
    }

    fn with_machines(cards: Cards) -> Self {
        let Self { directory, clock, identities } = Self::new();
        drop(identities);
        let store = Store::open(&directory.path().join("local"), &directory.path().join("shared")).expect("a store");
        let identities = Identities::open(&Arc::new(store), clock.clone(), None, Arc::new(cards)).expect("identities");
        Self { directory, clock, identities }
    }

    fn links(&self, guest: &str, shown: &Peer, facts: &GuestFacts) -> Result<(), Refused> {
        let caller = Caller { facts, from: "10.0.0.101:40000".parse().expect("an address") };
        self.identities.admit(name(guest), shown, caller)
    }

    fn lock(&self, guest: &str) -> Option<String> {
        self.identities.guest(name(guest)).expect("readable").expect("known").locked
    }
}

#[test]
fn a_copy_never_speaks_as_the_original_and_leaves_it_undisturbed() {
    let fixture = Fixture::with_cards();
    let shown = fixture.joined("101");
    fixture.links("101", &shown, &machine(&["101"], "a/1")).expect("the original");
    let refused = fixture.links("101", &shown, &machine(&["102"], "b/1")).expect_err("its copy");
    assert!(matches!(refused, Refused::Copy { really, .. } if really.number() == 102), "{refused}");
    assert_eq!(fixture.lock("101"), None);
    fixture.links("101", &shown, &machine(&["101"], "a/1")).expect("the original goes on");

    // A copy of long ago shows what was renewed since: that says nothing of the original either.
    let next = fixture.renewed("101", &shown);
    fixture.links("101", &next, &machine(&["101"], "a/1")).expect("renewed");
    fixture.links("101", &shown, &machine(&["102"], "b/2")).expect_err("its copy");
    assert_eq!(fixture.lock("101"), None);
}

#[test]
fn a_copy_that_the_hypervisor_has_not_listed_yet_is_sent_away_and_locks_nobody() {
    let fixture = Fixture::with_cards();
    let request = JoinRequest {
        guest: name("101"),
        secret: fixture.token("101").secret,
        csr: csr(),
        // One that the hypervisor knows, and one that the guest made up itself.
        facts: machine(&["101", "555"], "a/1"),
    };
    let shown = peer(&fixture.identities.join(&request, fixture.clock.now()).expect("joined"));
    for boot in ["b/1", "b/2"] {
        fixture.links("101", &shown, &machine(&["101"], "a/1")).expect("the original");
        let refused = fixture.links("101", &shown, &machine(&["999"], boot)).expect_err("a copy");
        assert!(matches!(refused, Refused::Strange { .. }), "{refused}");
    }
    assert_eq!(fixture.lock("101"), None);
    fixture.links("101", &shown, &machine(&["999", "555"], "a/1")).expect("its own card is enough");
}

#[test]
fn a_guest_that_was_rolled_back_has_to_join_again_and_is_not_locked() {
    let fixture = Fixture::with_cards();
    let before = fixture.joined("101");
    let after = fixture.renewed("101", &before);
    fixture.links("101", &after, &machine(&["101"], "a/1")).expect("renewed");
    let refused = fixture.links("101", &before, &machine(&["101"], "a/2")).expect_err("rolled back");
    assert!(matches!(refused, Refused::RolledBack { .. }), "{refused}");
    assert_eq!(fixture.lock("101"), None);
    let again = fixture.joined("101");
    fixture.links("101", &again, &machine(&["101"], "a/2")).expect("joined anew");
}

#[test]
fn a_machine_with_another_vmgenid_has_to_join_again() {
    let cards = Cards::default();
    let fixture = Fixture::with_machines(cards.clone());
    let genid = |text: &str| *cards.vmgenid.lock().expect("unpoisoned") = Some(text.to_owned());
    let (shown, other) = (fixture.joined("101"), fixture.joined("102"));
    let (one, two) = (machine(&["101"], "a/1"), machine(&["102"], "b/1"));
    genid("before");
    fixture.links("101", &shown, &one).expect("it is known from now on");
    fixture.links("101", &shown, &one).expect("the same machine");
    genid("after");
    let refused = fixture.links("101", &shown, &one).expect_err("rolled back");
    assert!(matches!(refused, Refused::MachineChanged { .. }), "{refused}");
    // Rolled forward again, the hypervisor makes another one; the identity stays out whatever comes.
    genid("before");
    let refused = fixture.links("101", &shown, &one).expect_err("not trusted any more");
    assert!(matches!(refused, Refused::RolledBack { .. }), "{refused}");
    assert_eq!(fixture.lock("101"), None);
    fixture.links("102", &other, &two).expect("others are not concerned");
    genid("now");
    let again = fixture.joined("101");
    fixture.links("101", &again, &one).expect("joined as the machine that it is now");
    fixture.links("101", &shown, &one).expect_err("the old one stays out");
}

#[test]
fn an_identity_that_is_given_up_stays_out_until_the_guest_joins() {
    let fixture = Fixture::with_cards();
    let (shown, other) = (fixture.joined("101"), fixture.joined("102"));
    let next = fixture.renewed("101", &shown);
    fixture.identities.distrust(name("101")).expect("given up");
    fixture.identities.distrust(name("999")).expect("nothing to give up");
    for given in [&shown, &next] {
        let refused = fixture.links("101", given, &machine(&["101"], "a/1")).expect_err("given up");
        assert!(matches!(refused, Refused::RolledBack { .. }), "{refused}");
    }
    fixture.identities.unlock(name("101")).expect("unlocked");
    let again = fixture.joined("101");
    fixture.links("101", &again, &machine(&["101"], "a/1")).expect("joined anew");
    fixture.links("102", &other, &machine(&["102"], "b/1")).expect("others are not concerned");
}

#[test]
fn what_is_decided_against_a_guest_holds_while_it_cannot_be_written_and_is_written_later() {
    let refusal = crate::store::pmxcfs::Refusal { errno: rustix::io::Errno::ACCESS, shows: false };
    let (fixture, files) = on_pmxcfs(Arc::new(Cards::default()));
    let (given_up, locked, other) = (fixture.joined("101"), fixture.joined("102"), fixture.joined("103"));
    files.refuse(Some(refusal));
    fixture.identities.distrust(name("101")).expect_err("it cannot be written");
    fixture.identities.lock(name("102"), "there are two of it").expect_err("it cannot be written");
    // However often it dials.
    for boot in ["a/1", "a/2", "a/3", "a/4"] {
        let refused = fixture.links("101", &given_up, &machine(&["101"], boot)).expect_err("given up");
        assert!(matches!(refused, Refused::RolledBack { .. }), "{refused}");
        let refused = fixture.links("102", &locked, &machine(&["102"], boot)).expect_err("locked");
        assert!(matches!(refused, Refused::Locked { .. }), "{refused}");
    }
    assert!(fixture.lock("102").is_some(), "and it is told");
    fixture.links("103", &other, &machine(&[], "c/1")).expect("others are not concerned");

    files.refuse(None);
    fixture.identities.catch_up();
    let fixture = fixture.restarted();
    fixture.admit("101", &given_up).expect_err("given up for good");
    assert!(matches!(fixture.admit("102", &locked), Err(Refused::Locked { .. })));
    fixture.admit("103", &other).expect("others are not concerned");
}

#[test]
fn whoever_joins_anew_is_not_held_to_what_was_decided_before() {
    let refusal = crate::store::pmxcfs::Refusal { errno: rustix::io::Errno::ACCESS, shows: false };
    let (fixture, files) = on_pmxcfs(Arc::new(Cards::default()));
    let given_up = fixture.joined("101");
    files.refuse(Some(refusal));
    fixture.identities.distrust(name("101")).expect_err("it cannot be written");
    files.refuse(None);
    let again = fixture.joined("101");
    fixture.links("101", &again, &machine(&["101"], "a/1")).expect("joined anew");
    fixture.identities.catch_up();
    fixture.links("101", &again, &machine(&["101"], "a/1")).expect("and stays");
    fixture.links("101", &given_up, &machine(&["101"], "a/1")).expect_err("given up");
}

#[test]
fn where_nobody_knows_the_cards_a_stale_identity_locks_the_guest() {
    let fixture = Fixture::with_cards();
    let before = fixture.joined("101");
    let after = fixture.renewed("101", &before);
    fixture.links("101", &after, &machine(&[], "a/1")).expect("renewed");
    let refused = fixture.links("101", &before, &machine(&[], "b/1")).expect_err("stale");
    assert!(matches!(refused, Refused::Stale { .. }), "{refused}");
    assert!(fixture.lock("101").is_some());
}

#[test]
fn two_live_holders_of_one_identity_lock_that_guest_alone_and_are_named() {
    let fixture = Fixture::with_cards();
    let (shown, other) = (fixture.joined("101"), fixture.joined("102"));
    let (one, two) = (machine(&["101"], "a/1"), machine(&["101"], "b/1"));
    fixture.links("101", &shown, &one).expect("the first");
    // A guest that was started anew: nothing tells it from a second one yet.
    fixture.links("101", &shown, &two).expect("the second");
    fixture.links("101", &shown, &two).expect("it dials again");
    let refused = fixture.links("101", &shown, &one).expect_err("the first is not over");
    assert!(matches!(refused, Refused::Twins { .. }), "{refused}");
    assert!(refused.to_string().matches("gateway at 10.0.0.101").count() == 2, "{refused}");
    assert!(fixture.lock("101").is_some());
    fixture.links("101", &shown, &two).expect_err("locked");
    fixture.links("102", &other, &machine(&["102"], "c/1")).expect("others are not");

    fixture.identities.unlock(name("101")).expect("unlocked");
    let again = fixture.joined("101");
    fixture.links("101", &again, &one).expect("the one that joined");
    fixture.links("101", &shown, &two).expect_err("the other is out");
}

#[test]
fn before_the_hypervisor_tells_only_the_guest_as_it_joined_is_let_in_and_nothing_is_decided() {
    let whose = Arc::new(Mutex::new(Some(Whose::Unknown)));
    let fixture = Fixture::with_machines(Cards { whose: whose.clone(), ..Cards::default() });
    let (own, clone) = (machine(&["101"], "a"), machine(&["999"], "b"));
    let (secret, facts) = (fixture.token("101").secret, own.clone());
    let request = JoinRequest { guest: name("101"), secret, csr: csr(), facts };
    let first = peer(&fixture.identities.join(&request, fixture.clock.now()).expect("joined"));
    fixture.links("101", &first, &own).expect("its own cards");
    let refused = fixture.links("101", &first, &clone).expect_err("cards that it did not join with");
    assert!(matches!(refused, Refused::NotKnownYet { .. }), "{refused}");
    // Two that show one identity in turns, and one that was renewed away: who is who is decided later.
    let other = machine(&["101"], "c");
    for facts in [&other, &own, &other] {
        fixture.links("101", &first, facts).expect("nobody can tell yet");
    }
    let renewed = fixture.renewed("101", &first);
    fixture.links("101", &renewed, &own).expect("the newer one");
    let refused = fixture.links("101", &first, &own).expect_err("it was renewed away");
    assert!(matches!(refused, Refused::NotKnownYet { .. }), "{refused}");
    let record = fixture.identities.guest(name("101")).expect("read").expect("a record");
    assert_eq!(record.locked, None);
    *whose.lock().expect("unpoisoned") = Some(Whose::Alike(120.try_into().expect("a VMID")));
    let refused = fixture.links("101", &renewed, &own).expect_err("it may be another guest");
    assert!(
        matches!(refused, Refused::Alike { .. }) && refused.to_string().contains("guests 101 and 120"),
        "{refused}"
    );
    *whose.lock().expect("unpoisoned") = None;
    fixture.links("101", &renewed, &own).expect("now it is known");
}

/// Counts on whose account guests were looked into.
#[derive(Debug, Default)]
struct Looks(AtomicI64);

impl Machines for Looks {
    fn whose(&self, _: Guest, _: &GuestFacts) -> Whose {
        self.0.fetch_add(1, Ordering::SeqCst);
        Whose::Nobodys
    }

    fn whose_by_now(&self, _: Guest, _: &GuestFacts) -> Whose {
        Whose::Nobodys
    }

    fn vmgenid(&self, _: Guest) -> Option<String> {
        None
    }
}

#[test]
fn guests_are_looked_into_only_for_an_identity_that_is_on_record() {
    let mut fixture = Fixture::new();
    let looks = Arc::new(Looks::default());
    fixture.identities.machines = looks.clone();
    let asked = |fixture: &Fixture, peer: &Peer| {
        let before = looks.0.load(Ordering::SeqCst);
        let admitted = fixture.admit("101", peer);
        (admitted.is_ok(), looks.0.load(Ordering::SeqCst) - before)
    };
    let replaced = fixture.joined("101");
    let good = fixture.joined("101");
    assert_eq!(asked(&fixture, &replaced), (false, 0));
    assert_eq!(asked(&fixture, &good), (true, 1));
    fixture.identities.distrust(name("101")).expect("written");
    assert_eq!(asked(&fixture, &good), (false, 1), "given up, and known for what it is");
    fixture.identities.forget(name("101")).expect("forgotten");
    assert_eq!(asked(&fixture, &good), (false, 0));
}
