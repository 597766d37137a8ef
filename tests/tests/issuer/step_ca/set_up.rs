//! A step-ca as people set it up: a provisioner whose key stays with them, a proxy before it, ACME alone.

use pinion_proto::bundle::RootCertificate;
use pinion_tests::ca::{CaProxy, make_provisioner_key};

use super::*;

/// The table of an issuer with these lines besides where the CA is.
fn table(url: &str, root: &RootCertificate, lines: &str) -> IssuerConfig {
    let fingerprint = root.fingerprint();
    let text = format!("type = 'step-ca'\nurl = '{url}'\nfingerprint = '{fingerprint}'\ntimeout = '5s'\n{lines}\n");
    IssuerConfig::from_toml(&text).expect("a configuration")
}

async fn sign(config: IssuerConfig) -> Result<Signed, IssuerError> {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path();
    let store = Store::open(&path.join("local"), &path.join("shared")).expect("a store");
    let name: PlainName = "step-ca".parse().expect("a name");
    let config = BTreeMap::from([(name.clone(), config)]);
    let issuers = Issuers::from_config(&config, &Arc::new(store), Arc::new(SystemClock), path);
    issuers.sign(&name, order(KeyAlgorithm::EcdsaP256, &["a.example"], HOUR), None).await
}

#[tokio::test]
async fn a_key_that_the_ca_does_not_publish_is_read_from_a_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name).display().to_string();
    fs::write(path("password"), PASSWORD).expect("written");
    let encrypted = make_provisioner_key(directory.path(), "encrypted", Some("password")).expect("a key");
    let plain = make_provisioner_key(directory.path(), "plain", None).expect("a key");
    let ca = StepCa::start_with(|config| {
        let provisioners = config["authority"]["provisioners"].as_array_mut().expect("a list");
        for (name, key) in [("encrypted", &encrypted), ("plain", &plain)] {
            provisioners.push(json!({ "type": "JWK", "name": name, "key": key }));
        }
    })
    .expect("a CA");
    let root = ca.root().expect("a root");
    let asked = async |lines: String| sign(table(&ca.url(), &root, &lines)).await;
    let password = path("password");
    for (provisioner, lines) in [
        ("encrypted", format!("key_file = '{}'\npassword_file = '{password}'", path("encrypted.key"))),
        ("plain", format!("key_file = '{}'", path("plain.key"))),
    ] {
        let signed = asked(format!("provisioner = '{provisioner}'\n{lines}")).await.expect(provisioner);
        judged_by_openssl(&signed.root, &signed.chain).expect("openssl agrees");
    }
    let refused = async |lines: String| asked(lines).await.expect_err("it cannot sign");
    let error = refused(format!("provisioner = 'encrypted'\npassword_file = '{password}'")).await;
    misconfigured(&error, &["does not publish the encrypted key of provisioner `encrypted`", "key_file", "step-ca"]);
    let error = refused(format!("provisioner = 'encrypted'\nkey_file = '{}'", path("plain.key"))).await;
    misconfigured(&error, &["plain.key is not that of provisioner `encrypted`"]);
    let error = refused(format!("provisioner = 'encrypted'\nkey_file = '{}'", path("encrypted.key"))).await;
    misconfigured(&error, &["is encrypted", "password_file"]);
    let error = refused(format!("provisioner = 'plain'\nkey_file = '{}'", path("none"))).await;
    misconfigured(&error, &["cannot read the key file", "No such file"]);
    // Of one whose key is published, the file comes first all the same.
    let error = refused(format!("provisioner = 'admin'\nkey_file = '{}'", path("plain.key"))).await;
    misconfigured(&error, &["is not that of provisioner `admin`"]);
}

#[tokio::test]
async fn a_ca_behind_a_proxy_signs_also_below_a_path() {
    let ca = StepCa::start().expect("a CA");
    let root = ca.root().expect("a root");
    let lines = format!("provisioner = 'admin'\npassword_file = '{}'", ca.password_file().display());
    let proxy = CaProxy::with_certificate_of(&ca).expect("nginx");
    for path in ["", "/step", "/step/"] {
        let signed = sign(table(&proxy.url(path), &root, &lines)).await.expect("signed");
        judged_by_openssl(&signed.root, &signed.chain).expect("openssl agrees");
    }
    let foreign = CaProxy::with_own_certificate(&ca).expect("nginx");
    let error = sign(table(&foreign.url("/step"), &root, &lines)).await.expect_err("not the CA's certificate");
    misconfigured(&error, &["certificate of its own answers before the CA", "proxy", "[issuers.step-ca]"]);
    assert_eq!(error.halt(), Halt::Blocked);
}

#[tokio::test]
async fn a_ca_with_acme_alone_says_what_it_lacks() {
    let ca = StepCa::start_with(|config| {
        config["authority"]["provisioners"] = json!([{ "type": "ACME", "name": "acme" }]);
    })
    .expect("a CA");
    let root = ca.root().expect("a root");
    let lines = |name: &str| format!("provisioner = '{name}'\npassword_file = '{}'", ca.password_file().display());
    let error = sign(table(&ca.url(), &root, &lines("admin"))).await.expect_err("no such provisioner");
    misconfigured(&error, &["no provisioner `admin`", "no other of type JWK", "only ACME", "step ca provisioner add"]);
    let error = sign(table(&ca.url(), &root, &lines("acme"))).await.expect_err("another kind");
    misconfigured(&error, &["`acme` has type ACME", "step ca provisioner add"]);
}
