//! Signing by a real step-ca: what it signs, what it refuses, and what happens when it is not itself.

mod failing;
mod set_up;

use std::{collections::BTreeMap, fs, future::Future, path::Path, pin::Pin, sync::Arc, time::Duration};

use pinion_controller::{
    issuer::{IssuerConfig, IssuerError, Issuers, Signed, SigningRequest},
    store::Store,
};
use pinion_proto::{
    bundle::{CertificateRequest, Fingerprint},
    clock::{Clock, SystemClock, Timestamp},
    key::KeyAlgorithm,
    names::{SubjectName, SubjectNames},
    spec::PlainName,
    stage::Halt,
};
use pinion_tests::ca::{HostileCa, Manner, PASSWORD, StepCa, judged_by_openssl, request};
use serde_json::json;

const HOUR: Duration = Duration::from_secs(3600);

/// The machine's clock, set wrong by some seconds.
#[derive(Debug)]
struct Skewed(i64);

impl Clock for Skewed {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix(SystemClock.now().unix() + self.0)
    }

    fn sleep_until(&self, moment: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(tokio::time::sleep(moment.since(self.now())))
    }
}

/// Issuers with one step-ca, named `step-ca`.
struct Fixture {
    issuers: Issuers,
    name: PlainName,
    directory: tempfile::TempDir,
}

impl Fixture {
    fn of(ca: &StepCa) -> Self {
        let fingerprint = ca.fingerprint().expect("a root");
        Self::new(&ca.url(), fingerprint, "admin", &ca.password_file(), Arc::new(SystemClock))
    }

    fn hostile(ca: &HostileCa) -> Self {
        let password = tempfile::NamedTempFile::new().expect("a file");
        fs::write(password.path(), PASSWORD).expect("written");
        let (_, path) = password.keep().expect("kept");
        let fixture = Self::new(&ca.url(), ca.fingerprint(), "admin", &path, Arc::new(SystemClock));
        fs::rename(&path, fixture.directory.path().join("password")).expect("moved");
        fixture.with(&ca.url(), ca.fingerprint(), "admin", Path::new("password"))
    }

    fn new(url: &str, fingerprint: Fingerprint, provisioner: &str, password: &Path, clock: Arc<dyn Clock>) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path();
        let store = Store::open(&path.join("local"), &path.join("shared")).expect("a store");
        let config = config(url, fingerprint, provisioner, password);
        let name: PlainName = "step-ca".parse().expect("a name");
        let issuers = Issuers::from_config(&BTreeMap::from([(name.clone(), config)]), &Arc::new(store), clock, path);
        Self { issuers, name, directory }
    }

    /// The same directory, configured anew.
    fn with(self, url: &str, fingerprint: Fingerprint, provisioner: &str, password: &Path) -> Self {
        let Self { issuers, name, directory } = self;
        drop(issuers);
        let path = directory.path();
        let store = Store::open(&path.join("local"), &path.join("shared")).expect("a store");
        let config = config(url, fingerprint, provisioner, password);
        let config = BTreeMap::from([(name.clone(), config)]);
        let issuers = Issuers::from_config(&config, &Arc::new(store), Arc::new(SystemClock), path);
        Self { issuers, name, directory }
    }

    async fn sign(&self, names: &[&str], duration: Duration) -> Result<Signed, IssuerError> {
        self.issuers.sign(&self.name, order(KeyAlgorithm::EcdsaP256, names, duration), None).await
    }
}

fn config(url: &str, fingerprint: Fingerprint, provisioner: &str, password: &Path) -> IssuerConfig {
    let table = toml::toml! {
        type = "step-ca"
        url = url
        fingerprint = (fingerprint.to_string())
        provisioner = provisioner
        password_file = (password.display().to_string())
        timeout = "3s"
    };
    IssuerConfig::from_toml(&table.to_string()).expect("a configuration")
}

fn names(texts: &[&str]) -> SubjectNames {
    let names: Vec<SubjectName> = texts.iter().map(|text| text.parse().expect("a name")).collect();
    names.try_into().expect("names")
}

fn order(algorithm: KeyAlgorithm, texts: &[&str], duration: Duration) -> SigningRequest {
    let names = names(texts);
    SigningRequest {
        placement: "docker@101".parse().expect("a placement"),
        csr: request(algorithm, &names).expect("a request"),
        common_name: texts[0].parse().expect("a name"),
        names,
        usage: None,
        duration,
    }
}

