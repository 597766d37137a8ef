//! A root takes another's place: where it has to be first, and until when the old one stays.

use std::slice::from_ref;

use pinion_proto::{bundle::RootCertificate, spec::PlainName};
use rcgen::{BasicConstraints, IsCa};

use super::*;
use crate::{issuer::IssuerRoots, planner::rollover::RootChange};

pub(super) fn root() -> RootCertificate {
    let mut parameters = CertificateParams::default();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    RootCertificate::parse(parameters.self_signed(&key()).expect("a root").der()).expect("a root")
}

fn issuer() -> PlainName {
    "embedded".parse().expect("a name")
}

/// The certificate `web` in guest 101, and the roots of its issuer in guests 101 and 102.
fn with_roots() -> Manifest {
    manifest(
        r#"{"version": 1, "certificates": [
            {"name": "web", "common_name": "a.example", "placements": [{"guest": 101, "recipe": "nginx"}]},
            {"name": "roots", "trust": true, "placements": [
                {"guest": 101, "recipe": "ca-certificates"}, {"guest": 102, "recipe": "ca-certificates"}]}]}"#,
    )
}

struct Rollover {
    world: World,
    old: RootCertificate,
    new: RootCertificate,
}

impl Rollover {
    /// Both guests are linked and have the old root; the certificate ends at it and is due.
    fn due() -> Self {
        let (old, new) = (root(), root());
        let mut it = Self { world: World::linked(), old: old.clone(), new };
        let now = it.world.now;
        it.world.reports.link_up(id("roots@102").guest, now);
        it.trusts("roots@101", from_ref(&old));
        it.trusts("roots@102", from_ref(&old));
        let mut due = it.world.due();
        due.held.as_mut().expect("held").root = Some(old.fingerprint());
        it.world.report(due);
        it
    }

    fn has(&mut self, current: &[&RootCertificate], former: &[&RootCertificate], signing: &RootCertificate) {
        let all = |roots: &[&RootCertificate]| roots.iter().copied().cloned().collect();
        let roots = IssuerRoots { current: all(current), former: all(former), signing: signing.fingerprint() };
        self.world.reports.set_roots(issuer(), roots);
    }

    /// A placement of roots reports that it has these.
    fn trusts(&mut self, placement: &str, roots: &[RootCertificate]) {
        let id = id(placement);
        let report = PlacementReport {
            stage: Stage::Served,
            roots: roots.iter().map(RootCertificate::fingerprint).collect(),
            ..PlacementReport::nothing(id.certificate)
        };
        self.world.reports.report(id.guest, report, self.world.now);
    }

    fn decision(&self, manifest: &Manifest, placement: &str) -> Decision {
        let plan = self.world.plan(manifest);
        let found = plan.placements.iter().find(|planned| planned.label() == placement);
        found.expect("in the manifest").decision.clone()
    }
}

#[test]
fn one_root_is_waited_for_by_nobody() {
    let mut it = Rollover::due();
    let (manifest, old) = (with_roots(), it.old.clone());
    let Decision::Wait(trouble) = it.decision(&manifest, "roots@101") else { panic!("its roots are not known") };
    assert!(trouble.cause.contains("embedded has not announced its roots yet"), "{trouble}");
    assert!(matches!(it.decision(&manifest, "web@101"), Decision::Order(_)));
    it.has(&[&old], &[], &old);
    it.trusts("roots@101", &[]);
    assert!(matches!(it.decision(&manifest, "web@101"), Decision::Order(_)), "where there is no other root");
    let change = RootChange { add: vec![old.fingerprint()], remove: vec![] };
    assert_eq!(it.decision(&manifest, "roots@101"), Decision::Trust(change));
    assert_eq!(it.decision(&manifest, "roots@102"), Decision::Keep);
    let (guest, now) = (id("roots@102").guest, it.world.now);
    it.world.reports.link_down(guest, now);
    assert_eq!(it.decision(&manifest, "roots@102"), Decision::Keep, "a guest that has them may be away");
}

