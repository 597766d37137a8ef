//! A certificate that was seen, as a person knows it again, and whether Pinion manages it.
//!
//! Invariant: a certificate may be anything: what cannot be read of it is left out, and texts are short.

use std::collections::BTreeMap;

use pinion_proto::{
    bundle::Fingerprint,
    examination::{MAX_SHOWN_NAMES, SeenCertificate},
    id::CertificateName,
    printable::line,
    report::PlacementReport,
};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer as _};

/// The longest name in a report (characters).
const MAX_NAME: usize = 255;

/// The certificates that Pinion manages here, by the SHA-256 of their DER.
#[derive(Debug)]
pub(super) struct Managed(BTreeMap<Fingerprint, CertificateName>);

impl Managed {
    pub(super) fn of(reports: &BTreeMap<CertificateName, PlacementReport>) -> Self {
        let held = reports
            .iter()
            .filter_map(|(name, report)| Some((Fingerprint::of(report.held.as_ref()?.leaf.der()), name.clone())));
        Self(held.collect())
    }
}

/// Whether a certificate is an authority's, as a file of roots has them.
pub(super) fn is_authority(der: &[u8]) -> bool {
    X509Certificate::from_der(der).is_ok_and(|(_, certificate)| certificate.is_ca())
}

/// What a certificate says of itself; none if it is none.
pub(super) fn seen(der: &[u8], managed: &Managed) -> Option<SeenCertificate> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let mut names: Vec<String> = Vec::new();
    if let Ok(Some(alternative)) = certificate.subject_alternative_name() {
        names.extend(alternative.value.general_names.iter().filter_map(name));
    }
    if names.is_empty() {
        let common = certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok());
        names.extend(common.map(|name| line(name, MAX_NAME)));
    }
    names.truncate(MAX_SHOWN_NAMES);
    let serial = certificate.raw_serial();
    Some(SeenCertificate {
        names,
        issuer: line(&certificate.issuer().to_string(), MAX_NAME),
        serial: serial.iter().take(32).map(|byte| format!("{byte:02X}")).collect(),
        not_after: certificate.validity().not_after.to_datetime().into(),
        managed: managed.0.get(&Fingerprint::of(der)).cloned(),
    })
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
}