fn misconfigured(error: &IssuerError, words: &[&str]) {
    assert!(matches!(error, IssuerError::Misconfigured { .. }), "{error:?}");
    says(error, words);
}

fn unavailable(error: &IssuerError, words: &[&str]) {
    assert!(matches!(error, IssuerError::Unavailable { .. }), "{error:?}");
    says(error, words);
}

fn refused(error: &IssuerError, words: &[&str]) {
    assert!(matches!(error, IssuerError::Refused { .. }), "{error:?}");
    says(error, words);
}

fn unfit(error: &IssuerError, words: &[&str]) {
    assert!(matches!(error, IssuerError::Unfit { .. }), "{error:?}");
    says(error, words);
}

fn says(error: &IssuerError, words: &[&str]) {
    let trouble = error.trouble("sign docker@101", None).to_string();
    for words in words {
        assert!(trouble.contains(words), "`{words}` is missing in: {trouble}");
    }
    assert!(trouble.len() < 2000, "{trouble}");
}

#[tokio::test]
async fn keys_of_every_algorithm_are_signed_and_openssl_agrees() {
    let ca = StepCa::start().expect("a CA");
    let fixture = Fixture::of(&ca);
    for algorithm in KeyAlgorithm::ALL {
        let order = order(algorithm, &["a.internal.example"], 720 * HOUR);
        let asked = CertificateRequest::parse(&order.csr).expect("a request");
        let signed = fixture.issuers.sign(&fixture.name, order, None).await.expect("signed");
        assert_eq!(signed.chain.leaf().key(), asked.key);
        assert_eq!(signed.root, ca.root().expect("a root"));
        assert_eq!(signed.shortened_to, None);
        let life = signed.chain.leaf().not_after().since(SystemClock.now());
        assert!(life > 719 * HOUR && life <= 721 * HOUR, "{life:?}");
        judged_by_openssl(&signed.root, &signed.chain).expect("openssl agrees");
    }
}

#[tokio::test]
async fn names_of_every_kind_come_back_exactly() {
    let ca = StepCa::start().expect("a CA");
    let fixture = Fixture::of(&ca);
    let all = [
        "a.internal.example",
        "*.internal.example",
        "10.0.0.111",
        "::1",
        "2001:db8::42",
        "spiffe://internal.example/a",
        "https://a.internal.example/path?x=1",
        "ops@internal.example",
    ];
    let signed = fixture.sign(&all, HOUR).await.expect("signed");
    assert_eq!(*signed.chain.leaf().names(), names(&all));
    judged_by_openssl(&signed.root, &signed.chain).expect("openssl agrees");

    let hundred: Vec<String> = (0..100).map(|n| format!("host-{n}.internal.example")).collect();
    let hundred: Vec<&str> = hundred.iter().map(String::as_str).collect();
    let signed = fixture.sign(&hundred, HOUR).await.expect("signed");
    assert_eq!(signed.chain.leaf().names().iter().len(), 100);

    let address_alone = fixture.sign(&["10.0.0.112"], HOUR).await.expect("signed");
    judged_by_openssl(&address_alone.root, &address_alone.chain).expect("openssl agrees");
}

