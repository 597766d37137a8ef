//! What a certificate may be used for, by its own extensions.
//!
//! Answers: would clients accept it from a server, or a server from a client?
//! Invariant: an extension that is not there restricts nothing (RFC 5280 sections 4.2.1.3 and 4.2.1.12).

use thiserror::Error;
use x509_parser::{extensions::ExtendedKeyUsage, prelude::X509Certificate};

use crate::{id::shown, spec::Usage};

/// Why a certificate cannot be used for what it is ordered for.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PurposeError {
    /// It may sign certificates.
    #[error("the certificate is a certificate authority's (basic constraints), not a service's")]
    Authority,
    /// Its extended key usage, or that of an authority above it, is for something else.
    #[error("the extended key usage of {whose} is {found}, but {needed} is needed: its peers refuse it")]
    Extended {
        /// The certificate, or the subject of an authority.
        whose: String,
        /// What it is for.
        found: String,
        /// What it would have to be for.
        needed: &'static str,
    },
    /// Its key may not sign handshakes.
    #[error("the key usage of the certificate lacks digitalSignature, which TLS handshakes need")]
    Signature,
    /// An extension cannot be read.
    #[error("the extension {0} of the certificate is malformed or there twice")]
    Malformed(&'static str),
}

/// Whether a leaf below these authorities may be used by that side; by either, where nobody says which.
pub(super) fn check(
    leaf: &X509Certificate<'_>,
    authorities: &[X509Certificate<'_>],
    usage: Option<Usage>,
) -> Result<(), PurposeError> {
    let constraints = leaf.basic_constraints().map_err(|_| PurposeError::Malformed("basicConstraints"))?;
    if constraints.is_some_and(|constraints| constraints.value.ca) {
        return Err(PurposeError::Authority);
    }
    extended(leaf, "the certificate", usage)?;
    for authority in authorities {
        extended(authority, &format!("the authority {}", shown(&authority.subject().to_string())), usage)?;
    }
    // Every key exchange with forward secrecy, and so all of TLS 1.3, has the certificate's key sign the handshake.
    match leaf.key_usage() {
        Ok(Some(usage)) if !usage.value.digital_signature() => Err(PurposeError::Signature),
        Ok(_) => Ok(()),
        Err(_) => Err(PurposeError::Malformed("keyUsage")),
    }
}

/// An authority's extended key usage restricts what is below it: OpenSSL and webpki check it along the chain.
fn extended(certificate: &X509Certificate<'_>, whose: &str, usage: Option<Usage>) -> Result<(), PurposeError> {
    let said = certificate.extended_key_usage().map_err(|_| PurposeError::Malformed("extKeyUsage"))?;
    let Some(said) = said.map(|said| said.value) else { return Ok(()) };
    // anyExtendedKeyUsage counts as neither: OpenSSL and webpki do not take it for either.
    let (is_enough, needed) = match usage {
        Some(Usage::Server) => (said.server_auth, "serverAuth"),
        Some(Usage::Client) => (said.client_auth, "clientAuth"),
        Some(Usage::Both) => (said.server_auth && said.client_auth, "serverAuth with clientAuth"),
        None => (said.server_auth || said.client_auth, "serverAuth or clientAuth"),
    };
    if is_enough {
        return Ok(());
    }
    Err(PurposeError::Extended { whose: whose.to_owned(), found: words(said), needed })
}

fn words(said: &ExtendedKeyUsage<'_>) -> String {
    let known = [
        (said.any, "anyExtendedKeyUsage"),
        (said.server_auth, "serverAuth"),
        (said.client_auth, "clientAuth"),
        (said.code_signing, "codeSigning"),
        (said.email_protection, "emailProtection"),
        (said.time_stamping, "timeStamping"),
        (said.ocsp_signing, "OCSPSigning"),
    ];
    let others = said.other.iter().take(4).map(ToString::to_string);
    let all: Vec<String> =
        known.into_iter().filter(|(is_there, _)| *is_there).map(|(_, word)| word.to_owned()).chain(others).collect();
    if all.is_empty() { "empty".to_owned() } else { all.join(", ") }
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose as Purpose, IsCa, Issuer, KeyPair,
        KeyUsagePurpose,
    };

    use super::*;
    use crate::bundle::Chain;

    fn params(purposes: &[Purpose]) -> CertificateParams {
        let mut params = CertificateParams::new(vec!["a.example".to_owned()]).expect("names");
        params.extended_key_usages = purposes.to_vec();
        params
    }

    /// A leaf below an intermediate that is itself for these.
    fn chain(leaf: &CertificateParams, authority: &[Purpose]) -> Chain {
        let key = || KeyPair::generate().expect("a key");
        let mut root = CertificateParams::default();
        root.distinguished_name.push(DnType::CommonName, "Root");
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = Issuer::new(root, key());
        let mut params = params(authority);
        params.distinguished_name.push(DnType::CommonName, "Intermediate");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let intermediate_key = key();
        let intermediate = params.signed_by(&intermediate_key, &root).expect("an intermediate");
        let signer = Issuer::new(params, intermediate_key);
        let leaf = leaf.signed_by(&key(), &signer).expect("a leaf");
        Chain::from_der(&[leaf.der().to_vec(), intermediate.der().to_vec()]).expect("a chain")
    }

    #[test]
    fn the_extended_key_usage_is_for_the_side_that_shows_it() {
        let (server, client, code) = (Purpose::ServerAuth, Purpose::ClientAuth, Purpose::CodeSigning);
        let sides = [None, Some(Usage::Server), Some(Usage::Client), Some(Usage::Both)];
        for (purposes, good) in [
            (vec![], [true; 4]),
            (vec![server.clone()], [true, true, false, false]),
            (vec![client.clone()], [true, false, true, false]),
            (vec![server, client, code.clone()], [true; 4]),
            (vec![code.clone()], [false; 4]),
            (vec![Purpose::Any], [false; 4]),
            (vec![Purpose::Other(vec![1, 3, 6, 1, 5, 5, 7, 3, 17])], [false; 4]),
        ] {
            for (usage, good) in sides.into_iter().zip(good) {
                for chain in [chain(&params(&purposes), &[]), chain(&params(&[]), &purposes)] {
                    assert_eq!(chain.fits(usage).is_ok(), good, "{purposes:?} for {usage:?}");
                }
            }
        }
        let refused = |chain: Chain, usage| chain.fits(Some(usage)).expect_err("it is for something else").to_string();
        let said = refused(chain(&params(std::slice::from_ref(&code)), &[]), Usage::Both);
        assert!(said.contains("of the certificate is codeSigning, but serverAuth with clientAuth"), "{said}");
        let said = refused(chain(&params(&[]), &[code]), Usage::Client);
        assert!(said.contains("of the authority") && said.contains("Intermediate"), "{said}");
    }

    #[test]
    fn the_key_signs_handshakes_and_no_certificates() {
        let with = |usages: &[KeyUsagePurpose], is_ca: IsCa| {
            let mut params = params(&[]);
            (params.key_usages, params.is_ca) = (usages.to_vec(), is_ca);
            chain(&params, &[]).fits(None)
        };
        use KeyUsagePurpose::{DigitalSignature, KeyAgreement, KeyEncipherment};
        assert_eq!(with(&[], IsCa::NoCa), Ok(()));
        assert_eq!(with(&[DigitalSignature, KeyEncipherment], IsCa::ExplicitNoCa), Ok(()));
        assert_eq!(with(&[KeyEncipherment, KeyAgreement], IsCa::NoCa), Err(PurposeError::Signature));
        let authority = IsCa::Ca(BasicConstraints::Constrained(0));
        assert_eq!(with(&[DigitalSignature], authority), Err(PurposeError::Authority));
    }
}
