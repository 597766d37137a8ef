//! What is on its way over a restart, and what is left behind.

use pinion_proto::key::{KeyAlgorithm, KeyPolicy, Rotation};

use super::*;
use crate::{
    issuer::Issuers,
    reconcile::{
        resources::Resources,
        testing::{GuestKey, WEB, at, id, incoming, link, nothing, resources, world},
    },
};

const DAY: i64 = 86_400;

/// What was on its way when the controller stopped, by placement and generation.
fn restored(resources: &Resources, now: Timestamp) -> Vec<(String, u64)> {
    let found = Documents::new(resources.store.clone()).restore(&resources.events, now);
    let mut found: Vec<_> = found.iter().map(|(id, one)| (id.to_string(), one.delivery.generation)).collect();
    found.sort_unstable();
    found
}

fn documents(resources: &Resources) -> usize {
    resources.store.list(Area::Local, DIRECTORY).expect("a directory").len()
}

/// A disk on which these are on their way to `web@101`.
async fn kept(generations: &[u64]) -> (tempfile::TempDir, Resources) {
    let (directory, resources) = resources(Issuers::of([]));
    for generation in generations {
        let undelivered = GuestKey::new().undelivered(*generation, at(-60));
        Documents::new(resources.store.clone()).write(&id("web@101"), &undelivered).await;
    }
    (directory, resources)
}

#[tokio::test]
async fn of_a_placements_certificates_the_newest_is_on_its_way() {
    let one = |generation| vec![("web@101".to_owned(), generation)];
    let cases: [(&str, &[u64], i64, Vec<(String, u64)>); 6] = [
        ("nothing", &[], 0, vec![]),
        ("one", &[1], 0, one(1)),
        ("two", &[1, 2], 0, one(2)),
        ("two whose names are sorted otherwise", &[9, 10], 0, one(10)),
        ("in its last second", &[1], 30 * DAY - 60, one(1)),
        ("expired", &[1], 30 * DAY - 59, vec![]),
    ];
    for (what, generations, now, expected) in cases {
        let (_directory, resources) = kept(generations).await;
        assert_eq!(documents(&resources), generations.len(), "{what}");
        assert_eq!(restored(&resources, at(now)), expected, "{what}");
        assert_eq!(documents(&resources), expected.len(), "{what}: what nobody can use is removed");
        assert_eq!(restored(&resources, at(now)), expected, "{what}: at the start after");
    }
}

#[tokio::test]
async fn what_is_restored_is_what_was_signed() {
    let (_directory, resources) = resources(Issuers::of([]));
    let (documents, undelivered) = (Documents::new(resources.store.clone()), GuestKey::new().undelivered(7, at(-60)));
    documents.write(&id("web@101"), &undelivered).await;
    let restored = documents.restore(&resources.events, at(0));
    let restored = &restored[&id("web@101")];
    assert_eq!((&restored.delivery, &restored.common_name), (&undelivered.delivery, &undelivered.common_name));
    remove(&resources.store, &id("web@101"), 6);
    assert_eq!(documents.restore(&resources.events, at(0)).len(), 1, "another generation was removed");
    remove(&resources.store, &id("web@101"), 7);
    assert!(documents.restore(&resources.events, at(0)).is_empty());
}

#[tokio::test]
async fn a_document_that_is_not_what_it_should_be_is_not_delivered() {
    let changed = |from: &str, to: &str| {
        let (from, to) = (from.to_owned(), to.to_owned());
        move |text: String| text.replacen(&from, &to, 1)
    };
    let cases: [(&str, Box<dyn Fn(String) -> String>, usize, usize); 4] = [
        ("not JSON", Box::new(|_| "not JSON".to_owned()), 1, 1),
        ("a chain that is none", Box::new(changed("BEGIN CERTIFICATE", "BEGIN NOTHING")), 0, 0),
        ("another placement's", Box::new(changed("web@101", "web@102")), 0, 0),
        ("with a shared key that is not there", Box::new(changed(r#""shared":false"#, r#""shared":true"#)), 0, 0),
    ];
    for (what, change, told, left) in cases {
        let (_directory, resources) = kept(&[1]).await;
        let names = resources.store.list(Area::Local, DIRECTORY).expect("a directory");
        let path = resources.store.file(Area::Local, &format!("{DIRECTORY}/{}", names[0])).expect("a path");
        let text = std::fs::read_to_string(&path).expect("a document");
        let compact: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        std::fs::write(&path, change(compact.to_string())).expect("written");
        assert_eq!(restored(&resources, at(0)), [], "{what}");
        assert_eq!(resources.events.recent(usize::MAX, at(0)).len(), told, "{what}");
        assert_eq!(documents(&resources), left, "{what}");
    }
}

#[tokio::test]
async fn what_has_a_shared_key_is_restored_with_the_key_that_is_kept_and_no_other() {
    let (_directory, resources) = resources(Issuers::of([]));
    let web = id("web@101");
    let policy = KeyPolicy { algorithm: KeyAlgorithm::EcdsaP256, rotation: Rotation::Always };
    let (key, _) = shared_keys::make(&resources.store, &web.certificate, policy, None).expect("a key");
    let pkcs8 = key.to_pkcs8();
    let mut shared = GuestKey::of(&pkcs8).undelivered(1, at(-60));
    shared.delivery.shared_key = Some(pkcs8.clone());
    let documents = Documents::new(resources.store.clone());
    documents.write(&web, &shared).await;
    let restored = documents.restore(&resources.events, at(0));
    assert_eq!(restored[&web].delivery.shared_key, Some(pkcs8), "it is not in the document, and comes with it");
    // The certificate is for another key than the one that is kept by now.
    let mut other = GuestKey::new().undelivered(1, at(-60));
    other.delivery.shared_key = shared.delivery.shared_key.clone();
    documents.write(&web, &other).await;
    assert!(documents.restore(&resources.events, at(0)).is_empty());
}

#[test]
fn a_guest_that_waits_for_a_shared_key_makes_an_empty_request() {
    let key = GuestKey::new();
    let mut shared = key.undelivered(1, at(-60));
    shared.delivery.shared_key = Some(Zeroizing::new(vec![1]));
    let own = key.undelivered(1, at(-60));
    for (what, request, answered) in [
        ("an empty request", Progress::Requested(Vec::new()), [true, false]),
        ("one with a key", key.request(), [false, true]),
        ("no request", Progress::Delivered, [false, false]),
    ] {
        let mut world = world(WEB);
        link(&mut world, "101", vec![incoming(nothing("web"), 1, request)]);
        let entry = world.placement(&id("web@101"));
        assert_eq!([shared.answers(entry), own.answers(entry)], answered, "{what}");
    }
}
