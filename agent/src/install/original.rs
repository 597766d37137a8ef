//! What was in the place of a file before Pinion: whose it was, and putting it back.
//!
//! Invariant: what is put back takes no place that is taken.

use std::path::Path;

use pinion_proto::{bundle::Fingerprint, clock::Timestamp, private_key::PrivateKey, report::Original, spec::GuestPath};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate, X509Name};

use super::{InstallError, files::Files, foreign, observed, unlink::unlink};
use crate::config::Config;

/// So many names say whose a certificate is.
const NAMES: usize = 3;

/// What is to be known of a file (PEM).
#[must_use]
pub fn of(path: &GuestPath, content: &[u8]) -> Original {
    let nothing = Original {
        path: path.clone(),
        subject: String::new(),
        issuer: String::new(),
        not_after: None,
        kept: None,
        key: PrivateKey::from_foreign_pem(content).ok().map(|key| key.public()),
    };
    let blocks = pem::parse_many(content).unwrap_or_default();
    let Some(first) = blocks.iter().find(|block| block.tag() == "CERTIFICATE") else { return nothing };
    let Ok((_, certificate)) = X509Certificate::from_der(first.contents()) else { return nothing };
    Original {
        subject: whose(&certificate),
        issuer: name(certificate.issuer()),
        not_after: Some(Timestamp::from_unix(certificate.validity().not_after.timestamp())),
        key: nothing.key.or_else(|| Some(Fingerprint::of(certificate.public_key().raw))),
        ..nothing
    }
}

/// A path as the guest sees it.
#[must_use]
pub fn seen_from(root: &Path, path: &Path) -> Option<GuestPath> {
    Path::new("/").join(foreign::inside(root, path)).to_str()?.parse().ok()
}

/// Those that are still of use: certificates that have not ended, and private keys where their certificate has not, or no
/// certificate was replaced.
pub fn valid(originals: &[Original], now: Timestamp) -> impl Iterator<Item = &Original> {
    let lasts = move |original: &Original| original.not_after.is_none_or(|end| now < end);
    let certificates = || originals.iter().filter(|original| original.not_after.is_some());
    let keys = certificates().next().is_none() || certificates().any(lasts);
    originals.iter().filter(move |original| if original.not_after.is_some() { lasts(original) } else { keys })
}

/// Puts a kept file back and removes the copy; false when its place is taken, or the copy is gone.
///
/// # Errors
/// It cannot be read or written.
pub fn put_back(files: &dyn Files, config: &Config, original: &Original, target: &Path) -> Result<bool, InstallError> {
    let Some(kept) = &original.kept else { return Ok(false) };
    let copy = config.root.join(kept.as_str().trim_start_matches('/'));
    let failed = |source| InstallError::Operation { operation: "look at", path: target.to_owned(), source };
    let Some(file) = observed::read(files, &copy)? else { return Ok(false) };
    if files.look(target).map_err(failed)?.is_some() {
        return Ok(false);
    }
    foreign::write_copy(files, target, &file)?;
    unlink(files, &copy)?;
    Ok(true)
}

/// Whose a certificate is: its names, else its subject.
fn whose(certificate: &X509Certificate<'_>) -> String {
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.iter().flat_map(|names| &names.value.general_names);
    let texts = names.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress([a, b, c, d]) => Some(std::net::Ipv4Addr::new(*a, *b, *c, *d).to_string()),
        GeneralName::IPAddress(bytes) => Some(std::net::Ipv6Addr::from(<[u8; 16]>::try_from(*bytes).ok()?).to_string()),
        _ => None,
    });
    let texts: Vec<_> = texts.take(NAMES).collect();
    if texts.is_empty() { name(certificate.subject()) } else { texts.join(", ") }
}

/// The common name, else all of it.
fn name(name: &X509Name<'_>) -> String {
    let common = name.iter_common_name().next().and_then(|name| name.as_str().ok());
    common.map_or_else(|| name.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_a_certificate_is_and_until_when_is_told() {
        let path: GuestPath = "/etc/ssl/web.crt".parse().expect("a path");
        let names = ["web.lan", "10.0.0.5", "fd00::5", "more.lan"].map(str::to_owned);
        let mut parameters = rcgen::CertificateParams::new(names).expect("names");
        parameters.distinguished_name.push(rcgen::DnType::CommonName, "Hand made");
        let key = rcgen::KeyPair::generate().expect("a key");
        let made = parameters.self_signed(&key).expect("a certificate");
        let end = Some(Timestamp::from_unix(parameters.not_after.unix_timestamp()));
        let both = format!("{}{}", key.serialize_pem(), made.pem());
        for text in [made.pem(), both] {
            let told = of(&path, text.as_bytes());
            assert_eq!((told.subject.as_str(), told.issuer.as_str()), ("web.lan, 10.0.0.5, fd00::5", "Hand made"));
            assert_eq!(told.not_after, end);
            assert!(
                told.to_string().starts_with("a certificate of web.lan, 10.0.0.5, fd00::5 by Hand made, valid until")
            );
        }
        assert_eq!(of(&path, key.serialize_pem().as_bytes()).to_string(), "a private key");
        for broken in ["", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"] {
            assert_eq!(of(&path, broken.as_bytes()).not_after, None);
        }
    }

    #[test]
    fn what_has_ended_is_not_put_back_nor_its_key() {
        let one = |path: &str, end: Option<i64>| Original {
            path: path.parse().expect("a path"),
            subject: String::new(),
            issuer: String::new(),
            not_after: end.map(Timestamp::from_unix),
            kept: None,
            key: None,
        };
        let now = Timestamp::from_unix(1000);
        let valid = |originals: &[Original]| {
            valid(originals, now).map(|original| original.path.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(valid(&[one("/a/crt", Some(1001)), one("/a/key", None)]), ["/a/crt", "/a/key"]);
        assert!(valid(&[one("/a/crt", Some(1000)), one("/a/key", None)]).is_empty());
        assert_eq!(valid(&[one("/a/crt", Some(1000)), one("/a/chain", Some(2000)), one("/a/key", None)]).len(), 2);
        assert_eq!(valid(&[one("/a/key", None)]), ["/a/key"]);
    }
}
