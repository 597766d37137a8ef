//! The plan as a whole: which guests are meant, in which order what is ordered, what is retired, and its words.

use pinion_proto::bundle::CertificateRequest;

use super::*;

#[test]
fn names_of_guests_are_resolved() {
    let mut world = World::healthy();
    let by_name = |name: &str| {
        manifest(&format!(
            r#"{{"version": 1, "certificates": [{{"name": "web", "common_name": "a.example",
                "placements": [{{"guest": "{name}", "recipe": "x"}}]}}]}}"#
        ))
    };
    world.inventory = Inventory::from_names([("gateway".to_owned(), 101.try_into().expect("a VMID"))].into());
    world.keeps(&by_name("gateway"));
    let lost = by_name("gatway");
    let planned = world.one(&lost);
    let Decision::Block(trouble) = &planned.decision else { panic!("blocked") };
    assert_eq!(trouble.cause, "this host knows no guest named gatway; did you mean `gateway`?");
    assert_eq!((planned.id(), planned.label()), (None, "web@gatway".to_owned()));
}

#[test]
fn a_guest_named_in_two_ways_is_one_guest() {
    let mut world = World::healthy();
    world.inventory = Inventory::from_names([("gateway".to_owned(), 101.try_into().expect("a VMID"))].into());
    let twice = manifest(
        r#"{"version": 1, "certificates": [{"name": "web", "common_name": "a.example", "placements": [
            {"guest": 101, "recipe": "x"}, {"guest": "gateway", "recipe": "y"}]}]}"#,
    );
    let plan = world.plan(&twice);
    let decisions: Vec<_> = plan.placements.iter().map(|planned| &planned.decision).collect();
    assert!(matches!(decisions.as_slice(), [Decision::Keep, Decision::Block(_)]), "{decisions:?}");
}

#[test]
fn what_the_manifest_does_not_name_is_retired() {
    let mut world = World::healthy();
    let mut other = world.held();
    other.certificate = "old".parse().expect("a name");
    world.report(other);
    assert_eq!(world.plan(&web("", "")).retired, [id("old@101")]);
    let nothing = manifest(r#"{"version": 1, "certificates": []}"#);
    assert_eq!(world.plan(&nothing).retired, [id("old@101"), id("web@101")]);
    world.reports.purged(id("old@101").guest, &id("old@101").certificate);
    assert!(world.plan(&web("", "")).retired.is_empty());
}

#[test]
fn orders_stand_by_urgency() {
    let mut world = World::linked();
    let three = manifest(
        r#"{"version": 1, "certificates": [{"name": "web", "common_name": "a.example", "placements": [
            {"guest": 101, "recipe": "x"}, {"guest": 102, "recipe": "x"}, {"guest": 103, "recipe": "x"}]}]}"#,
    );
    for (guest, left) in [("web@101", 9 * DAY), ("web@102", HOUR)] {
        let leaf = leaf(&world.key, &["a.example"], world.now - seconds(21 * DAY), world.now + seconds(left));
        world.reports.hello(id(guest).guest, vec![holding("web", 3, leaf)], world.now);
    }
    world.reports.link_up(id("web@103").guest, world.now);
    let plan = world.plan(&three);
    let labels: Vec<_> = plan.orders().iter().map(|(planned, _)| planned.label()).collect();
    assert_eq!(labels, ["web@103", "web@102", "web@101"]);
}

#[test]
fn a_plan_is_a_document_for_programs() {
    let world = World::linked();
    let json = serde_json::to_value(world.plan(&web("", ""))).expect("a document");
    assert_eq!(
        json.pointer("/placements/0"),
        Some(&serde_json::json!({
            "placement": "web@101", "certificate": "web", "guest": "101", "renew_at": null, "ordered": 1,
            "plan": {"decision": "order", "generation": 1, "step": "ask", "why": {"why": "missing"}, "expires": null},
        }))
    );
}

#[test]
fn a_decision_is_told_in_words() {
    let (mut world, web) = (World::linked(), web("", ""));
    let words = |world: &World| world.one(&web).decision.to_string();
    assert_eq!(words(&world), "order generation 1: nothing is held");
    world.report(world.held());
    assert_eq!(words(&world), "keep");
    world.report(world.due());
    world.reports.link_down(id("web@101").guest, world.now);
    let trouble = world.waits(&web);
    assert_eq!(words(&world), trouble.to_string());
    let purge = super::web("", r#", "purge": true"#);
    world.reports.link_up(id("web@101").guest, world.now);
    assert_eq!(world.one(&purge).decision.to_string(), "purge: the manifest says so");
}

#[test]
fn a_misfit_is_told_in_words() {
    let web = web("", "");
    let certificate = web.certificates.first().expect("one");
    let placement = certificate.placements.first().expect("one");
    let words = |progress: Progress| {
        let Progress::Requested(der) = progress else { panic!("a request") };
        let request = CertificateRequest::parse(&der).expect("a request");
        let leaf = certificate.content_at(placement);
        misfit(&request, *leaf.leaf().expect("a certificate")).map(|misfit| misfit.to_string())
    };
    let key = key();
    assert_eq!(words(request(&key, &["a.example"])), None);
    let other = words(request(&key, &["b.example"])).expect("other names");
    assert_eq!(other, "its names are not those that the manifest gives this placement");
    let named = words(request_as("b.example", &key, &["a.example"])).expect("another common name");
    assert!(named.contains("dns:a.example"), "{named}");
    let ed25519 = KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key");
    let kind = words(request(&ed25519, &["a.example"])).expect("another kind of key");
    assert!(kind.contains("ecdsa-p256"), "{kind}");
}

#[test]
fn a_guest_says_by_a_number_which_spec_its_report_is_about() {
    let mut world = World::linked();
    let (web, other) = (web("", ""), web("", r#", "requires_mount": "/mnt/pve/nfs""#));
    let revision = |world: &World, manifest: &Manifest| {
        let planned = world.one(manifest);
        assert_eq!(planned.revision(), planned.spec().revision(), "{}", planned.decision);
        planned.revision()
    };
    let first = revision(&world, &web);
    assert_ne!(first, revision(&world, &other));
    world.report(world.due());
    assert_eq!(first, revision(&world, &web), "an order changes nothing that lasts");
}

#[test]
fn what_is_attempted_is_named() {
    let (mut world, web) = (World::empty(), web("", ""));
    assert_eq!(world.waits(&web).attempt, "renew web@101");
    // The hypervisor's reason replaces cause and remedy, and what is attempted stays.
    let enrolment = Trouble {
        halt: Halt::Blocked,
        attempt: "enrol guest 101".into(),
        cause: "the guest has no init system that is known".into(),
        remedy: "install the agent by hand".into(),
        retry_at: None,
    };
    let guest = id("web@101").guest;
    world.reports.set_enrolment(guest, Some(enrolment.clone()));
    let expected = Trouble { attempt: "renew web@101".into(), ..enrolment.clone() };
    assert_eq!(world.one(&web).decision, Decision::Block(expected));
    let planned = world.one(&web);
    let seen = absent(&planned, &world.inventory, &world.reports, "see web@101 served".into());
    assert_eq!(seen, Some(Trouble { attempt: "see web@101 served".into(), ..enrolment }));
    world.reports.link_up(guest, world.now);
    assert_eq!(absent(&world.one(&web), &world.inventory, &world.reports, String::new()), None);
}
