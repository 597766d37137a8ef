//! A delivery against what was ordered, before anything of the old is touched.
//!
//! Answers: is this the certificate that was asked for, does it end at its root, and may it be used now?

use std::{fmt, time::Duration};

use pinion_proto::{
    bundle::{CertificateError, Chain, PurposeError, RootCertificate},
    clock::Timestamp,
    key::KeyAlgorithm,
    message::Delivery,
    names::{SubjectName, SubjectNames},
    private_key::{KeyError, PrivateKey},
    spec::Usage,
};
use thiserror::Error;

use crate::bundle::{Bundle, Credential};

/// Clocks of host and guest differ by less than this when they are kept; a guest that was just restored or has
/// no time service may lag. A certificate this far in the future is taken, further is a mistake.
pub const SKEW: Duration = Duration::from_secs(5 * 60);

/// What was ordered.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The order's number.
    pub generation: u64,
    /// The common name of the request. What the certificate says there is its issuer's affair.
    pub common_name: &'a SubjectName,
    /// Exactly the names of the certificate.
    pub names: &'a SubjectNames,
    /// The kind of its key.
    pub algorithm: KeyAlgorithm,
    /// The key that the request was made with; none when the key is shared and comes with the delivery.
    pub key: Option<&'a PrivateKey>,
    /// Which side shows it; none where nobody says.
    pub usage: Option<Usage>,
}

/// What a certificate must be like.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Exactly its names.
    pub names: &'a SubjectNames,
    /// The kind of its key.
    pub algorithm: KeyAlgorithm,
    /// Which side shows it; none where nobody says.
    pub usage: Option<Usage>,
}

/// Checks a delivery at the moment `now`.
///
/// # Errors
/// The first thing that is not as ordered.
pub fn verify(delivery: Delivery, expected: Expected<'_>, now: Timestamp) -> Result<Bundle, Refusal> {
    let Delivery { generation, chain, root, issuer, shared_key, .. } = delivery;
    if generation != expected.generation {
        return Err(Refusal::Generation { ordered: expected.generation, delivered: generation });
    }
    let key = match (expected.key, shared_key) {
        (Some(key), None) => key.clone(),
        (None, Some(der)) => PrivateKey::from_pkcs8(der)?,
        (Some(_), Some(_)) => return Err(Refusal::UnwantedKey),
        (None, None) => return Err(Refusal::NoKey),
    };
    let Expected { common_name, names, algorithm, usage, .. } = expected;
    check(&chain, &root, &key, Wanted { names, algorithm, usage }, now)?;
    let common_name = Some(common_name.clone());
    Ok(Bundle::of(generation, Credential { key, chain, root, issuer, common_name }))
}

/// Checks a key, its chain and its root at the moment `now`.
///
/// # Errors
/// The first thing that is not as wanted.
pub fn check(
    chain: &Chain,
    root: &RootCertificate,
    key: &PrivateKey,
    wanted: Wanted<'_>,
    now: Timestamp,
) -> Result<(), Refusal> {
    let Wanted { names, algorithm, usage } = wanted;
    let leaf = chain.leaf();
    if leaf.key() != key.public() {
        return Err(Refusal::OtherKey { serial: leaf.serial().into() });
    }
    if leaf.names() != names {
        return Err(Refusal::Names {
            missing: list(names.missing_from(leaf.names())),
            extra: list(leaf.names().missing_from(names)),
        });
    }
    if leaf.key_algorithm() != Some(algorithm) {
        return Err(Refusal::Algorithm { ordered: algorithm, delivered: leaf.key_algorithm() });
    }
    chain.fits(usage)?;
    if leaf.not_after() < now {
        return Err(Refusal::Expired { until: leaf.not_after(), now });
    }
    if leaf.not_before() > now + SKEW {
        return Err(Refusal::NotYet { from: leaf.not_before(), now });
    }
    // With a clock that lags a little the chain is judged at the moment the leaf begins to be valid.
    chain.verify(root, now.max(leaf.not_before()))?;
    Ok(())
}

