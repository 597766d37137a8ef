//! A real step-ca for tests, and a hostile one.
//!
//! Answers: does it work with the CA that people run, and what when that CA misbehaves?
//! Invariant: everything lives in a directory of its own and is made at run time; a server ends with its value.

mod hostile;
mod proxy;
mod rollover;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use pinion_proto::{
    bundle::{CertificateRequest, Fingerprint, RootCertificate, certificates_to_pem},
    key::KeyAlgorithm,
    names::{SubjectName, SubjectNames},
};
use rcgen::{
    CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256,
};
use serde_json::{Value, json};
use tempfile::TempDir;

pub use hostile::{HostileCa, Manner};
pub use proxy::CaProxy;
pub use rollover::{make_provisioner_key, make_root};

use crate::{
    host::StepCaIssuer,
    port::{self, Port},
    program,
};

/// A loaded machine needs some seconds to start a server; none needs this long.
const START: Duration = Duration::from_secs(30);

/// The password of the provisioner that [`StepCa`] makes.
pub const PASSWORD: &str = "correct horse battery staple";

/// A real step-ca in a temporary directory, on 127.0.0.1; killed when dropped.
#[derive(Debug)]
pub struct StepCa {
    process: Option<Child>,
    directory: TempDir,
    port: Arc<Port>,
    /// More words for its command line.
    arguments: Vec<String>,
}

impl StepCa {
    /// A CA whose provisioner `admin` allows 720 hours.
    ///
    /// # Errors
    /// `step` or `step-ca` is not there, or does not start in time.
    pub fn start() -> Result<Self> {
        Self::start_with(|config| {
            config["authority"]["provisioners"][0]["claims"] = json!({ "maxTLSCertDuration": "720h" });
        })
    }

    /// A CA whose `ca.json` was changed before its start; unchanged, it has a JWK provisioner `admin` without claims.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with(change: impl FnOnce(&mut Value)) -> Result<Self> {
        Self::start_as(&[], change)
    }

    /// As [`Self::start_with`], with more words on its command line.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_as(arguments: &[&str], change: impl FnOnce(&mut Value)) -> Result<Self> {
        let mut ca = Self::init(Arc::new(Port::reserve()?))?;
        ca.arguments = arguments.iter().copied().map(str::to_owned).collect();
        ca.change(change)?;
        ca.restart()?;
        Ok(ca)
    }

    fn init(port: Arc<Port>) -> Result<Self> {
        let directory = tempfile::tempdir().context("make a directory for the CA")?;
        fs::write(directory.path().join("password"), PASSWORD).context("write the CA's password")?;
        let out = Command::new(program::found("step")?)
            .args(["ca", "init", "--deployment-type", "standalone", "--name", "Test", "--dns", "127.0.0.1"])
            .args(["--dns", "localhost", "--provisioner", "admin", "--address", &port.address().to_string()])
            .args(["--password-file", "password", "--provisioner-password-file", "password"])
            .current_dir(directory.path())
            .env("STEPPATH", directory.path())
            .env("HOME", directory.path())
            .stdin(Stdio::null())
            .output()
            .context("run step ca init")?;
        ensure!(out.status.success(), "step ca init fails: {}", String::from_utf8_lossy(&out.stderr));
        Ok(Self { process: None, directory, port, arguments: Vec::new() })
    }

    /// Changes `ca.json`; a running CA sees it after [`Self::restart`].
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn change(&mut self, change: impl FnOnce(&mut Value)) -> Result<()> {
        let path = self.path("config/ca.json");
        let mut config = self.config()?;
        change(&mut config);
        fs::write(&path, serde_json::to_vec_pretty(&config)?).with_context(|| format!("write {}", path.display()))
    }

    /// Starts it, after stopping it if it runs, on the same port, and waits until it answers.
    ///
    /// # Errors
    /// It ends at once, or does not listen in time; with what it logged.
    pub fn restart(&mut self) -> Result<()> {
        self.stop();
        let log = fs::File::create(self.path("log")).context("make the CA's log")?;
        let process = Command::new(program::found("step-ca")?)
            .arg(self.path("config/ca.json"))
            .args(["--password-file".into(), self.path("password")])
            .args(&self.arguments)
            .env("STEPPATH", self.directory.path())
            .env("HOME", self.directory.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("share the CA's log")?)
            .stderr(log)
            .spawn()
            .context("start step-ca")?;
        let process = self.process.insert(process);
        let deadline = Instant::now() + START;
        loop {
            if let Some(status) = process.try_wait().context("look at step-ca")? {
                bail!("step-ca ended with {status}: {}", fs::read_to_string(self.directory.path().join("log"))?);
            }
            // It listens only once everything is loaded.
            if port::is_listening(process.id(), self.port.address()) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "step-ca does not listen within {START:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The process id, while it runs.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// Stops it; its data stay.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // One that has ended already is what was wanted.
            process.kill().ok();
            process.wait().ok();
        }
    }

    /// Stops it and puts another CA, with another root, at the same address.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn reinitialise(&mut self) -> Result<()> {
        self.stop();
        let mut fresh = Self::init(Arc::clone(&self.port))?;
        fresh.arguments = std::mem::take(&mut self.arguments);
        *self = fresh;
        self.restart()
    }

    /// `https://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}", self.port.address())
    }

    /// Its root.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn root(&self) -> Result<RootCertificate> {
        Ok(RootCertificate::from_pem(&fs::read_to_string(self.path("certs/root_ca.crt")).context("read the root")?)?)
    }

    /// The root's fingerprint.
    ///
    /// # Errors
    /// As [`Self::root`].
    pub fn fingerprint(&self) -> Result<Fingerprint> {
        Ok(self.root()?.fingerprint())
    }

    /// The root's PEM file, for clients that trust this CA.
    #[must_use]
    pub fn root_file(&self) -> PathBuf {
        self.path("certs/root_ca.crt")
    }

    /// How a controller finds it, for [`HostOptions::step_ca`](crate::host::HostOptions::step_ca).
    ///
    /// # Errors
    /// As [`Self::root`].
    pub fn issuer(&self) -> Result<StepCaIssuer> {
        Ok(StepCaIssuer {
            url: self.url(),
            fingerprint: self.fingerprint()?.to_string(),
            provisioner: "admin".into(),
            password_file: self.password_file(),
            revoke_replaced: false,
            roots_every: None,
        })
    }

    /// A file with the provisioner's password.
    #[must_use]
    pub fn password_file(&self) -> PathBuf {
        self.path("password")
    }

    /// What it logged since its last start.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// How many certificates it has signed since its last start, by its own log.
    #[must_use]
    pub fn signed(&self) -> usize {
        let signed = |line: &&str| line.contains("path=/1.0/sign") && line.contains("status=201");
        self.log().lines().filter(signed).count()
    }

    /// Its `ca.json`.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn config(&self) -> Result<Value> {
        let path = self.path("config/ca.json");
        let text = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("parse {}", path.display()))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

