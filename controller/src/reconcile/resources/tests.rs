//! What becomes of a destroyed guest's identity.

use pinion_proto::{message::JoinRequest, report::GuestFacts};
use rcgen::{CertificateParams, KeyPair};

use crate::{
    issuer::Issuers,
    reconcile::testing::{guest, resources},
};

#[test]
fn a_guest_that_has_an_identity_is_refused_once() {
    let (_directory, resources) = resources(Issuers::of([]));
    let guest = guest("101");
    assert!(!resources.refuse(guest).expect("it can be read"), "it has none");
    let token = resources.identities.create_token(guest, Vec::new()).expect("a token");
    let params = CertificateParams::new(vec!["guest.example".to_owned()]).expect("names");
    let request = params.serialize_request(&KeyPair::generate().expect("a key")).expect("a request");
    let request =
        JoinRequest { guest, secret: token.secret, csr: request.der().to_vec(), facts: GuestFacts::default() };
    resources.identities.join(&request, resources.clock.now()).expect("it joins");
    assert!(resources.refuse(guest).expect("it is forgotten"), "it had one");
    assert!(!resources.refuse(guest).expect("it can be read"), "it has none any more");
}
