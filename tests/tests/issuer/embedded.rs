//! The embedded CA's certificates, as another implementation sees them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use pinion_controller::{
    issuer::{Issuers, SigningRequest},
    store::Store,
};
use pinion_proto::{
    clock::SystemClock,
    key::KeyAlgorithm,
    names::{SubjectName, SubjectNames},
};
use pinion_tests::ca::{judged_by_openssl, request};

#[tokio::test]
async fn openssl_accepts_every_key_and_reads_what_was_ordered() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path();
    let store = Store::open(&path.join("local"), &path.join("shared")).expect("a store");
    let issuers = Issuers::from_config(&BTreeMap::new(), &Arc::new(store), Arc::new(SystemClock), path);
    let embedded = "embedded".parse().expect("a name");
    let names: Vec<SubjectName> =
        ["a.example", "*.a.example", "10.0.0.111", "2001:db8::1", "spiffe://a.example/b", "ops@a.example"]
            .map(|name| name.parse().expect("a name"))
            .into();
    let names = SubjectNames::try_from(names).expect("names");
    for algorithm in KeyAlgorithm::ALL {
        let order = SigningRequest {
            placement: "docker@101".parse().expect("a placement"),
            csr: request(algorithm, &names).expect("a request"),
            common_name: "a.example".parse().expect("a name"),
            names: names.clone(),
            usage: None,
            duration: Duration::from_secs(30 * 24 * 3600),
        };
        let signed = issuers.sign(&embedded, order, None).await.expect("signed");
        let text = judged_by_openssl(&signed.root, &signed.chain).expect("openssl agrees");
        for expected in [
            "Version: 3",
            "Signature Algorithm: ecdsa-with-SHA256",
            "Subject: CN = a.example",
            "X509v3 Basic Constraints: critical",
            "CA:FALSE",
            "X509v3 Key Usage: critical",
            "TLS Web Server Authentication, TLS Web Client Authentication",
            "X509v3 Subject Key Identifier",
            "X509v3 Authority Key Identifier",
            "DNS:a.example",
            "DNS:*.a.example",
            "IP Address:10.0.0.111",
            "IP Address:2001:DB8:0:0:0:0:0:1",
            "URI:spiffe://a.example/b",
            "email:ops@a.example",
        ] {
            assert!(text.contains(expected), "{expected} is missing for {algorithm}: {text}");
        }
        let rsa = matches!(algorithm, KeyAlgorithm::Rsa2048 | KeyAlgorithm::Rsa3072 | KeyAlgorithm::Rsa4096);
        assert_eq!(text.contains("Key Encipherment"), rsa, "{text}");
    }
}
