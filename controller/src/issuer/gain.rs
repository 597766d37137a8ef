//! Whether a renewal gains anything, when an authority of the issuer is about to end.
//!
//! Answers: does what was signed serve longer than what is held?
//! Invariant: a certificate that ends sooner because less was ordered, or allowed, is taken.

use pinion_proto::{clock::Timestamp, id::PlacementId, spec::PlainName};

use super::{IssuerError, Signed};

/// Whether what was signed serves longer than what is held until `held`. A certificate that ends sooner because less was
/// ordered, or allowed, is as good as one that ends later.
///
/// # Errors
/// [`IssuerError::Unfit`], when an authority in the chain ends before the certificate does.
pub(crate) fn serves_longer(
    id: &PlacementId,
    issuer: &PlainName,
    signed: &Signed,
    held: Timestamp,
) -> Result<(), IssuerError> {
    let expires = signed.chain.expires();
    let Some((authority, end)) = signed.chain.first_authority_to_end(&signed.root) else { return Ok(()) };
    if expires > held || end > signed.chain.leaf().not_after() {
        return Ok(());
    }
    Err(IssuerError::Unfit {
        message: format!(
            "issuer `{issuer}`: its authority {authority} ends at {end}, so a new certificate would be valid until \
             {expires}, and what is held is valid until {held}"
        ),
        remedy: format!(
            "renew that authority's certificate on the CA (step-ca: the file that `crt` in ca.json names; then restart \
             step-ca); Pinion keeps what is held and tries again by itself, and at once with `pinion ensure {id}`"
        ),
        held_until: Some(held),
    })
}

#[cfg(test)]
mod tests {
    use pinion_proto::bundle::{Chain, RootCertificate};
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

    use super::*;

    const NOW: i64 = 1_800_000_000;
    const DAY: i64 = 86_400;

    fn at(day: i64) -> Timestamp {
        Timestamp::from_unix(NOW + day * DAY)
    }

    fn authority(name: &str, end: i64) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        (params.not_before, params.not_after) = (at(-1).into(), at(end).into());
        params
    }

    /// What is signed by an authority below a root, each until that day.
    fn signed(leaf: i64, intermediate: i64, root: i64) -> Signed {
        let key = || KeyPair::generate().expect("a key");
        let params = authority("The Root", root);
        let (root_key, intermediate_key) = (key(), key());
        let root = RootCertificate::parse(params.self_signed(&root_key).expect("a root").der()).expect("a root");
        let signer = Issuer::new(params, root_key);
        let params = authority("The Intermediate", intermediate);
        let intermediate = params.signed_by(&intermediate_key, &signer).expect("an intermediate");
        let signer = Issuer::new(params, intermediate_key);
        let mut params = CertificateParams::new(vec!["a.example".to_owned()]).expect("names");
        (params.not_before, params.not_after) = (at(0).into(), at(leaf).into());
        let leaf = params.signed_by(&key(), &signer).expect("a leaf");
        let chain = Chain::from_der(&[leaf.der().to_vec(), intermediate.der().to_vec()]).expect("a chain");
        Signed { chain, root, shortened_to: None }
    }

    #[test]
    fn what_serves_no_longer_because_an_authority_ends_is_not_taken() {
        let (id, issuer) = ("web@101".parse().expect("an id"), "step-ca".parse().expect("a name"));
        for (what, signed, held, ends) in [
            ("nothing ends early", signed(30, 300, 3000), 10, None),
            (
                "the authority ends first, and as late as what is held",
                signed(30, 10, 3000),
                10,
                Some("The Intermediate"),
            ),
            ("the authority ends first, and later", signed(30, 10, 3000), 9, None),
            ("the authority ends with the certificate", signed(10, 10, 3000), 10, Some("The Intermediate")),
            ("a root caps what is signed", signed(10, 300, 10), 10, Some("The Root")),
            ("another authority, which ends before the one before", signed(30, 5, 3000), 10, Some("The Intermediate")),
            ("shorter certificates were ordered meanwhile", signed(1, 300, 3000), 20, None),
        ] {
            match (serves_longer(&id, &issuer, &signed, at(held)), ends) {
                (Ok(()), None) => {}
                (Err(error @ IssuerError::Unfit { .. }), Some(authority)) => {
                    let said = error.to_string();
                    assert!(said.contains(authority) && said.contains("step-ca"), "{what}: {said}");
                    assert!(error.remedy().contains("pinion ensure web@101"), "{what}: {}", error.remedy());
                    // A part of what is left, so that a CA that stays as it is signs a few a day.
                    let pause = error.retry_at(at(0), &id).expect("a moment").since(at(0));
                    assert_eq!(pause, at(held).since(at(0)) / 24, "{what}");
                }
                (other, _) => panic!("{what}: {other:?}"),
            }
        }
    }
}