impl Drop for StepCa {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A fresh key and its request for these names, PKCS #10 DER.
///
/// # Errors
/// A name that is none, or a key that cannot be made.
pub fn request(algorithm: KeyAlgorithm, names: &SubjectNames) -> Result<Vec<u8>> {
    use rcgen::RsaKeySize::{_2048, _3072, _4096};
    let key = match algorithm {
        KeyAlgorithm::EcdsaP256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
        KeyAlgorithm::EcdsaP384 => KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384),
        KeyAlgorithm::Ed25519 => KeyPair::generate_for(&PKCS_ED25519),
        KeyAlgorithm::Rsa2048 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, _2048),
        KeyAlgorithm::Rsa3072 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, _3072),
        KeyAlgorithm::Rsa4096 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, _4096),
    }?;
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.subject_alt_names = names
        .iter()
        .map(|name| {
            Ok(match name {
                SubjectName::Dns(text) => rcgen::SanType::DnsName(text.as_ref().try_into()?),
                SubjectName::Ip(address) => rcgen::SanType::IpAddress(*address),
                SubjectName::Uri(text) => rcgen::SanType::URI(text.as_ref().try_into()?),
                SubjectName::Email(text) => rcgen::SanType::Rfc822Name(text.as_ref().try_into()?),
            })
        })
        .collect::<Result<_>>()?;
    let csr = params.serialize_request(&key)?.der().to_vec();
    CertificateRequest::parse(&csr)?;
    Ok(csr)
}

/// What openssl thinks of a chain: its own verification for servers and for clients, and its text of the leaf.
///
/// # Errors
/// openssl refuses the chain, or is not there.
pub fn judged_by_openssl(root: &RootCertificate, chain: &pinion_proto::bundle::Chain) -> Result<String> {
    let directory = tempfile::tempdir()?;
    let file = |name: &str, pem: String| -> Result<PathBuf> {
        let path = directory.path().join(name);
        fs::write(&path, pem)?;
        Ok(path)
    };
    let leaf = file("leaf.pem", certificates_to_pem([chain.leaf().der()]))?;
    // openssl refuses an empty file of intermediates.
    let untrusted = file("chain.pem", certificates_to_pem(chain.certificates()))?;
    let root = file("root.pem", certificates_to_pem([root.der()]))?;
    for purpose in ["sslserver", "sslclient"] {
        let out = Command::new("openssl")
            .args(["verify", "-x509_strict", "-purpose", purpose, "-CAfile"])
            .args([&root, Path::new("-untrusted"), &untrusted, &leaf].map(|arg| arg.as_os_str()))
            .output()
            .context("run openssl verify")?;
        ensure!(
            out.status.success(),
            "openssl refuses the chain for {purpose}: {}{}",
            String::from_utf8_lossy(&out.stdout),
            String::from_utf8_lossy(&out.stderr)
        );
    }
    let out = Command::new("openssl").args(["x509", "-noout", "-text", "-in"]).arg(&leaf).output()?;
    ensure!(out.status.success(), "openssl cannot read the leaf");
    Ok(String::from_utf8(out.stdout)?)
}
