//! OpenSSL as a judge of what Pinion made: another implementation, through its command line.

use std::{net::SocketAddr, path::Path, process::Command, time::Duration};

use anyhow::{Context, Result, bail};
use pinion_proto::clock::Timestamp;

use crate::{
    process::{Finished, run},
    program,
};

/// What `openssl s_client` saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The served leaf's serial number, upper-case hexadecimal.
    pub serial: String,
    /// The served leaf, PEM.
    pub leaf: String,
    /// How many certificates the server sent.
    pub sent: usize,
    /// `Verify return code: 0 (ok)`; false for anything else.
    pub verified: bool,
    /// Everything that it printed.
    pub output: String,
}

/// Connects with `openssl s_client`, asking for `name` and trusting the roots in `ca`.
///
/// # Errors
/// No connection, or no certificate.
pub fn s_client(address: SocketAddr, name: &str, ca: &Path) -> Result<Seen> {
    let address = address.to_string();
    let mut command = openssl()?;
    command.args(["s_client", "-connect", &address, "-servername", name, "-verify_hostname", name, "-showcerts"]);
    command.arg("-CAfile").arg(ca);
    // It ends at the end of its input, with a code that depends on how the server takes that.
    let finished = run(&mut command, b"", MAX)?;
    let text = &finished.stdout;
    let Some(start) = text.find("-----BEGIN CERTIFICATE-----") else { bail!("no certificate: {finished}") };
    let end = text[start..].find(PEM_END).context("s_client prints whole certificates")? + start + PEM_END.len();
    let leaf = format!("{}\n", &text[start..end]);
    let sent = text.matches("-----BEGIN CERTIFICATE-----").count();
    // Once for the handshake, and again for each ticket.
    let verified = text.contains("Verify return code: 0 (ok)") && !text.contains("Verification error");
    Ok(Seen { serial: serial(&leaf)?, sent, leaf, verified, output: finished.stdout })
}

/// The serial number of a PEM certificate, upper-case hexadecimal.
///
/// # Errors
/// It is none.
pub fn serial(pem: &str) -> Result<String> {
    let finished = run(openssl()?.args(["x509", "-noout", "-serial"]), pem.as_bytes(), MAX)?.succeeded()?;
    let serial = finished.stdout.trim().strip_prefix("serial=").context("openssl prints serial=…")?;
    Ok(serial.to_owned())
}

/// The subject of a PEM certificate, as `openssl x509 -subject` prints it.
///
/// # Errors
/// It is none.
pub fn subject(pem: &str) -> Result<String> {
    let finished = run(openssl()?.args(["x509", "-noout", "-subject"]), pem.as_bytes(), MAX)?.succeeded()?;
    Ok(finished.stdout.trim().to_owned())
}

/// The last second of a PEM certificate.
///
/// # Errors
/// It is none.
pub fn not_after(pem: &str) -> Result<Timestamp> {
    let mut command = openssl()?;
    command.args(["x509", "-noout", "-enddate", "-dateopt", "iso_8601"]);
    let finished = run(&mut command, pem.as_bytes(), MAX)?.succeeded()?;
    let end = finished.stdout.trim().strip_prefix("notAfter=").context("openssl prints notAfter=…")?;
    end.replace(' ', "T").parse().with_context(|| format!("read {end}"))
}

/// The names of a PEM certificate as `openssl x509 -ext subjectAltName` prints them: `DNS:a.example`,
/// `IP Address:10.0.0.1`, `URI:spiffe://a/b`, `email:a@b.example`.
///
/// # Errors
/// It is none, or has no names.
pub fn subject_alt_names(pem: &str) -> Result<Vec<String>> {
    let mut command = openssl()?;
    command.args(["x509", "-noout", "-ext", "subjectAltName"]);
    let finished = run(&mut command, pem.as_bytes(), MAX)?.succeeded()?;
    let names = finished.stdout.lines().nth(1).with_context(|| format!("no names: {finished}"))?;
    Ok(names.trim().split(", ").map(str::to_owned).collect())
}

/// The public key of a PEM certificate, PEM (SubjectPublicKeyInfo).
///
/// # Errors
/// It is none.
pub fn public_key(pem: &str) -> Result<String> {
    Ok(run(openssl()?.args(["x509", "-noout", "-pubkey"]), pem.as_bytes(), MAX)?.succeeded()?.stdout)
}

/// What `openssl x509 -text` says of a PEM certificate.
///
/// # Errors
/// It is none.
pub fn text(pem: &str) -> Result<String> {
    Ok(run(openssl()?.args(["x509", "-noout", "-text"]), pem.as_bytes(), MAX)?.succeeded()?.stdout)
}

/// `openssl verify -x509_strict` of the leaf in `fullchain`, with the certificates after it as
/// intermediates, under the root in `ca`.
///
/// # Errors
/// It cannot be started; a refusal is in the exit code.
pub fn verify(ca: &Path, fullchain: &Path) -> Result<Finished> {
    let mut command = openssl()?;
    command.args(["verify", "-x509_strict", "-CAfile"]).arg(ca).arg("-untrusted").arg(fullchain).arg(fullchain);
    run(&mut command, b"", MAX)
}

/// Whether the private key in one PEM file is that of the first certificate in another.
///
/// # Errors
/// Either cannot be read.
pub fn is_pair(certificate: &Path, key: &Path) -> Result<bool> {
    let of_certificate = run(openssl()?.args(["x509", "-noout", "-pubkey", "-in"]).arg(certificate), b"", MAX)?;
    let of_key = run(openssl()?.args(["pkey", "-pubout", "-in"]).arg(key), b"", MAX)?;
    Ok(of_certificate.succeeded()?.stdout == of_key.succeeded()?.stdout)
}

fn openssl() -> Result<Command> {
    Ok(Command::new(program::found("openssl")?))
}

/// Each of these commands takes milliseconds.
const MAX: Duration = Duration::from_secs(20);
const PEM_END: &str = "-----END CERTIFICATE-----";
