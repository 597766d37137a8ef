//! What a user relies on: the ordered names, the request's key, one root for years.

use std::{collections::BTreeMap, path::Path};

use pinion_proto::{
    clock::{SystemClock, Timestamp},
    names::{SubjectName, SubjectNames},
};
use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;

use super::*;
use crate::issuer::{IssuerConfig, Issuers};

fn issuers(directory: &Path) -> Issuers {
    let store = Store::open(&directory.join("local"), &directory.join("shared")).expect("a store");
    let config = BTreeMap::<PlainName, IssuerConfig>::new();
    Issuers::from_config(&config, &Arc::new(store), Arc::new(SystemClock), directory)
}

fn embedded() -> PlainName {
    "embedded".parse().expect("a name")
}

fn order(names: &[&str]) -> SigningRequest {
    let key = KeyPair::generate().expect("a key");
    // What the request asks for is nobody's business: names come from the manifest.
    let csr = CertificateParams::new(["evil.example".to_owned()]).expect("params").serialize_request(&key);
    let list: Vec<SubjectName> = names.iter().map(|name| name.parse().expect("a name")).collect();
    SigningRequest {
        placement: "docker@101".parse().expect("a placement"),
        csr: csr.expect("a request").der().to_vec(),
        common_name: list[0].clone(),
        names: SubjectNames::try_from(list).expect("names"),
        usage: None,
        duration: Duration::from_secs(30 * 24 * 3600),
    }
}

#[tokio::test]
async fn it_signs_without_configuration_and_keeps_its_root() {
    let directory = TempDir::new().expect("a directory");
    let names = ["a.example", "*.a.example", "10.0.0.1", "::1", "spiffe://a/b", "ops@a.example"];
    let mut roots = Vec::new();
    for _ in 0..2 {
        let issuers = issuers(directory.path());
        let order = order(&names);
        let signed = issuers.sign(&embedded(), order.clone(), None).await.expect("signed");
        assert_eq!(*signed.chain.leaf().names(), order.names);
        assert_eq!((signed.chain.intermediates().len(), signed.shortened_to), (0, None));
        let now = Timestamp::from_unix(SystemClock.now().unix());
        signed.chain.verify(&signed.root, now).expect("the chain holds");
        let life = signed.chain.leaf().not_after().since(now);
        assert!(life > order.duration - Duration::from_secs(60) && life <= order.duration, "{life:?}");
        let check = issuers.check(&embedded()).await.expect("checked");
        assert_eq!((check.kind.as_str(), check.root), ("embedded", Some(signed.root.fingerprint())));
        assert_eq!(check.warnings, Vec::<String>::new());
        roots.push(signed.root);
    }
    assert_eq!(roots[0], roots[1], "a restart makes no new root");
}

#[tokio::test]
async fn many_first_orders_make_one_root() {
    let directory = TempDir::new().expect("a directory");
    let issuers = Arc::new(issuers(directory.path()));
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let issuers = issuers.clone();
        calls.spawn(async move { issuers.sign(&embedded(), order(&["a.example"]), None).await });
    }
    let signed: Vec<_> = calls.join_all().await.into_iter().map(|signed| signed.expect("signed")).collect();
    assert!(signed.windows(2).all(|pair| pair[0].root == pair[1].root));
    let serials: std::collections::BTreeSet<_> = signed.iter().map(|signed| signed.chain.leaf().serial()).collect();
    assert_eq!(serials.len(), 20);
}

#[tokio::test]
async fn bad_requests_are_refused_and_a_damaged_root_is_never_replaced() {
    let directory = TempDir::new().expect("a directory");
    let issuers_before = issuers(directory.path());
    let mut bad = order(&["a.example"]);
    bad.csr.truncate(40);
    let error = issuers_before.sign(&embedded(), bad, None).await.expect_err("no request");
    assert!(matches!(error, IssuerError::Refused { .. }), "{error:?}");
    drop(issuers_before);

    let path = directory.path().join("shared/issuer-embedded.json");
    let text = std::fs::read_to_string(&path).expect("the root's document");
    for damaged in [&text[..text.len() / 2], "{\"version\":1,\"data\":{\"certificate\":\"AAAA\",\"key\":\"AAAA\"}}"] {
        std::fs::write(&path, damaged).expect("written");
        let error =
            issuers(directory.path()).sign(&embedded(), order(&["a.example"]), None).await.expect_err("damaged");
        assert!(matches!(error, IssuerError::Misconfigured { .. }), "{error:?}");
        assert!(error.to_string().contains("issuer-embedded"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).expect("still there"), damaged);
    }
}
