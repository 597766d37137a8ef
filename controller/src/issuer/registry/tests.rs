//! What issuers of every kind have in common, and an issuer that can sign and nothing else.

use super::*;
use crate::{
    issuer::{BoxFuture, Roots},
    manifest::Manifest,
};

/// An issuer as one that is asked by ACME would be: it signs, and it can neither say which roots it has nor revoke.
#[derive(Debug)]
struct SignsOnly;

impl Issuer for SignsOnly {
    fn sign<'a>(&'a self, _: &'a SigningRequest) -> BoxFuture<'a, Result<Signed, IssuerError>> {
        Box::pin(async { Err(IssuerError::Unavailable { message: "not here".into() }) })
    }

    fn check(&self) -> BoxFuture<'_, Result<IssuerCheck, IssuerError>> {
        Box::pin(async { Err(IssuerError::Unavailable { message: "not here".into() }) })
    }

    fn roots(&self) -> Option<&dyn Roots> {
        None
    }
}

fn name(text: &str) -> PlainName {
    text.parse().expect("a name")
}

fn issuers() -> Issuers {
    let acme: Box<dyn Issuer> = Box::new(SignsOnly);
    Issuers::of([(name("acme"), acme, NonZeroU16::MIN)])
}

#[tokio::test]
async fn an_issuer_without_roots_is_asked_for_none_and_its_roots_are_no_placement() {
    let issuers = issuers();
    assert!(matches!(issuers.roots(&name("acme")).await, Ok(None)));
    assert_eq!(issuers.roots_every(&name("acme")), None);
    let without_roots = issuers.without_roots();
    assert_eq!(without_roots, [name("acme")].into());

    let parse = |certificates: &str, defaults: &str| {
        let text = format!(r#"{{"version": 1, {defaults} "certificates": [{certificates}]}}"#);
        Manifest::parse_for(text.as_bytes(), &without_roots)
    };
    let roots = |issuer: &str| {
        format!(
            r#"{{"name": "roots", "trust": true, {issuer}
                "placements": [{{"guest": 101, "recipe": "ca-certificates"}}]}}"#
        )
    };
    let acme = r#""issuer": "acme","#;
    for (certificates, defaults) in [(roots(acme), ""), (roots(""), r#""defaults": {"issuer": "acme"},"#)] {
        let errors = parse(&certificates, defaults).expect_err("it has no roots");
        let [problem] = errors.problems.as_slice() else { panic!("one problem: {errors}") };
        assert!(problem.to_string().contains("issuer `acme` does not say which roots"), "{problem}");
        assert!(problem.to_string().contains("certificates[0].issuer"), "{problem}");
    }
    assert!(parse(&roots(""), "").is_ok(), "another issuer's roots");
    let certificate = r#"{"name": "web", "common_name": "a.example", "issuer": "acme",
        "placements": [{"guest": 101, "recipe": "nginx"}]}"#;
    assert!(parse(certificate, "").is_ok(), "its certificates go anywhere");
}

#[tokio::test]
async fn an_issuer_that_cannot_revoke_says_so() {
    let issuers = issuers();
    assert!(!issuers.can_revoke(&name("acme")) && !issuers.revokes_replaced(&name("acme")));
    let serial = Serial::try_from("0A".to_owned()).expect("a serial number");
    let end = Timestamp::from_unix(2_000_000_000);
    let error = issuers.revoke(&name("acme"), &serial, Revocation::KeyCompromise, end).await.expect_err("it cannot");
    assert!(matches!(&error, IssuerError::Refused { message } if message.contains("`acme` cannot revoke")), "{error}");
}

#[tokio::test]
async fn an_issuer_that_is_not_there_is_named_with_those_that_are() {
    let error = issuers().roots(&name("other")).await.expect_err("no such issuer");
    assert!(matches!(error, IssuerError::Misconfigured { .. }));
    assert!(error.to_string().contains("`other`; there are: acme"), "{error}");
}

#[test]
fn pinions_own_issuer_is_there_unless_another_has_its_name() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Store::open(&directory.path().join("local"), &directory.path().join("shared")).expect("a store");
    let (store, clock): (_, Arc<dyn Clock>) = (Arc::new(store), Arc::new(pinion_proto::clock::SystemClock));
    let step_ca = "type = 'step-ca'\nurl = 'https://10.0.0.3:9000'\nprovisioner = 'admin'\npassword_file = '/p'\n\
        fingerprint = '0000000000000000000000000000000000000000000000000000000000000000'\nrevoke_replaced = true";
    let step_ca = IssuerConfig::from_toml(step_ca).expect("a step-ca");
    let issuers = |names: &[&str]| {
        let config = names.iter().map(|text| (name(text), step_ca.clone())).collect();
        Issuers::from_config(&config, &store, clock.clone(), directory.path())
    };
    let both = issuers(&["step-ca"]);
    assert_eq!(both.names().collect::<Vec<_>>(), [&name("embedded"), &name("step-ca")]);
    assert!(both.without_roots().is_empty());
    assert!(both.revokes_replaced(&name("step-ca")) && both.can_revoke(&name("step-ca")));
    assert!(!both.can_revoke(&name("embedded")));
    assert_eq!(both.roots_every(&name("step-ca")), Some(Duration::from_secs(60)));
    assert_eq!(both.roots_every(&name("embedded")), None);
    let one = issuers(&["embedded"]);
    assert!(one.can_revoke(&name("embedded")), "it is the step-ca of that name");
    assert_eq!(one.names().count(), 1);
}