#[test]
fn nothing_is_ordered_under_a_new_root_before_it_is_everywhere() {
    let mut it = Rollover::due();
    let (manifest, old, new) = (with_roots(), it.old.clone(), it.new.clone());
    it.has(&[&old, &new], &[], &old);
    assert!(matches!(it.decision(&manifest, "web@101"), Decision::Order(_)), "the old one still signs");
    assert!(matches!(it.decision(&manifest, "roots@102"), Decision::Trust(_)), "the new one is brought meanwhile");

    it.has(&[&old, &new], &[], &new);
    let Decision::Wait(trouble) = it.decision(&manifest, "web@101") else { panic!("it must wait") };
    assert!(trouble.cause.contains(&new.fingerprint().to_string()), "{trouble}");
    assert_eq!(trouble.attempt, "have web@101 signed by embedded");
    assert!(trouble.cause.ends_with("still missing at roots@101, roots@102"), "{trouble}");
    assert!(it.world.plan(&manifest).placements[0].waits_for_root, "nor is delivered what was signed by surprise");
    let notes = it.world.plan(&manifest).trust[&issuer()].notes(&issuer());
    assert!(
        notes.iter().any(|note| note.contains("Pinion orders nothing before that root is at roots@101, roots@102")),
        "{notes:?}"
    );

    let both = [old, new];
    it.trusts("roots@101", &both);
    assert!(matches!(it.decision(&manifest, "web@101"), Decision::Wait(_)), "one is still missing");
    it.trusts("roots@102", &both);
    assert!(matches!(it.decision(&manifest, "web@101"), Decision::Order(_)));
}

#[test]
fn nothing_expires_by_waiting_for_a_root() {
    let mut it = Rollover::due();
    let (manifest, old, new) = (with_roots(), it.old.clone(), it.new.clone());
    it.has(&[&old, &new], &[], &new);
    it.trusts("roots@101", &[old, new]);
    let now = it.world.now;
    it.world.reports.link_down(id("roots@102").guest, now);
    let Decision::Wait(trouble) = it.decision(&manifest, "web@101") else {
        panic!("it waits for a guest that is away")
    };
    assert!(trouble.remedy.contains("roots@102"), "{trouble}");
    // Due at two thirds of 30 days less a jitter; the rest is some ten days, and half of that is for waiting.
    let until = trouble.retry_at.expect("a moment");
    let end = it.world.now + seconds(9 * DAY);
    assert!(until < end - seconds(4 * DAY) && until > end - seconds(6 * DAY), "{until}");
    assert_eq!(it.world.plan(&manifest).wake_at, Some(until));
    it.world.now = until;
    assert!(matches!(it.decision(&manifest, "web@101"), Decision::Order(_)));

    // Who asks by hand has what serves until then, too; who has nothing waits for no guest that is away.
    it.world.now = now;
    it.world.reports.request_renewal(&id("web@101"));
    assert!(matches!(it.decision(&manifest, "web@101"), Decision::Wait(_)));
    it.world.report(PlacementReport::nothing(id("web@101").certificate));
    assert!(matches!(it.decision(&manifest, "web@101"), Decision::Order(_)));
}

#[test]
fn a_file_of_roots_beside_a_certificate_is_a_place_too() {
    let mut it = Rollover::due();
    let (old, new) = (it.old.clone(), it.new.clone());
    let manifest = manifest(
        r#"{"version": 1, "certificates": [
            {"name": "web", "common_name": "a.example", "placements": [{"guest": 101, "recipe": "nginx"}]},
            {"name": "docker", "common_name": "d.example", "placements": [{"guest": 102, "recipe": "docker"}]}]}"#,
    );
    let docker = |it: &mut Rollover, roots: &[&RootCertificate]| {
        let (from, until) = (it.world.now - seconds(DAY), it.world.now + seconds(29 * DAY));
        let mut report = holding("docker", 3, leaf(&it.world.key, &["d.example"], from, until));
        report.roots = roots.iter().map(|root| root.fingerprint()).collect();
        it.world.reports.report(id("docker@102").guest, report, it.world.now);
    };
    it.has(&[&old, &new], &[], &new);
    docker(&mut it, &[&old]);
    assert!(matches!(it.decision(&manifest, "web@101"), Decision::Wait(_)));
    docker(&mut it, &[&old, &new]);
    assert!(matches!(it.decision(&manifest, "web@101"), Decision::Order(_)));
    assert_eq!(it.world.plan(&manifest).placements[1].spec().roots.len(), 2);
}

