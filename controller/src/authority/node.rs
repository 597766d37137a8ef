//! The authority of one node: below a root whose key is somebody else's, for a month.
//!
//! Answers: what may a node sign, and what does its certificate say?
//! Invariant: of a request nothing but its key is taken, after its possession was proven. A node's authority signs no other
//! authority, and no server's name but the controller's: whoever takes it over has what it has, for as long as it lasts.

use std::time::Duration;

use pinion_proto::{
    bundle::{Chain, RootCertificate},
    causes::chain,
    clock::Timestamp,
    id::TrustDomain,
    key::KeyAlgorithm,
    tls::CONTROLLER_NAME,
};
use rcgen::{
    BasicConstraints, CidrSubnet, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyUsagePurpose,
    NameConstraints, PublicKeyData, SanType,
};
use rustls::pki_types::CertificateDer;

use super::{Authority, AuthorityError, RootKey, proven_key};

/// A broken controller keeps what it could sign for no longer than this.
pub(crate) const LIFE: Duration = Duration::from_secs(30 * 24 * 3600);

impl Authority {
    /// Signs the authority of a node, for the key of a PKCS #10 request of which nothing else is taken.
    pub(crate) fn sign_node(
        &self,
        csr: &[u8],
        domain: &TrustDomain,
        node: &str,
        now: Timestamp,
    ) -> Result<Vec<u8>, AuthorityError> {
        let (KeyAlgorithm::EcdsaP256, key) = proven_key(csr)? else { return Err(AuthorityError::Key) };
        let mut params = self.parameters(LIFE, now)?;
        params.distinguished_name.push(DnType::CommonName, format!("Pinion node {node}"));
        let uri = format!("spiffe://{domain}/node/{node}");
        params.subject_alt_names = vec![SanType::URI(uri.as_str().try_into().map_err(AuthorityError::Sign)?)];
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        // X.509 cannot confine an authority to paths of URIs: which guest's identity counts, the record says.
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::DnsName(CONTROLLER_NAME.into())],
            excluded_subtrees: vec![
                GeneralSubtree::IpAddress(CidrSubnet::V4([0; 4], [0; 4])),
                GeneralSubtree::IpAddress(CidrSubnet::V6([0; 16], [0; 16])),
            ],
        });
        params.use_authority_key_identifier_extension = true;
        Ok(params.signed_by(&key, &self.issuer).map_err(AuthorityError::Sign)?.der().to_vec())
    }

    /// The authority of a node: its key (PKCS #8), its certificate, and the root above it.
    pub(crate) fn of_node(
        key: &[u8],
        certificate: &[u8],
        root: RootCertificate,
        now: Timestamp,
    ) -> Result<Self, String> {
        let key = RootKey::from_pkcs8(key)?;
        let chain_of_one = Chain::from_der(&[certificate.to_vec()]).map_err(|error| chain(&error))?;
        let expires = chain_of_one.leaf().not_after();
        chain_of_one
            .verify(&root, now.clamp(chain_of_one.leaf().not_before(), expires))
            .map_err(|error| chain(&error))?;
        let (_, parsed) = x509_parser::parse_x509_certificate(certificate).map_err(|error| error.to_string())?;
        if parsed.public_key().subject_public_key.as_ref() != key.der_bytes() {
            return Err("it is for another key".into());
        }
        if !parsed.is_ca() {
            return Err("it is not the certificate of an authority".into());
        }
        let issuer = Issuer::from_ca_cert_der(&CertificateDer::from(certificate), key).map_err(|e| e.to_string())?;
        Ok(Self { root, expires, issuer, above: vec![certificate.to_vec()] })
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, KeyPair};

    use super::*;
    use crate::authority::{Profile, fresh_key, tests::fixture};
    use pinion_proto::bundle::{CertificateError, EndorsedRoot};

    const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

    fn domain() -> TrustDomain {
        "pinion.internal".parse().expect("a domain")
    }

    #[test]
    fn nothing_of_the_request_is_taken_but_its_key() {
        let (_directory, _store, root) = fixture();
        let key = KeyPair::generate().expect("a key");
        let mut asked = CertificateParams::new(["evil.example".to_owned()]).expect("parameters");
        asked.distinguished_name.push(DnType::CommonName, "Evil");
        asked.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::CrlSign];
        let csr = asked.serialize_request(&key).expect("a request");
        let signed = root.sign_node(csr.der(), &domain(), "pve1", NOW).expect("signed");
        let (_, node) = x509_parser::parse_x509_certificate(&signed).expect("X.509");
        assert_eq!(node.subject().to_string(), "CN=Pinion node pve1");
        let constraints = node.basic_constraints().expect("one").expect("constraints");
        assert!(constraints.critical && constraints.value.ca);
        assert_eq!(constraints.value.path_len_constraint, Some(0));
        let san = node.subject_alternative_name().expect("one").expect("names").value;
        assert_eq!(format!("{:?}", san.general_names), "[URI(\"spiffe://pinion.internal/node/pve1\")]");
        assert!(node.name_constraints().expect("one").expect("constraints").critical);
        let usage = node.key_usage().expect("one").expect("usage").value;
        assert!(usage.key_cert_sign() && !usage.digital_signature());
        let lasts = node.validity().not_after.timestamp() - NOW.unix();
        assert_eq!(lasts, i64::try_from(LIFE.as_secs()).expect("a month"));
    }

    #[test]
    fn a_root_that_allows_no_authority_has_none() {
        // As the roots were that earlier programs made.
        let mut old = CertificateParams::default();
        old.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        old.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().expect("a key");
        let der = old.self_signed(&key).expect("a root").der().to_vec();
        let root = RootCertificate::parse(&der).expect("a root");
        let issuer = Issuer::from_ca_cert_der(&CertificateDer::from(der), key).expect("an issuer");
        let mut below = CertificateParams::default();
        below.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        below.distinguished_name.push(DnType::CommonName, "below");
        let key = KeyPair::generate().expect("a key");
        let intermediate = below.signed_by(&key, &issuer).expect("signed").der().to_vec();
        let issuer = Issuer::from_ca_cert_der(&CertificateDer::from(intermediate.as_slice()), key).expect("an issuer");
        let leaf = CertificateParams::new(["a.example".to_owned()]).expect("parameters");
        let leaf = leaf.signed_by(&KeyPair::generate().expect("a key"), &issuer).expect("signed").der().to_vec();
        let chain = Chain::from_der(&[leaf, intermediate]).expect("a chain");
        let error = chain.verify(&root, NOW).expect_err("too deep");
        assert!(matches!(error, CertificateError::TooDeep { below: 1, .. }), "{error}");
    }

    #[test]
    fn only_a_root_vouches_for_another_and_a_node_that_was_taken_over_does_not() {
        let ((_one, _, root), (_two, _, next)) = (fixture(), fixture());
        let endorsed = |by: &Authority, root: &RootCertificate| EndorsedRoot {
            root: root.clone(),
            endorsement: by.endorse(root, NOW).expect("endorsed"),
        };
        endorsed(&root, next.root()).check(root.root()).expect("it vouches for it");
        endorsed(&next, next.root()).check(root.root()).expect_err("it vouches for itself");
        let mut mixed = endorsed(&root, next.root());
        mixed.root = root.root().clone();
        mixed.check(root.root()).expect_err("for another");

        // Whoever holds a node's key makes a root of it, and shows the node's certificate as its word.
        let (key, csr) = fresh_key().expect("a key");
        let node = root.sign_node(&csr, &domain(), "pve1", NOW).expect("signed");
        let key = RootKey::from_pkcs8(&key).expect("a key");
        let mut evil = CertificateParams::default();
        evil.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        evil.distinguished_name = DistinguishedName::new();
        evil.distinguished_name.push(DnType::CommonName, "Pinion node pve1");
        let evil = RootCertificate::parse(evil.self_signed(&key).expect("a root").der()).expect("a root");
        let error = EndorsedRoot { root: evil.clone(), endorsement: node.clone() }.check(root.root());
        assert!(error.expect_err("refused").to_string().contains("subordinate"));
        let by_node = Authority::of_node(&fresh_key().expect("a key").0, &node, root.root().clone(), NOW);
        by_node.expect_err("nor without the key");
    }

    #[test]
    fn a_key_that_is_not_the_callers_or_of_another_kind_is_refused() {
        let (_directory, _store, root) = fixture();
        let key = KeyPair::generate().expect("a key");
        let csr = CertificateParams::default().serialize_request(&key).expect("a request").der().to_vec();
        let mut altered = csr.clone();
        let last = altered.len() - 1;
        altered[last] ^= 1;
        root.sign_node(&altered, &domain(), "pve1", NOW).expect_err("the signature is not the key's");
        root.sign_node(&csr[..last], &domain(), "pve1", NOW).expect_err("cut off");
        let other = KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key");
        let csr = CertificateParams::default().serialize_request(&other).expect("a request");
        root.sign_node(csr.der(), &domain(), "pve1", NOW).expect_err("another kind of key");
    }

    #[test]
    fn what_a_node_signs_ends_at_the_root_and_not_after_the_node() {
        let (_directory, _store, root) = fixture();
        let (key, csr) = fresh_key().expect("a key");
        let certificate = root.sign_node(&csr, &domain(), "pve1", NOW).expect("signed");
        let node = Authority::of_node(&key, &certificate, root.root().clone(), NOW).expect("a node's");
        let (_, leaf) = fresh_key().expect("a key");
        let names = ["spiffe://pinion.internal/guest/101".parse().expect("a name")];
        let usages = [ExtendedKeyUsagePurpose::ClientAuth];
        let profile = Profile { common_name: None, names: names.iter().collect(), usages: &usages, duration: 2 * LIFE };
        let leaf = node.sign(&leaf, profile, NOW).expect("signed");
        assert_eq!(leaf.not_after(), NOW + LIFE);
        let whole = Chain::from_der(&[leaf.der().to_vec(), certificate.clone()]).expect("a chain");
        whole.verify(root.root(), NOW).expect("it ends at the root");
        Chain::from_der(&[leaf.der().to_vec()])
            .expect("a chain")
            .verify(root.root(), NOW)
            .expect_err("a part is missing");

        // It makes no authorities of its own: whoever looks at the chain sees that it may not.
        let (key_below, csr) = fresh_key().expect("a key");
        let below = node.sign_node(&csr, &domain(), "evil", NOW).expect("nothing keeps it from trying");
        let issuer = Issuer::from_ca_cert_der(
            &CertificateDer::from(below.as_slice()),
            RootKey::from_pkcs8(&key_below).expect("a key"),
        );
        let evil = CertificateParams::new(["evil.example".to_owned()]).expect("parameters");
        let evil = evil.signed_by(&KeyPair::generate().expect("a key"), &issuer.expect("an issuer")).expect("signed");
        let chain = Chain::from_der(&[evil.der().to_vec(), below, certificate.clone()]).expect("a chain");
        let error = chain.verify(root.root(), Timestamp::from_unix(1_800_000_000)).expect_err("too deep");
        assert!(matches!(error, CertificateError::TooDeep { below: 1, .. }), "{error}");

        let (other, _) = fresh_key().expect("a key");
        Authority::of_node(&other, &certificate, root.root().clone(), NOW).expect_err("another key");
        let (_elsewhere, _store, another) = fixture();
        Authority::of_node(&key, &certificate, another.root().clone(), NOW).expect_err("another root");
        Authority::of_node(&key, leaf.der(), root.root().clone(), NOW).expect_err("no authority's");
    }
}
