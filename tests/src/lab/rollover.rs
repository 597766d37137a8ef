//! Guest 103's step-ca gets another root, in the steps in which its operator does that.

use anyhow::{Context, Result};
use pinion_proto::bundle::{Fingerprint, RootCertificate};

use super::Lab;

/// Where the CA has everything.
const HOME: &str = "/etc/step-ca";

/// Makes another root with an intermediate; the CA says that it has both and goes on signing under the first.
///
/// # Errors
/// step-ca or `step` in the guest refuses something, with what it said.
pub fn announce_new_root(lab: &Lab) -> Result<Fingerprint> {
    let create = "step certificate create --force --password-file password";
    lab.sh(
        103,
        &format!(
            "export STEPPATH={HOME} HOME={HOME} && cd {HOME} \
             && {create} --profile root-ca 'Lab New Root' new_root.crt new_root.key \
             && {create} --profile intermediate-ca --ca new_root.crt --ca-key new_root.key \
                --ca-password-file password 'Lab New Intermediate' new_intermediate.crt new_intermediate.key"
        ),
    )?;
    change_authority(
        lab,
        "\"root\": [^,]*,",
        &format!("\"root\": [\"{HOME}/certs/root_ca.crt\", \"{HOME}/new_root.crt\"],"),
    )?;
    let pem = lab.read(103, "/etc/step-ca/new_root.crt").context("read the new root")?;
    Ok(RootCertificate::from_pem(&pem)?.fingerprint())
}

/// From now on it signs under the new root.
///
/// # Errors
/// As [`announce_new_root`].
pub fn sign_under_new_root(lab: &Lab) -> Result<()> {
    change_authority(lab, "\"crt\": [^,]*,", &format!("\"crt\": \"{HOME}/new_intermediate.crt\","))?;
    change_authority(lab, "\"key\": \"/[^,]*,", &format!("\"key\": \"{HOME}/new_intermediate.key\","))
}

/// It has the old root no longer.
///
/// # Errors
/// As [`announce_new_root`].
pub fn give_up_old_root(lab: &Lab) -> Result<()> {
    change_authority(lab, "\"root\": \\[[^]]*\\],", &format!("\"root\": \"{HOME}/new_root.crt\","))
}

/// Replaces what is found in `ca.json`, which `step` writes with a field a line or more, and restarts the CA.
fn change_authority(lab: &Lab, found: &str, by: &str) -> Result<()> {
    let edit = format!("sed -i -z 's#{found}#{by}#' {HOME}/config/ca.json && systemctl restart step-ca.service");
    lab.sh(103, &edit).map(drop)
}