#[test]
fn a_root_that_was_given_up_stays_until_no_certificate_ends_at_it() {
    let mut it = Rollover::due();
    let (manifest, old, new) = (with_roots(), it.old.clone(), it.new.clone());
    let both = [old.clone(), new.clone()];
    it.has(&[&new], &[&old], &new);
    it.trusts("roots@101", &both);
    it.trusts("roots@102", &both);
    assert_eq!(it.decision(&manifest, "roots@102"), Decision::Keep, "web@101 still ends at it");
    let notes = it.world.plan(&manifest).trust[&issuer()].notes(&issuer());
    assert!(notes.iter().any(|note| note.contains(&format!("no longer uses root {}", old.fingerprint()))), "{notes:?}");
    let mut renewed = it.world.held();
    renewed.held.as_mut().expect("held").root = None;
    it.world.report(renewed.clone());
    assert_eq!(it.decision(&manifest, "roots@102"), Decision::Keep, "an agent that does not say may need any");
    renewed.held.as_mut().expect("held").root = Some(new.fingerprint());
    it.world.report(renewed);
    let change = RootChange { add: vec![], remove: vec![old.fingerprint()] };
    assert_eq!(it.decision(&manifest, "roots@102"), Decision::Trust(change));
}

#[test]
fn roots_are_purged_as_certificates_are() {
    let mut it = Rollover::due();
    let old = it.old.clone();
    it.has(&[&old], &[], &old);
    let manifest = manifest(
        r#"{"version": 1, "certificates": [{"name": "roots", "trust": true,
            "placements": [{"guest": 101, "recipe": "ca-certificates", "purge": true}]}]}"#,
    );
    assert_eq!(it.decision(&manifest, "roots@101"), Decision::Purge);
    it.world.reports.purged(id("roots@101").guest, &id("roots@101").certificate);
    assert_eq!(it.decision(&manifest, "roots@101"), Decision::Keep);
}

/// Rollover with these certificates in guest 102, besides what both guests have.
fn holding_in_102(it: &mut Rollover, held: Held) {
    let report = PlacementReport { held: Some(held), ..PlacementReport::nothing("other".parse().expect("a name")) };
    it.world.reports.report(id("other@102").guest, report, it.world.now);
}

#[test]
fn what_ends_at_a_root_keeps_it_to_its_last_second_and_for_its_own_issuer_alone() {
    let now = at(NOW);
    let manifest = with_roots();
    for (signer, until, kept) in [
        ("embedded", now + seconds(1), Some(2)),
        ("embedded", now, Some(2)),
        ("embedded", now - seconds(1), Some(1)),
        ("step-ca", now + seconds(DAY), Some(1)),
    ] {
        let mut it = Rollover::due();
        let (old, new) = (it.old.clone(), it.new.clone());
        it.has(&[&new], &[&old], &new);
        let leaf = leaf(&it.world.key, &["o.example"], now - seconds(DAY), until);
        let mut held = holding("other", 1, leaf).held.expect("held");
        held.issuer = signer.parse().expect("a name");
        held.root = Some(old.fingerprint());
        holding_in_102(&mut it, held);
        let plan = it.world.plan(&manifest);
        let trust = plan.trust.get(&issuer()).expect("its roots are known");
        assert_eq!(trust.kept.get(&old.fingerprint()).copied(), kept, "{signer} {until}");
    }
}

