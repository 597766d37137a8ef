//! The verb by which a controller gets an authority, asked by callers of every sort.

use std::{fs, os::unix::fs::PermissionsExt};

use pinion_proto::{
    bundle::Fingerprint,
    clock::{Clock, SystemClock},
};

use super::hypervisor::Hypervisor;
use crate::{
    authority::{Authority, fresh_key},
    channel::protocol::Cause,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_node_has_an_authority_under_a_root_whose_key_stays_with_root() {
    let hypervisor = Hypervisor::new();
    let (key, csr) = fresh_key().expect("a key");
    let signed = hypervisor.client.node_authority(&csr, None, None).await.expect("signed");
    let der = {
        use base64::{Engine, engine::general_purpose::STANDARD};
        STANDARD.decode(&signed.certificate).expect("base64")
    };
    Authority::of_node(&key, &der, signed.root.clone(), SystemClock.now()).expect("it can be used");
    let directory = hypervisor.root().join("var/lib/pinion-channel");
    let mode = |path: &str| fs::metadata(directory.join(path)).expect(path).permissions().mode() & 0o777;
    assert_eq!((mode(""), mode("identity-ca.json")), (0o700, 0o600));
    let again = hypervisor.client.node_authority(&csr, Some(signed.root.fingerprint()), None).await.expect("signed");
    assert_eq!((again.root, again.trust_domain), (signed.root.clone(), signed.trust_domain));
    let pin = fs::read_to_string(hypervisor.root().join("etc/pinion/identity-root"));
    if let Ok(pin) = pin {
        assert!(pin.contains(&signed.root.fingerprint().to_string()), "{pin}");
    }
    let failure =
        hypervisor.client.node_authority(&csr, Some(Fingerprint::of(b"x")), None).await.expect_err("another root");
    assert_eq!(failure.cause, Cause::Refused, "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_root_is_known_none_is_made() {
    let hypervisor = Hypervisor::new();
    let (_, csr) = fresh_key().expect("a key");
    let failure = hypervisor.client.node_authority(&csr, Some(Fingerprint::of(b"x")), None).await.expect_err("lost");
    assert!(failure.cause == Cause::Refused && failure.text.contains("is gone"), "{failure}");
    assert!(!hypervisor.root().join("var/lib/pinion-channel/identity-ca.json").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_is_refused_and_floods_end() {
    let hypervisor = Hypervisor::new();
    let (_, csr) = fresh_key().expect("a key");
    let mut altered = csr.clone();
    let last = altered.len() - 1;
    altered[last] ^= 1;
    for bad in [&b""[..], b"x", &csr[..20], &altered] {
        let failure = hypervisor.client.node_authority(bad, None, None).await.expect_err("no request");
        assert_eq!(failure.cause, Cause::Refused, "{failure}");
    }
    for _ in 0..4 {
        hypervisor.client.node_authority(&csr, None, None).await.expect("signed");
    }
    let failure = hypervisor.client.node_authority(&csr, None, None).await.expect_err("too often");
    assert_eq!(failure.cause, Cause::Busy, "{failure}");
}
