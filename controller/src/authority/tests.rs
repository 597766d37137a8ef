//! What a verifier relies on: whose key, for how long, for what.

use rcgen::{KeyPair, RsaKeySize};
use x509_parser::prelude::*;

use super::*;

const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);
const DAY: Duration = Duration::from_secs(86_400);

pub(super) fn fixture() -> (tempfile::TempDir, Store, Authority) {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Store::open(&directory.path().join("l"), &directory.path().join("s")).expect("a store");
    let authority = Authority::load_or_make(&store, "ca", "Test CA", none, NOW).expect("an authority");
    (directory, store, authority)
}

fn none() -> Result<Traces, StoreError> {
    Ok(Traces::default())
}

fn csr(key: &KeyPair) -> Vec<u8> {
    CertificateParams::default().serialize_request(key).expect("a request").der().to_vec()
}

fn profile<'a>(common_name: &'a str, names: &'a [SubjectName], duration: Duration) -> Profile<'a> {
    const BOTH: [ExtendedKeyUsagePurpose; 2] =
        [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    Profile { common_name: Some(common_name), names: names.iter().collect(), usages: &BOTH, duration }
}

#[test]
fn a_leaf_says_what_it_is_for_and_no_more() {
    let (_directory, _store, authority) = fixture();
    let names = ["a.example".parse().expect("a name")];
    let key = KeyPair::generate().expect("a key");
    let leaf = authority.sign(&csr(&key), profile("a.example", &names, DAY), NOW).expect("signed");
    let (_, parsed) = parse_x509_certificate(leaf.der()).expect("X.509");
    assert_eq!(parsed.basic_constraints().expect("one").map(|bc| bc.value.ca), Some(false));
    let usage = parsed.key_usage().expect("one").expect("key usage").value;
    assert!(usage.digital_signature() && !usage.key_encipherment() && !usage.key_cert_sign());
    let extended = parsed.extended_key_usage().expect("one").expect("extended key usage").value;
    assert!(extended.server_auth && extended.client_auth && !extended.any);
    let found = |oid: &str| parsed.extensions().iter().any(|extension| extension.oid.to_id_string() == oid);
    assert!(found("2.5.29.14") && found("2.5.29.35"), "subject and authority key identifiers");
    assert_eq!(parsed.subject().to_string(), "CN=a.example");
    assert_eq!(leaf.not_before(), NOW - Duration::from_secs(60));
    assert_eq!(leaf.not_after(), NOW + DAY);
    assert!(parsed.raw_serial().len() == 20 && parsed.raw_serial()[0] < 0x80, "positive, 20 octets");
    let rsa = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048).expect("a key");
    let leaf = authority.sign(&csr(&rsa), profile("a.example", &names, DAY), NOW).expect("signed");
    let (_, parsed) = parse_x509_certificate(leaf.der()).expect("X.509");
    assert!(parsed.key_usage().expect("one").expect("key usage").value.key_encipherment());
}

#[test]
fn a_common_name_that_is_too_long_is_left_out() {
    let (_directory, _store, authority) = fixture();
    let long = format!("{}.{}.example", "a".repeat(40), "b".repeat(40));
    let names = [long.parse().expect("a name")];
    let key = KeyPair::generate().expect("a key");
    let leaf = authority.sign(&csr(&key), profile(&long, &names, DAY), NOW).expect("signed");
    let (_, parsed) = parse_x509_certificate(leaf.der()).expect("X.509");
    assert_eq!(parsed.subject().to_string(), "");
    let san = parsed.subject_alternative_name().expect("one").expect("names");
    assert!(san.critical, "RFC 5280 section 4.2.1.6: critical when the subject is empty");
}

#[test]
fn nothing_outlives_the_root() {
    let (_directory, store, authority) = fixture();
    let names = ["a.example".parse().expect("a name")];
    let key = KeyPair::generate().expect("a key");
    let late = authority.expires() - DAY;
    let leaf = authority.sign(&csr(&key), profile("a.example", &names, 30 * DAY), late).expect("signed");
    assert_eq!(leaf.not_after(), authority.expires());
    let after = authority.expires() + DAY;
    let error = authority.sign(&csr(&key), profile("a.example", &names, DAY), after).expect_err("expired");
    assert!(matches!(error, AuthorityError::RootExpired(_)), "{error}");
    let again = Authority::load_or_make(&store, "ca", "Test CA", none, after).expect("the same");
    assert_eq!(again.root(), authority.root(), "an expired root is not replaced in silence");
}

