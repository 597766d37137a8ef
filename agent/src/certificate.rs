//! A certificate that was seen, as a person knows it again, and whether Pinion manages it.
//!
//! Invariant: a certificate may be anything: what cannot be read of it is left out, and texts are short.

use std::collections::BTreeMap;

use pinion_proto::{
    bundle::Fingerprint,
    examination::{MAX_SHOWN_NAMES, SeenCertificate},
    id::CertificateName,
    printable::line,
    report::{PlacementReport, WatchedCertificate},
};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer as _};

/// The longest name in a report (characters).
const MAX_NAME: usize = 255;

/// The certificates that Pinion manages here, by the SHA-256 of their DER.
#[derive(Debug)]
pub(crate) struct Managed(BTreeMap<Fingerprint, CertificateName>);

impl Managed {
    pub(crate) fn of(reports: &BTreeMap<CertificateName, PlacementReport>) -> Self {
        let held = reports
            .iter()
            .filter_map(|(name, report)| Some((Fingerprint::of(report.held.as_ref()?.leaf.der()), name.clone())));
        Self(held.collect())
    }
}

/// Whether a certificate is an authority's, as a file of roots has them.
pub(crate) fn is_authority(der: &[u8]) -> bool {
    X509Certificate::from_der(der).is_ok_and(|(_, certificate)| certificate.is_ca())
}

/// What a certificate says of itself; none if it is none.
pub(crate) fn seen(der: &[u8], managed: &Managed) -> Option<SeenCertificate> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some(SeenCertificate {
        names: names(&certificate),
        issuer: line(&certificate.issuer().to_string(), MAX_NAME),
        serial: serial(&certificate),
        not_after: certificate.validity().not_after.to_datetime().into(),
        managed: managed.0.get(&Fingerprint::of(der)).cloned(),
    })
}

/// What a service's certificates say, the end-entity's first; none if one of them is none.
pub(crate) fn watched(chain: &[Box<[u8]>]) -> Option<WatchedCertificate> {
    let chain = chain.iter().map(|der| X509Certificate::from_der(der)).collect::<Result<Vec<_>, _>>().ok()?;
    let (_, leaf) = chain.first()?;
    let ends = chain.iter().map(|(_, certificate)| certificate.validity().not_after.to_datetime().into());
    Some(WatchedCertificate {
        names: names(leaf),
        issuer: line(&leaf.issuer().to_string(), MAX_NAME),
        serial: serial(leaf),
        not_before: leaf.validity().not_before.to_datetime().into(),
        expires: ends.min()?,
    })
}

fn serial(certificate: &X509Certificate<'_>) -> String {
    certificate.raw_serial().iter().take(32).map(|byte| format!("{byte:02X}")).collect()
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    if let Ok(Some(alternative)) = certificate.subject_alternative_name() {
        names.extend(alternative.value.general_names.iter().filter_map(name));
    }
    if names.is_empty() {
        let common = certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok());
        names.extend(common.map(|name| line(name, MAX_NAME)));
    }
    names.truncate(MAX_SHOWN_NAMES);
    names
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(line(name, MAX_NAME)),
        GeneralName::IPAddress(bytes) => match **bytes {
            [a, b, c, d] => Some(std::net::Ipv4Addr::from([a, b, c, d]).to_string()),
            _ => <[u8; 16]>::try_from(*bytes).ok().map(|bytes| std::net::Ipv6Addr::from(bytes).to_string()),
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    #[test]
    fn names_come_from_the_san_or_else_from_the_subject() {
        let key = KeyPair::generate().expect("a key");
        let mut parameters = CertificateParams::new(vec!["a.example".into(), "10.0.0.5".into()]).expect("names");
        let both = parameters.self_signed(&key).expect("a certificate");
        let nobody = Managed(BTreeMap::new());
        let told = seen(both.der(), &nobody).expect("it is one");
        assert_eq!((told.names, told.managed), (vec!["a.example".to_owned(), "10.0.0.5".into()], None));
        parameters.subject_alt_names.clear();
        parameters.distinguished_name.push(DnType::CommonName, "old.example\u{202e}");
        let old = parameters.self_signed(&key).expect("a certificate");
        let managed = Managed([(Fingerprint::of(old.der()), "web".parse().expect("a name"))].into());
        let told = seen(old.der(), &managed).expect("it is one");
        assert_eq!(
            (told.names, told.managed.expect("it is managed").as_str()),
            (vec!["old.example\\u{202e}".into()], "web")
        );
        assert_eq!(seen(b"nothing", &nobody), None);
    }

    #[test]
    fn of_what_is_watched_the_first_end_in_the_chain_counts() {
        let key = KeyPair::generate().expect("a key");
        let made = |year| {
            let mut parameters = CertificateParams::new(vec!["a.example".into()]).expect("names");
            parameters.not_before = rcgen::date_time_ymd(2020, 1, 1);
            parameters.not_after = rcgen::date_time_ymd(year, 1, 1);
            Box::<[u8]>::from(parameters.self_signed(&key).expect("a certificate").der().as_ref())
        };
        let (long, short) = (made(2040), made(2030));
        let seen = watched(&[long.clone(), short]).expect("both are certificates");
        assert_eq!(seen.names, ["a.example"]);
        assert_eq!(seen.expires.to_string(), "2030-01-01T00:00:00Z");
        assert_eq!(seen.not_before.to_string(), "2020-01-01T00:00:00Z");
        assert_eq!(watched(&[long, Box::from(*b"nothing")]), None);
        assert_eq!(watched(&[]), None);
    }
}