/// Why a delivery was not taken.
#[derive(Debug, Error)]
pub enum Refusal {
    /// For another order.
    #[error("generation {ordered} was ordered, but {delivered} was delivered")]
    Generation {
        /// What was ordered.
        ordered: u64,
        /// What came.
        delivered: u64,
    },
    /// A key came where the guest has its own.
    #[error("a private key was delivered for a placement that creates its own")]
    UnwantedKey,
    /// A shared key is missing.
    #[error("the placement's key is shared, but none was delivered")]
    NoKey,
    /// The shared key is malformed.
    #[error("the delivered private key cannot be used")]
    Key(#[from] KeyError),
    /// Certificate and key do not belong together.
    #[error("the certificate with serial {serial} is not for the key that was created for it")]
    OtherKey {
        /// The certificate's serial number.
        serial: String,
    },
    /// Not the names that were ordered.
    #[error("the certificate's names are not those that were ordered: missing {missing}; not ordered {extra}")]
    Names {
        /// Ordered and not there.
        missing: String,
        /// There and not ordered.
        extra: String,
    },
    /// Not the kind of key that was ordered.
    #[error(
        "the certificate's key is {}, but {ordered} was ordered",
        delivered.map_or("of an unknown kind", KeyAlgorithm::as_str)
    )]
    Algorithm {
        /// What was ordered.
        ordered: KeyAlgorithm,
        /// What came.
        delivered: Option<KeyAlgorithm>,
    },
    /// For something else than what it was ordered for.
    #[error(transparent)]
    Purpose(#[from] PurposeError),
    /// Over already.
    #[error("the certificate expired at {until}, and this guest's clock says {now}")]
    Expired {
        /// Its last valid second.
        until: Timestamp,
        /// The guest's clock.
        now: Timestamp,
    },
    /// Not begun.
    #[error("the certificate is not valid before {from}, and this guest's clock says {now}")]
    NotYet {
        /// Its first valid second.
        from: Timestamp,
        /// The guest's clock.
        now: Timestamp,
    },
    /// The chain does not hold.
    #[error("the certificate's chain does not end at the delivered root")]
    Chain(#[from] CertificateError),
}

fn list<'a>(names: impl Iterator<Item = &'a (impl fmt::Display + 'a)>) -> String {
    let names: Vec<_> = names.map(ToString::to_string).collect();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, CertificateSigningRequestParams, ExtendedKeyUsagePurpose, IsCa, Issuer,
        KeyPair,
    };

    use pinion_proto::{
        bundle::{Chain, RootCertificate},
        spec::Part,
    };

    use super::*;

    const NOW: i64 = 1_800_000_000;

    struct Delivered {
        key: PrivateKey,
        common_name: SubjectName,
        names: SubjectNames,
        delivery: Delivery,
    }

    fn names(texts: &[&str]) -> SubjectNames {
        let names: Vec<SubjectName> = texts.iter().map(|text| text.parse().expect(text)).collect();
        names.try_into().expect("names")
    }

    /// A delivery whose leaf is valid from and until so many seconds from now.
    fn delivered(from: i64, until: i64) -> Delivered {
        delivered_for(from, until, &[])
    }

    /// The same, for these purposes alone.
    fn delivered_for(from: i64, until: i64, purposes: &[ExtendedKeyUsagePurpose]) -> Delivered {
        let at = |seconds: i64| time::OffsetDateTime::from(Timestamp::from_unix(NOW + seconds));
        let authority = KeyPair::generate().expect("a key");
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        (parameters.not_before, parameters.not_after) = (at(-86_400), at(86_400));
        let root = parameters.self_signed(&authority).expect("a root");
        let root = RootCertificate::parse(root.der()).expect("a root");
        let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).expect("a key");
        let names = names(&["a.example", "10.0.0.1"]);
        let common_name: SubjectName = "a.example".parse().expect("a name");
        let request = key.request(&common_name, &names).expect("a request");
        let mut request = CertificateSigningRequestParams::from_der(&request.into()).expect("a request");
        (request.params.not_before, request.params.not_after) = (at(from), at(until));
        request.params.extended_key_usages = purposes.to_vec();
        let leaf = request.signed_by(&Issuer::new(parameters, authority)).expect("a certificate");
        let delivery = Delivery {
            certificate: "a".parse().expect("a name"),
            generation: 5,
            chain: Chain::from_der(&[leaf.der().to_vec()]).expect("a chain"),
            root,
            issuer: "embedded".parse().expect("a name"),
            shared_key: None,
        };
        Delivered { key, common_name, names, delivery }
    }

    fn expected(it: &Delivered) -> Expected<'_> {
        Expected {
            generation: 5,
            common_name: &it.common_name,
            names: &it.names,
            algorithm: KeyAlgorithm::EcdsaP256,
            key: Some(&it.key),
            usage: None,
        }
    }

    fn check(it: &Delivered, expected: Expected<'_>) -> Result<Bundle, Refusal> {
        verify(it.delivery.clone(), expected, Timestamp::from_unix(NOW))
    }

    #[test]
    fn what_was_ordered_is_taken_also_by_a_clock_that_lags_a_little() {
        for from in [-60, 0, 200] {
            let it = delivered(from, 3600);
            let bundle = check(&it, expected(&it)).expect("as ordered");
            let (cert, key) = (bundle.content(Part::Cert, &[]), bundle.content(Part::Key, &[]));
            assert_eq!(bundle.content(Part::Combined, &[]).as_slice(), [cert.as_slice(), key.as_slice()].concat());
            assert!(bundle.content(Part::Chain, &[]).is_empty(), "the root signed it itself");
            let json = serde_json::to_string(&bundle).expect("written");
            assert_eq!(serde_json::from_str::<Bundle>(&json).expect("read"), bundle);
        }
    }

    fn common_name(bundle: &Bundle) -> Option<&SubjectName> {
        bundle.credential().expect("a certificate").common_name.as_ref()
    }

    #[test]
    fn what_was_ordered_is_remembered_whatever_the_ca_puts_into_the_subject() {
        let mut it = delivered(-60, 3600);
        it.common_name = "10.0.0.1".parse().expect("a name");
        let bundle = check(&it, expected(&it)).expect("a CA may put another common name, or none");
        assert_eq!(common_name(&bundle), Some(&it.common_name));
        let mut before = serde_json::to_value(&bundle).expect("written");
        before.as_object_mut().expect("an object").remove("common_name");
        let bundle: Bundle = serde_json::from_value(before).expect("what was written before is read");
        assert_eq!(common_name(&bundle), None);
    }

    #[test]
    fn a_refusal_says_what_is_not_as_ordered() {
        let it = delivered(-60, 3600);
        let other = PrivateKey::generate(KeyAlgorithm::EcdsaP256).expect("a key");
        let (fewer, more) = (names(&["a.example"]), names(&["a.example", "10.0.0.1", "b.example"]));
        let ok = expected(&it);
        for (expected, why) in [
            (Expected { generation: 6, ..ok }, "generation 6"),
            (Expected { key: Some(&other), ..ok }, "not for the key"),
            (Expected { names: &fewer, ..ok }, "not ordered ip:10.0.0.1"),
            (Expected { names: &more, ..ok }, "missing dns:b.example"),
            (Expected { algorithm: KeyAlgorithm::Ed25519, ..ok }, "ed25519 was ordered"),
            (Expected { key: None, ..ok }, "none was delivered"),
        ] {
            let refusal = check(&it, expected).expect_err(why).to_string();
            assert!(refusal.contains(why), "{refusal}");
        }
        for (from, until, why) in [(-3600, -1, "expired"), (3600, 7200, "not valid before")] {
            let it = delivered(from, until);
            assert!(check(&it, expected(&it)).expect_err(why).to_string().contains(why));
        }
        let (mut it, stranger) = (delivered(-60, 3600), delivered(-60, 3600));
        it.delivery.root = stranger.delivery.root;
        assert!(matches!(check(&it, expected(&it)), Err(Refusal::Chain(_))));
    }

    #[test]
    fn the_borders_of_time_are_the_last_second_and_five_minutes_of_skew() {
        for (from, until, is_taken) in [
            (-3600, 0, true),
            (-3600, -1, false),
            (0, 3600, true),
            // A clock that lags by as much as `SKEW`, and by one second more.
            (300, 3600, true),
            (301, 3600, false),
        ] {
            let it = delivered(from, until);
            let checked = check(&it, expected(&it));
            assert_eq!(checked.is_ok(), is_taken, "valid from {from} to {until}: {checked:?}");
        }
    }

    #[test]
    fn a_chain_that_is_over_is_refused_though_its_leaf_is_not() {
        let it = delivered(-60, 200_000);
        let after_the_root = Timestamp::from_unix(NOW + 86_401);
        let refusal = verify(it.delivery.clone(), expected(&it), after_the_root).expect_err("the root is over");
        assert!(matches!(refusal, Refusal::Chain(_)), "{refusal}");
    }

    #[test]
    fn a_shared_key_comes_with_the_delivery_and_only_where_it_is_shared() {
        let mut it = delivered(-60, 3600);
        it.delivery.shared_key = Some(it.key.to_pkcs8());
        assert!(matches!(check(&it, expected(&it)), Err(Refusal::UnwantedKey)));
        let shared = Expected { key: None, ..expected(&it) };
        let bundle = check(&it, shared).expect("as ordered");
        assert_eq!(bundle.credential().expect("a certificate").key, it.key);
        let other = PrivateKey::generate(KeyAlgorithm::EcdsaP256).expect("a key");
        it.delivery.shared_key = Some(other.to_pkcs8());
        assert!(matches!(check(&it, Expected { key: None, ..expected(&it) }), Err(Refusal::OtherKey { .. })));
        it.delivery.shared_key = Some(zeroize::Zeroizing::new(vec![1, 2, 3]));
        assert!(matches!(check(&it, Expected { key: None, ..expected(&it) }), Err(Refusal::Key(_))));
    }

    #[test]
    fn a_certificate_for_the_other_side_is_refused() {
        let (server, client) = (ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth);
        for (purposes, usage, is_taken) in [
            (vec![client.clone()], Some(Usage::Server), false),
            (vec![server.clone()], Some(Usage::Client), false),
            (vec![server.clone()], Some(Usage::Both), false),
            (vec![server.clone(), client.clone()], Some(Usage::Both), true),
            (vec![server], Some(Usage::Server), true),
            (vec![client], None, true),
            (vec![], Some(Usage::Both), true),
            (vec![ExtendedKeyUsagePurpose::CodeSigning], None, false),
        ] {
            let it = delivered_for(-60, 3600, &purposes);
            let checked = check(&it, Expected { usage, ..expected(&it) });
            assert_eq!(checked.is_ok(), is_taken, "{purposes:?} for {usage:?}: {checked:?}");
            assert!(is_taken || matches!(checked, Err(Refusal::Purpose(_))), "{checked:?}");
        }
    }

    #[test]
    fn what_is_taken_is_what_was_delivered() {
        let it = delivered(-60, 3600);
        let bundle = check(&it, expected(&it)).expect("as ordered");
        let credential = bundle.credential().expect("a certificate");
        assert_eq!(bundle.generation(), 5);
        assert_eq!((&credential.chain, &credential.root), (&it.delivery.chain, &it.delivery.root));
        assert_eq!((&credential.key, &credential.issuer), (&it.key, &it.delivery.issuer));
    }

    #[test]
    fn names_that_differ_are_listed_on_their_side_alone() {
        let it = delivered(-60, 3600);
        let more = names(&["a.example", "10.0.0.1", "b.example", "c.example"]);
        let refusal = check(&it, Expected { names: &more, ..expected(&it) }).expect_err("two are missing");
        let Refusal::Names { missing, extra } = &refusal else { panic!("{refusal}") };
        assert_eq!((missing.as_str(), extra.as_str()), ("dns:b.example, dns:c.example", "none"));
    }
}
