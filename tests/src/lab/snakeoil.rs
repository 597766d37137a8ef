//! Certificates that nobody trusts, for services that have none of Pinion's yet.

use anyhow::{Context, Result};
use rcgen::generate_simple_self_signed;

use super::{container::Container, namespace::Namespace};

/// A self-signed certificate and its key, PEM.
pub(super) fn pair() -> Result<(String, String)> {
    let made = generate_simple_self_signed(["snakeoil.invalid".to_owned()]).context("make a self-signed pair")?;
    Ok((made.cert.pem(), made.signing_key.serialize_pem()))
}

/// Writes a pair that nobody trusts, for the guest's root and this group.
pub(super) fn snakeoil(
    namespace: &Namespace,
    guest: &Container,
    (certificate, key): (&str, &str),
    mode: u32,
    group: u32,
) -> Result<()> {
    let (chain, secret) = pair()?;
    guest.write(namespace, certificate, 0o644, group, chain.as_bytes())?;
    guest.write(namespace, key, mode, group, secret.as_bytes())
}
