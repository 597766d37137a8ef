//! Signing by a real step-ca: what it signs, what it refuses, and what happens when it is not itself.

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
    refused(&error, &["missing: dns:a.internal.example", "extra: dns:other.example", "template"]);
}

#[tokio::test]
async fn a_wrong_configuration_says_what_to_change() {
    let ca = StepCa::start_with(|config| {
        let provisioners = config["authority"]["provisioners"].as_array_mut().expect("a list");
        provisioners.push(json!({ "type": "ACME", "name": "acme" }));
    })
    .expect("a CA");
    let fingerprint = ca.fingerprint().expect("a root");
    let right = ca.password_file();
    let wrong = tempfile::NamedTempFile::new().expect("a file");
    fs::write(wrong.path(), "hunter2").expect("written");
    let clock = || Arc::new(SystemClock);
    let other = Fingerprint::of(b"another root");
    let sign = async |fixture: Fixture| fixture.sign(&["a.example"], HOUR).await.expect_err("refused");

    let error = sign(Fixture::new(&ca.url(), fingerprint, "admin", wrong.path(), clock())).await;
    misconfigured(&error, &["password does not open it", "provisioner `admin`"]);
    let error = sign(Fixture::new(&ca.url(), fingerprint, "admin", Path::new("none"), clock())).await;
    misconfigured(&error, &["cannot read the password file", "No such file"]);
    let error = sign(Fixture::new(&ca.url(), other, "admin", &right, clock())).await;
    misconfigured(&error, &[&other.to_string(), &fingerprint.to_string()]);
    let error = sign(Fixture::new(&ca.url(), fingerprint, "nobody", &right, clock())).await;
    misconfigured(&error, &["no provisioner `nobody`", "admin"]);
    let error = sign(Fixture::new(&ca.url(), fingerprint, "acme", &right, clock())).await;
    misconfigured(&error, &["`acme` is of type ACME"]);
    let url = ca.url().replace("127.0.0.1", "127.0.0.2");
    let error = sign(Fixture::new(&url, fingerprint, "admin", &right, clock())).await;
    unavailable(&error, &["127.0.0.2", "refused"]);
    let fixture = Fixture::of(&ca);
    let unknown = "elsewhere".parse().expect("a name");
    let error = fixture.issuers.check(&unknown).await.expect_err("no such issuer");
    misconfigured(&error, &["embedded, step-ca"]);
}

#[tokio::test]
async fn a_corrected_password_file_helps_at_once() {
    let ca = StepCa::start().expect("a CA");
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), "wrong").expect("written");
    let fixture =
        Fixture::new(&ca.url(), ca.fingerprint().expect("a root"), "admin", file.path(), Arc::new(SystemClock));
    fixture.sign(&["a.example"], HOUR).await.expect_err("a wrong password");
    fs::write(file.path(), format!("{PASSWORD}\n")).expect("written");
    fixture.sign(&["a.example"], HOUR).await.expect("signed");
}

#[tokio::test]
async fn a_ca_that_was_down_is_used_again_and_one_made_anew_is_noticed() {
    let mut ca = StepCa::start().expect("a CA");
    let fixture = Fixture::of(&ca);
    fixture.sign(&["a.example"], HOUR).await.expect("signed");
    ca.stop();
    let error = fixture.sign(&["a.example"], HOUR).await.expect_err("down");
    unavailable(&error, &["sign", "refused"]);
    assert_eq!(error.halt(), Halt::Waiting);
    ca.restart().expect("started");
    fixture.sign(&["a.example"], HOUR).await.expect("signed again");

    let before = ca.fingerprint().expect("a root");
    ca.reinitialise().expect("another CA");
    let after = ca.fingerprint().expect("a root");
    let error = fixture.sign(&["a.example"], HOUR).await.expect_err("another root");
    misconfigured(&error, &[&before.to_string(), &after.to_string()]);
}

#[tokio::test]
async fn a_replaced_provisioner_key_is_read_anew() {
    let mut ca = StepCa::start().expect("a CA");
    let other = StepCa::start().expect("another CA, for its provisioner");
    let fixture = Fixture::of(&ca);
    fixture.sign(&["a.example"], HOUR).await.expect("signed");
    let provisioners = other.config().expect("its configuration")["authority"]["provisioners"].clone();
    ca.change(|config| config["authority"]["provisioners"] = provisioners).expect("changed");
    ca.restart().expect("started");
    fixture.sign(&["a.example"], HOUR).await.expect("signed with the new key");
}

#[tokio::test]
async fn the_provisioner_is_found_on_any_page() {
    let ca = StepCa::start_with(|config| {
        let provisioners = config["authority"]["provisioners"].as_array_mut().expect("a list");
        provisioners.extend((0..240).map(|n| json!({ "type": "ACME", "name": format!("acme-{n}") })));
        // Two on different pages, wherever the hash of its id puts each.
        for n in 0..4 {
            let mut copy = provisioners[0].clone();
            copy["name"] = json!(format!("copy-{n}"));
            provisioners.push(copy);
        }
    })
    .expect("a CA");
    let fingerprint = ca.fingerprint().expect("a root");
    for provisioner in ["admin", "copy-0", "copy-1", "copy-2", "copy-3"] {
        let fixture = Fixture::new(&ca.url(), fingerprint, provisioner, &ca.password_file(), Arc::new(SystemClock));
        fixture.sign(&["a.example"], HOUR).await.expect(provisioner);
    }
}

