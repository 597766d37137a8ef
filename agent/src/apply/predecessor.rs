//! Whose certificate it is that a service shows instead of the one in place.
//!
//! Answers: is it worth notifying the service again? Invariant: only a certificate that was in this placement's place, or might
//! have been, is a reason. A service that was notified and shows a stranger's is configured so, and another restart would
//! change nothing.

use pinion_proto::{
    bundle::{Leaf, certificates_from_pem},
    spec::GuestPath,
};

use super::switch::FileSwitch;
use crate::{
    install::{foreign, place},
    probe::Other,
};

/// Whether a certificate was in this placement's place before, as far as can be known.
pub(super) fn is_predecessor(switch: &FileSwitch, other: &Other) -> bool {
    let previous = switch.ledger.journal.as_ref().and_then(|journal| journal.previous.as_ref());
    let previous = previous.and_then(|previous| previous.bundle.leaf());
    previous.is_some_and(|previous| previous.der() == &*other.der)
        || switch.leaf().is_some_and(|held| is_sibling(&held, &other.der))
        || is_kept(switch, &other.der)
}

/// Whether a certificate has the same issuer and the same names.
fn is_sibling(held: &Leaf, other: &[u8]) -> bool {
    Leaf::parse(other).is_ok_and(|other| other.names() == held.names() && other.has_issuer_of(held))
}

/// Whether a certificate is in one of the files that Pinion replaced.
fn is_kept(switch: &FileSwitch, other: &[u8]) -> bool {
    let (context, config) = (&switch.shared.context, switch.config());
    let target = |path: &GuestPath| place::target(&*context.files, config, path);
    let files = switch.ledger.files();
    let mut kept = files.flat_map(|file| foreign::kept(&config.state, &config.root, &target(&file.path)));
    kept.any(|content| {
        let text = String::from_utf8_lossy(&content);
        certificates_from_pem(&text).is_ok_and(|found| found.first().is_some_and(|first| first == other))
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, IsCa, Issuer, KeyPair};

    use super::*;

    fn issuer(name: &str) -> Issuer<'static, KeyPair> {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        parameters.distinguished_name.push(DnType::CommonName, name);
        Issuer::new(parameters, KeyPair::generate().expect("a key"))
    }

    fn signed(issuer: &Issuer<'static, KeyPair>, names: &[&str]) -> Leaf {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().expect("a key");
        let leaf = CertificateParams::new(names).expect("names").signed_by(&key, issuer).expect("signed");
        Leaf::parse(leaf.der()).expect("a leaf")
    }

    #[test]
    fn the_same_issuer_and_names_are_a_sibling_and_anything_else_is_a_stranger() {
        let (mine, other) = (issuer("mine"), issuer("other"));
        let held = signed(&mine, &["a.example", "b.example"]);
        for (what, leaf, sibling) in [
            ("an earlier one", signed(&mine, &["a.example", "b.example"]), true),
            ("the default server's", signed(&mine, &["default.example"]), false),
            ("one with a name more", signed(&mine, &["a.example", "b.example", "c.example"]), false),
            ("another issuer's", signed(&other, &["a.example", "b.example"]), false),
        ] {
            assert_eq!(is_sibling(&held, leaf.der()), sibling, "{what}");
        }
        assert!(!is_sibling(&held, b"no certificate"));
    }
}
