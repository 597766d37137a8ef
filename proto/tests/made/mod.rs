//! Parts of messages, each a function of a number.

use pinion_proto::{
    bundle::Fingerprint,
    clock::Timestamp,
    report::{Found, FoundPair, Held, Original, WatchedCertificate},
    spec::{Adoption, AdoptionDecision},
};

/// A leaf for the reports, made once: what it says is not the wire's affair.
pub(crate) fn held(generation: u64) -> Held {
    static LEAF: std::sync::OnceLock<pinion_proto::bundle::Leaf> = std::sync::OnceLock::new();
    let leaf = LEAF.get_or_init(|| {
        let made = rcgen::CertificateParams::new(["a.example".to_owned()]).expect("parameters");
        let made = made.self_signed(&rcgen::KeyPair::generate().expect("a key")).expect("a certificate");
        pinion_proto::bundle::Leaf::parse(made.der()).expect("a leaf")
    });
    let common_name = generation.is_multiple_of(2).then(|| "a.example".parse().expect("a name"));
    let root = generation.is_multiple_of(3).then(|| Fingerprint::of(&generation.to_be_bytes()));
    let chain_ends = generation.is_multiple_of(5).then(|| leaf.not_before() + std::time::Duration::from_secs(1));
    let (leaf, issuer) = (leaf.clone(), "step-ca".parse().expect("a name"));
    Held { generation, leaf, issuer, common_name, root, chain_ends, adopted: generation.is_multiple_of(7) }
}

/// The pair that is there while nothing is held.
pub(crate) fn found(number: u64) -> Option<Box<Found>> {
    let (leaf, root) = (held(number).leaf, Fingerprint::of(&number.to_be_bytes()));
    match number % 3 {
        0 => None,
        1 => Some(Box::new(Found::Good(FoundPair { chain_ends: leaf.not_after(), leaf, root }))),
        _ => Some(Box::new(Found::Unfit("its key is readable by everybody".into()))),
    }
}

/// What a service shows that is only watched.
pub(crate) fn watched(number: u64) -> Option<Box<WatchedCertificate>> {
    number.is_multiple_of(2).then(|| {
        Box::new(WatchedCertificate {
            names: (0..number % 3).map(|name| format!("a{name}.example")).collect(),
            issuer: "CN=Home CA".into(),
            serial: format!("{number:X}"),
            not_before: Timestamp::from_unix(1_700_000_000),
            expires: Timestamp::from_unix(1_800_000_000),
        })
    })
}

/// What was in a report's places before Pinion.
pub(crate) fn originals(number: u64) -> Vec<Original> {
    let original = |number: u64| Original {
        path: "/etc/ssl/web.crt".parse().expect("a path"),
        subject: format!("a{number}.example"),
        issuer: "Home CA".into(),
        not_after: number.is_multiple_of(2).then(|| Timestamp::from_unix(1_800_000_000)),
        kept: number.is_multiple_of(3).then(|| "/var/lib/kept".parse().expect("a path")),
        key: number.is_multiple_of(2).then(|| Fingerprint::of(&number.to_be_bytes())),
    };
    (0..number % 4).map(original).collect()
}

/// What becomes of a pair that is there.
pub(crate) fn adoption(number: u64) -> Option<Adoption> {
    let decision = match number % 4 {
        0 => return None,
        1 => AdoptionDecision::Undecided,
        2 => AdoptionDecision::Adopt(Fingerprint::of(&number.to_be_bytes())),
        _ => AdoptionDecision::Replace,
    };
    Some(Adoption { issuer: "step-ca".parse().expect("a name"), decision })
}