#[tokio::test]
async fn a_host_with_a_wrong_clock_still_gets_certificates_that_are_valid_there() {
    let ca = StepCa::start().expect("a CA");
    for seconds in [-400, -90, 90, 400] {
        let clock = Arc::new(Skewed(seconds));
        let fingerprint = ca.fingerprint().expect("a root");
        let fixture = Fixture::new(&ca.url(), fingerprint, "admin", &ca.password_file(), clock.clone());
        let signed = fixture.sign(&["a.example"], 24 * HOUR).await.expect("signed");
        assert!(signed.chain.leaf().not_before() <= clock.now(), "{seconds}");
        let check = fixture.issuers.check(&fixture.name).await.expect("checked");
        let difference = check.clock_difference.expect("a difference");
        assert!((difference + seconds).abs() <= 2, "{difference} for {seconds}");
        assert!(check.warnings.iter().any(|warning| warning.contains("clock")), "{:?}", check.warnings);
    }
}

#[tokio::test]
async fn many_at_once_are_all_signed() {
    let ca = StepCa::start().expect("a CA");
    let fixture = Arc::new(Fixture::of(&ca));
    let mut calls = tokio::task::JoinSet::new();
    for n in 0..200 {
        let fixture = fixture.clone();
        calls.spawn(async move { fixture.sign(&[&format!("host-{n}.example")], HOUR).await });
    }
    while let Some(signed) = calls.join_next().await {
        signed.expect("no panic").expect("signed");
    }
}

#[tokio::test]
async fn a_ca_that_answers_nonsense_is_waited_for() {
    let real = StepCa::start().expect("a CA, for its provisioner");
    let provisioners = real.config().expect("its configuration")["authority"]["provisioners"].clone();
    let provisioners = json!({ "provisioners": provisioners, "nextCursor": "" }).to_string();
    let ca = HostileCa::start().await.expect("a hostile CA");
    let fixture = Fixture::hostile(&ca);
    let page = "<html>502 Bad Gateway</html>".to_owned();
    let hostile: [(Manner, &[&str]); 9] = [
        (Manner::Silence, &["did not answer in time"]),
        (
            Manner::Answer(500, json!({ "status": 500, "message": "database is full" }).to_string()),
            &["database is full"],
        ),
        (Manner::Answer(502, page.clone()), &["502", "Bad Gateway"]),
        (Manner::Answer(429, String::new()), &["429"]),
        (Manner::Answer(200, page), &["cannot read its answer", "<html>"]),
        (Manner::Answer(200, String::new()), &["cannot read its answer"]),
        (Manner::Endless, &["longer than"]),
        (Manner::Garbage, &[]),
        (Manner::CutOff, &[]),
    ];
    for (manner, words) in hostile {
        ca.behave("/provisioners", manner.clone());
        ca.behave("/1.0/sign", manner.clone());
        let error = fixture.sign(&["a.example"], HOUR).await.expect_err("no provisioners");
        unavailable(&error, words);
        unavailable(&error, &["list the provisioners"]);
        ca.behave("/provisioners", Manner::Answer(200, provisioners.clone()));
        let error = fixture.sign(&["a.example"], HOUR).await.expect_err("no signature");
        unavailable(&error, words);
        // A session that was opened once is kept: begin anew with the next kind.
        ca.behave("/1.0/sign", Manner::Answer(401, json!({ "message": "token" }).to_string()));
        ca.behave("/provisioners", Manner::Answer(200, "{}".into()));
        fixture.sign(&["a.example"], HOUR).await.expect_err("no provisioner any more");
    }
    // A cursor that leads in circles ends.
    let circle = json!({ "provisioners": [], "nextCursor": "aa" }).to_string();
    ca.behave("/provisioners", Manner::Answer(200, circle));
    let error = fixture.sign(&["a.example"], HOUR).await.expect_err("no end of pages");
    unavailable(&error, &["invalid cursor"]);
}

#[tokio::test]
async fn what_was_not_ordered_is_not_taken() {
    let real = StepCa::start().expect("a CA, for its provisioner");
    let provisioners = real.config().expect("its configuration")["authority"]["provisioners"].clone();
    let ca = HostileCa::start().await.expect("a hostile CA");
    let page = json!({ "provisioners": provisioners, "nextCursor": "" }).to_string();
    ca.behave("/provisioners", Manner::Answer(200, page));
    let fixture = Fixture::hostile(&ca);
    // A chain for another's key.
    let other = Fixture::of(&real).sign(&["a.example"], HOUR).await.expect("signed by the real one");
    let pem = pinion_proto::bundle::certificates_to_pem(other.chain.certificates());
    ca.behave("/1.0/sign", Manner::Answer(201, json!({ "certChain": [pem] }).to_string()));
    let error = fixture.sign(&["a.example"], HOUR).await.expect_err("another's key");
    refused(&error, &["not for the request's key"]);
    // The right key and names under a root that is not the pinned one.
    let order = order(KeyAlgorithm::EcdsaP256, &["a.example"], HOUR);
    let signed = Fixture::of(&real);
    let signed = signed.issuers.sign(&signed.name, order.clone(), None).await.expect("signed by the real one");
    let pem = pinion_proto::bundle::certificates_to_pem(signed.chain.certificates());
    ca.behave("/1.0/sign", Manner::Answer(201, json!({ "crt": pem, "ca": "" }).to_string()));
    let error = fixture.issuers.sign(&fixture.name, order, None).await.expect_err("another root");
    unavailable(&error, &["check what was signed"]);
}
