//! A step-ca gets another root, in the steps in which its operator does that.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use pinion_proto::bundle::{Fingerprint, RootCertificate};
use serde_json::{Value, json};

use super::StepCa;
use crate::program;

impl StepCa {
    /// Makes another root and an intermediate under it, and restarts the CA so that it says that it has both roots. It
    /// goes on signing under the first.
    ///
    /// # Errors
    /// `step` fails, or the CA does not come back.
    pub fn announce_new_root(&mut self) -> Result<Fingerprint> {
        make_root(self.directory.path())?;
        let (old, new) = (self.path("certs/root_ca.crt"), self.path("new_root.crt"));
        self.change(|config| config["root"] = json!([old, new]))?;
        self.restart()?;
        self.new_root().map(|root| root.fingerprint())
    }

    /// From now on it signs under the new root.
    ///
    /// # Errors
    /// As [`Self::announce_new_root`].
    pub fn sign_under_new_root(&mut self) -> Result<()> {
        let (certificate, key) = (self.path("new_intermediate.crt"), self.path("new_intermediate.key"));
        self.change(|config| (config["crt"], config["key"]) = (json!(certificate), json!(key)))?;
        self.restart()
    }

    /// It has the old root no longer.
    ///
    /// # Errors
    /// As [`Self::announce_new_root`].
    pub fn give_up_old_root(&mut self) -> Result<()> {
        let new = self.path("new_root.crt");
        self.change(|config| config["root"] = json!(new))?;
        self.restart()
    }

    /// Makes the intermediate anew under the root, valid between these moments as `step` reads them (`10m`, `-1h`), and
    /// restarts the CA.
    ///
    /// # Errors
    /// As [`Self::announce_new_root`].
    pub fn renew_intermediate(&mut self, not_before: &str, not_after: &str) -> Result<()> {
        let (not_before, not_after) = (format!("--not-before={not_before}"), format!("--not-after={not_after}"));
        let subject = ["Test Intermediate CA", "certs/intermediate_ca.crt", "secrets/intermediate_ca_key"];
        let signer = ["--ca", "certs/root_ca.crt", "--ca-key", "secrets/root_ca_key", "--ca-password-file", "password"];
        let more = ["--profile", "intermediate-ca", "--password-file", "password", &not_before, &not_after];
        create(self.directory.path(), &[&subject[..], &signer[..], &more[..]].concat())?;
        self.restart()
    }

    /// The root that [`Self::announce_new_root`] made.
    ///
    /// # Errors
    /// There is none.
    pub fn new_root(&self) -> Result<RootCertificate> {
        let pem = std::fs::read_to_string(self.path("new_root.crt")).context("read the new root")?;
        Ok(RootCertificate::from_pem(&pem)?)
    }
}

/// `new_root.crt` and `new_intermediate.crt` with their keys, in a directory that has the CA's `password`.
///
/// # Errors
/// `step` is not there, or fails.
pub fn make_root(directory: &Path) -> Result<()> {
    create(
        directory,
        &["New Root", "new_root.crt", "new_root.key", "--profile", "root-ca", "--password-file", "password"],
    )?;
    let signer = ["--ca", "new_root.crt", "--ca-key", "new_root.key", "--ca-password-file", "password"];
    let subject = ["New Intermediate", "new_intermediate.crt", "new_intermediate.key", "--profile", "intermediate-ca"];
    create(directory, &[&subject[..], &signer[..], &["--password-file", "password"]].concat())
}

/// Makes `NAME.pub` and `NAME.key` for a JWK provisioner as `step crypto jwk create` does, the latter encrypted with the
/// password in a file of that directory, or not at all; the public key.
///
/// # Errors
/// As [`make_root`].
pub fn make_provisioner_key(directory: &Path, name: &str, password_file: Option<&str>) -> Result<Value> {
    let (public, private) = (format!("{name}.pub"), format!("{name}.key"));
    let how = match password_file {
        Some(file) => ["--password-file", file],
        None => ["--no-password", "--insecure"],
    };
    step(directory, &[&["crypto", "jwk", "create", &public, &private, "--force"][..], &how[..]].concat())?;
    Ok(serde_json::from_slice(&std::fs::read(directory.join(public)).context("read the public key")?)?)
}

/// `step certificate create` with these words, in a directory.
pub(super) fn create(directory: &Path, words: &[&str]) -> Result<()> {
    step(directory, &[&["certificate", "create"], words, &["--force"]].concat())
}

fn step(directory: &Path, words: &[&str]) -> Result<()> {
    let mut command = Command::new(program::found("step")?);
    command.args(words).current_dir(directory);
    command.env("STEPPATH", directory).env("HOME", directory).stdin(Stdio::null());
    let out = command.output().context("run step")?;
    ensure!(out.status.success(), "step {words:?} fails: {}", String::from_utf8_lossy(&out.stderr));
    Ok(())
}
