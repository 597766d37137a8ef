//! What is there already is adopted, or it is said why not.

use pinion_proto::{
    bundle::{Fingerprint, RootCertificate},
    report::{Found, FoundPair, Original},
    spec::AdoptionDecision,
};

use super::{rollover::root, *};
use crate::issuer::IssuerRoots;

/// Guest 101 with a good pair of 30 days, of which 20 are left, by an issuer whose root is known.
struct Takeover {
    world: World,
    root: RootCertificate,
}

impl Takeover {
    fn new() -> Self {
        let mut it = Self { world: World::linked(), root: root() };
        it.know_roots();
        let pair = it.pair(&["a.example"], 10, 20);
        it.found("web@101", pair);
        it
    }

    fn know_roots(&mut self) {
        let roots =
            IssuerRoots { current: vec![self.root.clone()], former: Vec::new(), signing: self.root.fingerprint() };
        self.world.reports.set_roots("embedded".parse().expect("a name"), roots);
    }

    /// A pair of the world's key, which began so many days ago and lasts so many more.
    fn pair(&self, names: &[&str], ago: u64, left: u64) -> FoundPair {
        let (from, until) = (self.world.now - seconds(ago * DAY), self.world.now + seconds(left * DAY));
        let leaf = leaf(&self.world.key, names, from, until);
        FoundPair { chain_ends: leaf.not_after(), root: self.root.fingerprint(), leaf }
    }

    fn report(&self, placement: &str) -> PlacementReport {
        let mut report = PlacementReport::nothing(id(placement).certificate);
        report.originals = vec![original(&self.world.key)];
        report
    }

    /// A guest has found this pair.
    fn found(&mut self, placement: &str, pair: FoundPair) {
        let mut report = self.report(placement);
        report.found = Some(Box::new(Found::Good(pair)));
        self.says(placement, report);
    }

    fn says(&mut self, placement: &str, report: PlacementReport) {
        let guest = id(placement).guest;
        self.world.reports.link_up(guest, self.world.now);
        self.world.reports.report(guest, report, self.world.now);
    }

    /// Guest 101 has adopted the pair.
    fn adopted(&mut self) {
        let pair = self.pair(&["a.example"], 10, 20);
        let mut report = holding("web", 1, pair.leaf);
        report.held.as_mut().expect("held").adopted = true;
        report.originals = vec![original(&self.world.key)];
        self.says("web@101", report);
    }

    fn told(&self, manifest: &Manifest) -> Option<AdoptionDecision> {
        self.world.one(manifest).spec().adoption.map(|adoption| adoption.decision)
    }

    #[track_caller]
    fn replaced_because(&self, manifest: &Manifest) -> String {
        assert_eq!(self.told(manifest), Some(AdoptionDecision::Replace));
        match self.world.order(manifest).why {
            Why::NotAdopted { because } => because,
            other => panic!("{other}"),
        }
    }
}

/// The file with a key.
fn original(key: &KeyPair) -> Original {
    Original {
        path: "/etc/nginx/ssl/a.key".parse().expect("a path"),
        subject: String::new(),
        issuer: String::new(),
        not_after: None,
        kept: None,
        key: Some(Fingerprint::of(&rcgen::PublicKeyData::subject_public_key_info(key))),
    }
}

#[test]
fn a_good_pair_is_adopted_under_the_next_number_and_then_kept_until_it_is_due() {
    let (mut it, web) = (Takeover::new(), web("", ""));
    let pair = it.pair(&["a.example"], 10, 20);
    it.found("web@101", pair.clone());
    let planned = it.world.one(&web);
    let Decision::Adopt(adopt) = &planned.decision else { panic!("{}", planned.decision) };
    assert_eq!((adopt.generation, adopt.serial.as_str()), (1, pair.leaf.serial()));
    assert_eq!(it.told(&web), Some(AdoptionDecision::Adopt(Fingerprint::of(pair.leaf.der()))));
    assert_eq!(planned.spec().ordered, Some(1));
    assert_eq!(planned.spec().adoption.expect("told").issuer.as_str(), "embedded");

    it.adopted();
    it.world.keeps(&web);
    assert_eq!(it.told(&web), None, "it is no question any more");
    assert_eq!(it.world.one(&web).renew_at, Some(adopt.renew_at));
    it.world.now = adopt.renew_at;
    assert!(matches!(it.world.order(&web).why, Why::Due { .. }));
}