#[test]
fn the_key_is_not_shown_and_a_foreign_key_is_noticed() {
    let (_directory, store, authority) = fixture();
    assert!(!format!("{authority:?}").contains("key"), "{authority:?}");
    Authority::load_or_make(&store, "other", "Other CA", none, NOW).expect("another");
    let mut mixed = store.read::<Document>(Area::Shared, "ca").expect("read").expect("there");
    mixed.key = store.read::<Document>(Area::Shared, "other").expect("read").expect("there").key;
    store.write(Area::Shared, "ca", &mixed).expect("written");
    let error = Authority::load_or_make(&store, "ca", "Test CA", none, NOW).expect_err("mixed").to_string();
    assert!(error.contains("its key does not belong to its certificate") && error.contains("restore"), "{error}");
}

#[test]
fn one_that_was_there_is_not_made_anew_and_another_one_is_not_taken_for_it() {
    let (directory, store, authority) = fixture();
    let (shared, root) = (directory.path().join("s/ca.json"), authority.root().fingerprint());
    let bytes = std::fs::read(&shared).expect("there");
    std::fs::remove_file(&shared).expect("removed");
    // While this controller runs, nothing is made in its place.
    let error = store.write(Area::Shared, "guests/101", &1).expect_err("it is not whole").to_string();
    assert!(error.contains("s/ca.json is gone"), "{error}");
    let reopen = |store: Store| {
        drop(store);
        Store::open(&directory.path().join("l"), &directory.path().join("s")).expect("a store")
    };
    let store = reopen(store);
    let error = Authority::load_or_make(&store, "ca", "Test CA", none, NOW).expect_err("lost").to_string();
    assert!(error.contains("s/ca.json is gone") && error.contains(&root.to_string()), "{error}");
    assert!(!shared.exists(), "nothing was made");

    // Nor where all of the directory is gone: whoever restores it finds the place empty.
    std::fs::remove_dir_all(directory.path().join("s")).expect("removed");
    let store = reopen(store);
    assert!(!directory.path().join("s").exists());
    Authority::load_or_make(&store, "ca", "Test CA", none, NOW).expect_err("lost");
    std::fs::create_dir(directory.path().join("s")).expect("made");
    std::fs::write(&shared, &bytes).expect("restored");
    let store = reopen(store);
    let restored = Authority::load_or_make(&store, "ca", "Test CA", none, NOW).expect("restored");
    assert_eq!(restored.root(), authority.root());

    // Another installation's.
    Authority::load_or_make(&store, "other", "Other CA", none, NOW).expect("another");
    std::fs::copy(directory.path().join("s/other.json"), &shared).expect("copied");
    let error = Authority::load_or_make(&store, "ca", "Test CA", none, NOW).expect_err("another").to_string();
    assert!(error.contains("another installation") && error.contains(&root.to_string()), "{error}");
    std::fs::write(&shared, &bytes).expect("restored");

    // What is local is lost: the root is noted again.
    std::fs::remove_dir_all(directory.path().join("l/authorities")).expect("removed");
    Authority::load_or_make(&store, "ca", "Test CA", none, NOW).expect("there");
    assert!(directory.path().join("l/authorities/ca.json").exists());
}

#[test]
fn any_trace_of_an_authority_keeps_another_from_being_made() {
    let (_directory, store, authority) = fixture();
    let pinned = Some((authority.root().fingerprint(), "/etc/pinion/identity-root".into()));
    let of_use = Some("17 guests have identities under it".to_owned());
    for traces in [Traces { pinned, of_use: None }, Traces { pinned: None, of_use }] {
        let error = Authority::load_or_make(&store, "new", "Test CA", || Ok(traces), NOW).expect_err("lost");
        assert!(matches!(error, AuthorityError::Lost { .. }), "{error}");
    }
    assert_eq!(store.read::<serde_json::Value>(Area::Shared, "new").expect("read"), None);
}

#[test]
fn a_root_can_have_one_authority_below_it() {
    let (_directory, _store, authority) = fixture();
    let (_, parsed) = parse_x509_certificate(authority.root().der()).expect("X.509");
    let constraints = parsed.basic_constraints().expect("one").expect("basic constraints").value;
    assert_eq!((constraints.ca, constraints.path_len_constraint), (true, Some(1)));
}