#[test]
fn a_place_is_stuck_while_its_guest_is_away_or_it_needs_a_person() {
    let manifest = with_roots();
    let it = |change: &dyn Fn(&mut Rollover)| {
        let mut it = Rollover::due();
        let (old, new) = (it.old.clone(), it.new.clone());
        it.has(&[&old, &new], &[], &new);
        change(&mut it);
        it.world.plan(&manifest).trust[&issuer()].missing.iter().map(|missing| missing.stuck).collect::<Vec<_>>()
    };
    let troubled = |halt| {
        move |it: &mut Rollover| {
            let mut report = PlacementReport::nothing(id("roots@102").certificate);
            report.trouble = Some(Trouble {
                halt,
                attempt: String::new(),
                cause: String::new(),
                remedy: String::new(),
                retry_at: None,
            });
            report.roots = [it.old.fingerprint()].into();
            it.world.reports.report(id("roots@102").guest, report, it.world.now);
        }
    };
    assert_eq!(it(&|_| {}), [false, false]);
    assert_eq!(it(&troubled(Halt::Blocked)), [false, true]);
    assert_eq!(it(&troubled(Halt::Waiting)), [false, false]);
    assert_eq!(it(&|it| it.world.reports.link_down(id("roots@102").guest, at(NOW))), [false, true]);
}

#[test]
fn a_guest_that_is_away_is_waited_for_and_a_purge_is_no_place_of_a_root() {
    let mut it = Rollover::due();
    let (old, new) = (it.old.clone(), it.new.clone());
    it.has(&[&old, &new], &[], &new);
    let now = it.world.now;
    it.world.reports.link_down(id("roots@102").guest, now);
    let Decision::Wait(trouble) = it.decision(&with_roots(), "roots@102") else { panic!("its guest is away") };
    assert_eq!(trouble.attempt, "renew roots@102");
    let purged = manifest(
        r#"{"version": 1, "certificates": [{"name": "roots", "trust": true, "placements": [
            {"guest": 101, "recipe": "ca-certificates"}, {"guest": 102, "recipe": "ca-certificates", "purge": true}]}]}"#,
    );
    let places: Vec<_> =
        it.world.plan(&purged).trust[&issuer()].missing.iter().map(|missing| missing.placement.clone()).collect();
    assert_eq!(places, ["roots@101"]);
}

#[test]
fn many_places_are_counted_and_changes_are_told_in_words() {
    let placements = |count: u32| {
        let all: Vec<_> =
            (0..count).map(|n| format!(r#"{{"guest": {}, "recipe": "ca-certificates"}}"#, n + 101)).collect();
        manifest(&format!(
            r#"{{"version": 1, "certificates": [{{"name": "roots", "trust": true, "placements": [{}]}}]}}"#,
            all.join(",")
        ))
    };
    let mut it = Rollover::due();
    let (old, new) = (it.old.clone(), it.new.clone());
    it.has(&[&old, &new], &[], &new);
    let places = |count| it.world.plan(&placements(count)).trust[&issuer()].places();
    assert_eq!(places(5), "roots@101, roots@102, roots@103, roots@104, roots@105");
    assert_eq!(places(7), "roots@101, roots@102, roots@103, roots@104, roots@105 and 2 more");

    let (add, remove) = (vec![new.fingerprint()], vec![old.fingerprint()]);
    let (new, old) = (new.fingerprint(), old.fingerprint());
    let both = RootChange { add: add.clone(), remove: remove.clone() };
    assert_eq!(both.to_string(), format!("trust {new}; trust no longer {old}"));
    assert_eq!(RootChange { add, remove: vec![] }.to_string(), format!("trust {new}"));
    assert_eq!(RootChange { add: vec![], remove }.to_string(), format!("trust no longer {old}"));
    let Decision::Wait(trouble) = Rollover::due().decision(&with_roots(), "roots@101") else { panic!("not known") };
    assert_eq!(trouble.attempt, "install embedded's roots at roots@101");
}