#[tokio::test]
async fn names_that_a_template_adds_are_told_in_words() {
    for (name, words) in [
        (r#"{"type":"dn","asn1Value":{"commonName":"Somebody"}}"#, "the directory name `CN=Somebody`"),
        (r#"{"type":"registeredID","value":"1.2.3.4"}"#, "the registered ID 1.2.3.4"),
        (r#"{"type":"userPrincipalName","value":"a@example"}"#, "an other name of the kind 1.3.6.1.4.1.311.20.2.3"),
    ] {
        let template = format!(
            r#"{{"subject":{{{{ toJson .Subject }}}},"sans":[{{{{ range .SANs }}}}{{{{ toJson . }}}},{{{{ end }}}}{name}],
                "keyUsage":["digitalSignature"],"extKeyUsage":["serverAuth"]}}"#
        );
        let ca = StepCa::start_with(|config| {
            config["authority"]["provisioners"][0]["options"] = json!({ "x509": { "template": template } });
        })
        .expect("a CA");
        let error = Fixture::of(&ca).sign(&["a.internal.example"], HOUR).await.expect_err("refused");
        unfit(&error, &[words, "template of provisioner `admin`"]);
        assert!(error.is_costly() && error.halt() == Halt::Blocked);
        let said = error.to_string();
        assert!(!said.contains("Name(") && !said.contains("Oid") && !said.contains("ID("), "{said}");
    }
}

#[tokio::test]
async fn a_provisioner_with_a_limit_shortens_and_says_how_to_lift_it() {
    let ca = StepCa::start_with(|config| {
        config["authority"]["provisioners"][0]["claims"] =
            json!({ "minTLSCertDuration": "10m", "defaultTLSCertDuration": "1h", "maxTLSCertDuration": "48h" });
    })
    .expect("a CA");
    let fixture = Fixture::of(&ca);
    let signed = fixture.sign(&["a.internal.example"], 720 * HOUR).await.expect("signed");
    assert_eq!(signed.shortened_to, Some(48 * HOUR));
    let raised = fixture.sign(&["a.internal.example"], HOUR / 60).await.expect("signed");
    assert_eq!(raised.shortened_to, None);
    assert!(raised.chain.leaf().not_after().since(SystemClock.now()) > HOUR / 7);

    let check = fixture.issuers.check(&fixture.name).await.expect("checked");
    assert_eq!((check.durations.min, check.durations.default, check.durations.max), (HOUR / 6, HOUR, 48 * HOUR));
    assert_eq!(check.root, Some(ca.fingerprint().expect("a root")));
    assert_eq!(check.shortened, Some(720 * HOUR));
    assert!(check.clock_difference.is_some_and(|seconds| seconds.abs() <= 2));
    let warnings = check.warnings.join("\n");
    assert!(warnings.contains("step ca provisioner update admin --x509-max-dur=720h"), "{warnings}");
}

#[tokio::test]
async fn an_undocumented_limit_is_learned_from_the_refusal() {
    let mut ca = StepCa::start_with(|_| {}).expect("a CA");
    let fixture = Fixture::of(&ca);
    let signed = fixture.sign(&["a.internal.example"], 720 * HOUR).await.expect("signed");
    assert_eq!(signed.shortened_to, Some(24 * HOUR));
    judged_by_openssl(&signed.root, &signed.chain).expect("openssl agrees");
    // The authority's own claims are not in its API.
    ca.change(|config| config["authority"]["claims"] = json!({ "maxTLSCertDuration": "720h" })).expect("changed");
    ca.restart().expect("started");
    let fixture = Fixture::of(&ca);
    let signed = fixture.sign(&["a.internal.example"], 720 * HOUR).await.expect("signed");
    assert_eq!(signed.shortened_to, None);
    // A minimum is learned in the same way.
    let raised = fixture.sign(&["a.internal.example"], Duration::from_secs(60)).await.expect("signed");
    assert!(raised.chain.leaf().not_after().since(SystemClock.now()) > Duration::from_secs(240));
}

#[tokio::test]
async fn names_against_the_policy_are_refused_in_the_cas_own_words_and_others_go_on() {
    let ca = StepCa::start_with(|config| {
        config["authority"]["policy"] = json!({ "x509": { "deny": { "dns": ["*.forbidden.example"] },
                                                           "allow": { "dns": ["*.internal.example"] } } });
    })
    .expect("a CA");
    let fixture = Fixture::of(&ca);
    let error = fixture.sign(&["a.forbidden.example"], HOUR).await.expect_err("refused");
    refused(&error, &["a.forbidden.example", "403", "not allowed"]);
    assert_eq!(error.halt(), Halt::Blocked);
    fixture.sign(&["a.internal.example"], HOUR).await.expect("signed");
}

#[tokio::test]
async fn a_template_that_changes_names_is_noticed() {
    let ca = StepCa::start_with(|config| {
        config["authority"]["provisioners"][0]["options"] =
            json!({ "x509": { "template": r#"{"subject":{"commonName":"x"},"sans":[{"type":"dns","value":"other.example"}],
                                              "keyUsage":["digitalSignature"],"extKeyUsage":["serverAuth"]}"# } });
    })
    .expect("a CA");
    let error = Fixture::of(&ca).sign(&["a.internal.example"], HOUR).await.expect_err("refused");
    unfit(&error, &["missing: dns:a.internal.example", "extra: dns:other.example", "template"]);
}
