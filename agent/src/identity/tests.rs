//! Roots that are trusted beside the one that an agent joined with.

use pinion_proto::{bundle::EndorsedRoot, id::Guest};
use rcgen::{BasicConstraints, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyUsagePurpose, SanType};

use super::*;

struct Root {
    certificate: RootCertificate,
    issuer: Issuer<'static, KeyPair>,
}

fn parameters(name: &str) -> CertificateParams {
    let mut root = CertificateParams::default();
    root.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
    root.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    root.distinguished_name = rcgen::DistinguishedName::new();
    root.distinguished_name.push(DnType::CommonName, name);
    root
}

fn root(name: &str) -> Root {
    let key = KeyPair::generate().expect("a key");
    let der = parameters(name).self_signed(&key).expect("a root").der().to_vec();
    Root { certificate: RootCertificate::parse(&der).expect("a root"), issuer: Issuer::new(parameters(name), key) }
}

impl Root {
    fn issue(&self, request: &IdentityRequest) -> IssuedIdentity {
        let mut leaf = CertificateParams::default();
        leaf.subject_alt_names = vec![SanType::URI("spiffe://x.pinion/guest/101".try_into().expect("ASCII"))];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::try_from(request.key.as_slice()).expect("a key");
        IssuedIdentity {
            chain: vec![leaf.signed_by(&key, &self.issuer).expect("signed").der().to_vec()],
            generation: 1,
        }
    }

    fn endorse(&self, name: &str, next: &Root) -> EndorsedRoot {
        let endorsement = parameters(name).signed_by(next.issuer.key(), &self.issuer).expect("signed").der().to_vec();
        EndorsedRoot { root: next.certificate.clone(), endorsement }
    }
}

fn identity(by: &Root, known: &Root) -> Identity {
    let request = IdentityRequest::make().expect("a key");
    let guest: Guest = "101".parse().expect("a guest");
    let accepted = Identity::accept(by.issue(&request), request, guest, known.certificate.clone(), Vec::new());
    accepted.expect("this guest's")
}

#[test]
fn another_root_is_trusted_by_the_word_of_the_known_one_and_kept() {
    let (old, new, stranger) = (root("old"), root("new"), root("stranger"));
    let identity = identity(&old, &old).checked(Timestamp::from_unix(1_800_000_000)).expect("under its root");
    identity.trusting(&stranger.endorse("new", &new)).expect_err("nobody vouches for it");
    let next = identity.trusting(&old.endorse("new", &new)).expect("endorsed").expect("it is new");
    assert_eq!(next.roots(), [old.certificate.clone(), new.certificate.clone()]);
    assert!(next.trusting(&old.endorse("new", &new)).expect("endorsed").is_none(), "it is known");

    let directory = tempfile::tempdir().expect("a directory");
    let config = Config::shipped(directory.path().to_owned());
    identity.save(&config).expect("stored");
    let text = std::fs::read_to_string(path(&config)).expect("stored");
    assert!(!text.contains("other_root"), "an earlier agent can read it");
    next.save(&config).expect("stored");
    let loaded = Identity::load(&config).expect("whole").expect("there");
    assert_eq!(loaded.roots(), next.roots());
}

#[test]
fn an_identity_under_the_other_root_makes_that_one_the_agents() {
    let (old, new, stranger) = (root("old"), root("new"), root("stranger"));
    let now = Timestamp::from_unix(1_800_000_000);
    let other = Some(new.certificate.clone());
    let renewed = identity(&new, &old).with_other_root(other.clone()).checked(now).expect("under the other root");
    assert_eq!(renewed.roots(), [new.certificate.clone(), old.certificate.clone()]);
    identity(&new, &old).checked(now).expect_err("it is not trusted");
    identity(&stranger, &old).with_other_root(other).checked(now).expect_err("a stranger's");
}