#[test]
fn a_guest_that_has_said_nothing_is_asked_and_told_that_a_good_pair_is_to_wait() {
    let world = World::linked();
    let web = web("", "");
    assert_eq!(world.order(&web).why, Why::Missing);
    let decision = |manifest: &Manifest| world.one(manifest).spec().adoption.map(|adoption| adoption.decision);
    assert_eq!(decision(&web), Some(AdoptionDecision::Undecided));
    assert_eq!(decision(&self::web("", r#", "adopt": false"#)), Some(AdoptionDecision::Replace));
    assert_eq!(decision(&self::web(r#", "shared": true"#, "")), None);
}

#[test]
fn what_is_not_as_good_is_replaced_and_it_is_said_why() {
    let cases = [
        ("", r#", "adopt": false"#, (10, 20), "`\"adopt\": false`"),
        (r#", "sans": ["b.example"]"#, "", (10, 20), "names changed: +dns:b.example"),
        (r#", "key": {"algorithm": "ed25519"}"#, "", (10, 20), "key changed from ecdsa-p256 to ed25519"),
        ("", "", (22, 8), "due for renewal since"),
        ("", "", (10, 355), "it is valid for 365d, longer than the duration of 30d in the manifest"),
        (r#", "duration": "90d", "renew_before": "70d""#, "", (10, 20), "due for renewal since"),
    ];
    for (certificate, placement, (ago, left), why) in cases {
        let mut it = Takeover::new();
        let pair = it.pair(&["a.example"], ago, left);
        it.found("web@101", pair);
        let because = it.replaced_because(&web(certificate, placement));
        assert!(because.contains(why), "{why}: {because}");
    }
    // A CA that begins a minute early gives no more than was asked for.
    let mut it = Takeover::new();
    let (from, until) = (it.world.now - seconds(60), it.world.now + seconds(30 * DAY));
    let leaf = leaf(&it.world.key, &["a.example"], from, until);
    let pair = FoundPair { chain_ends: until, root: it.root.fingerprint(), leaf };
    it.found("web@101", pair.clone());
    assert!(matches!(it.world.one(&web("", "")).decision, Decision::Adopt(_)));
    // Its intermediate ends first.
    it.found("web@101", FoundPair { chain_ends: it.world.now + seconds(60), ..pair.clone() });
    assert!(matches!(it.world.one(&web("", "")).decision, Decision::Adopt(_)), "two thirds of that are ahead");
    it.found("web@101", FoundPair { root: Fingerprint::of(b"another"), ..pair });
    assert!(it.replaced_because(&web("", "")).contains("its root is none of embedded's"));
    // What only the guest can see.
    let mut report = it.report("web@101");
    report.found = Some(Box::new(Found::Unfit("the key is open to everybody".into())));
    it.says("web@101", report);
    assert_eq!(it.replaced_because(&web("", "")), "the key is open to everybody");
}

#[test]
fn a_renewal_that_is_asked_for_replaces_at_once() {
    let (mut it, web) = (Takeover::new(), web("", ""));
    it.world.reports.request_renewal(&id("web@101"));
    assert_eq!(it.replaced_because(&web), "a renewal was requested");
}

#[test]
fn a_key_that_is_in_two_places_is_adopted_in_none_and_given_up_where_it_was() {
    let web = manifest(
        r#"{"version": 1, "certificates": [
            {"name": "web", "common_name": "a.example", "placements": [{"guest": 101, "recipe": "nginx"}]},
            {"name": "other", "common_name": "b.example", "placements": [{"guest": 102, "recipe": "nginx"}]}]}"#,
    );
    let mut it = Takeover::new();
    let pair = it.pair(&["b.example"], 10, 20);
    it.found("other@102", pair.clone());
    let orders = |it: &Takeover| {
        let plan = it.world.plan(&web);
        plan.orders().iter().map(|(_, order)| order.why.to_string()).collect::<Vec<_>>()
    };
    let both = orders(&it);
    assert_eq!(both.len(), 2, "{both:?}");
    assert!(both[0].contains("its private key is also at") && both[1].contains("its private key is also at"));

    // One had it already when the other was found.
    it.adopted();
    let why = orders(&it);
    assert!(why.contains(&"its key was there before Pinion, and is also at other@102".to_owned()), "{why:?}");
    // The other one is replaced first; what was there is remembered.
    let mut replaced =
        holding("other", 1, leaf(&key(), &["b.example"], it.world.now, it.world.now + seconds(30 * DAY)));
    replaced.held.as_mut().expect("held").common_name = Some("b.example".parse().expect("a name"));
    replaced.originals = vec![original(&it.world.key)];
    it.says("other@102", replaced);
    assert_eq!(orders(&it), ["its key was there before Pinion, and is also at other@102"]);
    // With a key of its own it is as any other.
    let mut renewed = it.world.held();
    renewed.held.as_mut().expect("held").leaf =
        leaf(&key(), &["a.example"], it.world.now, it.world.now + seconds(30 * DAY));
    renewed.originals = vec![original(&it.world.key)];
    it.says("web@101", renewed);
    assert_eq!(orders(&it), Vec::<String>::new());
}

#[test]
fn the_issuers_roots_are_waited_for_only_where_something_is_there() {
    let (mut it, web) = (Takeover { world: World::linked(), root: root() }, web("", ""));
    assert_eq!(it.world.order(&web).why, Why::Missing);
    let report = it.report("web@101");
    it.says("web@101", report);
    let trouble = it.world.waits(&web);
    assert!(trouble.cause.contains("embedded has not announced its roots yet"), "{trouble}");
    assert_eq!(it.told(&web), Some(AdoptionDecision::Undecided));
    assert_eq!(it.world.order(&self::web("", r#", "adopt": false"#)).why, Why::Missing);
    it.know_roots();
    assert_eq!(it.world.order(&web).why, Why::Missing);
    // A request that was made before is answered.
    let request = with_incoming(it.report("web@101"), 1, request(&it.world.key, &["a.example"]));
    it.says("web@101", request);
    assert_eq!(it.world.order(&web).step, Step::Sign);
}

#[test]
fn what_was_asked_for_already_is_not_adopted_any_more() {
    let (mut it, web) = (Takeover::new(), web("", ""));
    let mut report = with_incoming(it.report("web@101"), 1, request(&key(), &["a.example"]));
    report.found = Some(Box::new(Found::Good(it.pair(&["a.example"], 10, 20))));
    it.says("web@101", report);
    assert_eq!(it.world.order(&web).step, Step::Sign);
}
