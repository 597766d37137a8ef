//! Identities that are not right: of another root, expired, renewed away, a guest's in the controller's place.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use pinion_agent::{identity::IdentityRequest, link::dial};
use pinion_controller::{config::Config, events::Kind, serve::Controller};
use pinion_proto::{
    clock::{Clock, SystemClock, Timestamp},
    message::{ToAgent, ToController},
    tls::{self, IdentityCell},
    token::JoinToken,
    wire::pb,
};
use pinion_tests::{
    clock::ManualClock,
    guest::Guest,
    host::{Host, HostOptions},
    journal,
    wait::{PATIENCE, until_async},
};
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType};
use tokio::{io::AsyncReadExt, net::TcpListener, time::timeout};
use tonic::Status;
use zeroize::Zeroizing;

use super::rogue_agent::Rogue;

const DAY: Duration = Duration::from_secs(86_400);

/// Asks to join by this clock.
pub(crate) async fn ask_at(
    clock: &Arc<ManualClock>,
    token: &JoinToken,
    request: pb::JoinRequest,
) -> Result<pb::JoinResponse, Status> {
    let tls = Arc::new(tls::client_config(None, &token.root, clock.clone()).expect("a configuration"));
    let (connection, _) = dial::dial(&token.controllers, tls).await.expect("strangers may ask");
    let mut client = pb::join_client::JoinClient::with_origin(connection, dial::origin());
    client.join(request).await.map(tonic::Response::into_inner)
}

/// A guest's identity as another root would sign it.
fn forged(uri: &str) -> IdentityCell {
    let mut root = CertificateParams::default();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = Issuer::new(root, KeyPair::generate().expect("a key"));
    let mut leaf = CertificateParams::default();
    leaf.subject_alt_names = vec![SanType::URI(uri.try_into().expect("ASCII"))];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().expect("a key");
    let leaf = leaf.signed_by(&key, &issuer).expect("signed");
    IdentityCell::new(&[leaf.der().to_vec()], &Zeroizing::new(key.serialize_der())).expect("a pair")
}

/// Whether a connection with this configuration lasts until a request could be made on it.
async fn is_taken(host: &Host, config: rustls::ClientConfig) -> bool {
    let stream = tokio::net::TcpStream::connect(host.address()).await.expect("a connection");
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let Ok(mut stream) = connector.connect(tls::controller_name(), stream).await else { return false };
    // In TLS 1.3 the client is done before the server has looked at its certificate; HTTP/2 begins with settings.
    timeout(PATIENCE, stream.read(&mut [0; 9])).await.expect("an answer").is_ok_and(|read| read > 0)
}

#[tokio::test(flavor = "multi_thread")]
async fn another_trust_root_and_older_tls_are_refused_in_the_handshake() {
    let host = Host::start(&HostOptions::default()).expect("a host");
    let token = JoinToken::parse(&host.token("101").expect("a token")).expect("a token");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let with = |cell| tls::client_config(cell, &token.root, clock.clone()).expect("a configuration");
    assert!(is_taken(&host, with(None)).await, "a stranger may ask to join");
    for uri in ["spiffe://pinion.internal/guest/101", "spiffe://pinion.internal/controller"] {
        assert!(!is_taken(&host, with(Some(forged(uri)))).await, "{uri}");
    }
    let mut roots = rustls::RootCertStore::empty();
    roots.add(token.root.der().to_vec().into()).expect("a root");
    let mut old = rustls::ClientConfig::builder_with_provider(tls::provider())
        .with_protocol_versions(&[&rustls::version::TLS12])
        .expect("a version")
        .with_root_certificates(roots)
        .with_no_client_auth();
    old.alpn_protocols = vec![b"h2".to_vec()];
    assert!(!is_taken(&host, old).await, "TLS 1.2");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_that_was_renewed_away_locks_its_guest_and_ends_its_link() {
    let host = Host::start(&HostOptions::default()).expect("a host");
    let mut honest = Guest::join(&host, 102).expect("another guest");
    let old = Rogue::join(&host, "101").await;
    let mut link = old.link().await;
    let request = IdentityRequest::make().expect("a key");
    assert!(link.say(ToController::RenewIdentity(request.csr.clone())).await);
    let issued = loop {
        if let Some(ToAgent::Identity(issued)) = link.hear().await {
            break issued;
        }
    };
    let (guest, root, controllers) = (old.identity.guest, old.identity.root.clone(), old.identity.controllers.clone());
    let renewed = pinion_agent::identity::Identity::accept(issued, request, guest, root, controllers).expect("ours");
    let new = old.with(renewed);
    let mut current = new.link().await;

    // A clone that was made before the renewal comes up.
    let told = old.try_link().await.err().expect("refused");
    assert!(told.contains("not valid"), "{told}");
    let event = journal::wait_event(&host, Kind::Refused, &["cloned", "pinion guest unlock 101"]);
    event.expect("the operator is told");
    current.end().await;
    new.try_link().await.err().expect("locked, whoever it is");
    honest.wait_linked(&host).expect("another guest is not concerned");
    assert!(host.status().expect("a status").is_linked("102"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hello_that_comes_late_is_no_rollback() {
    let host = Host::start(&HostOptions::default()).expect("a host");
    let guest = Rogue::join(&host, "101").await;
    // The first link is held up on its way; the guest gives it up, and its second overtakes it.
    let (first, second) = (guest.dial().await.expect("dialled"), guest.dial().await.expect("dialled"));
    let mut second = second.link(2).await.expect("linked");
    assert!(matches!(second.hear().await, Some(ToAgent::Desired(_))));
    if let Ok(mut first) = first.link(1).await {
        first.end().await;
    }
    assert!(host.status().expect("a status").is_linked("101"));
    let events = journal::events(&host).expect("the events");
    assert!(events.iter().all(|event| event.kind != Kind::RolledBack), "{events:?}");
    // And one that really comes again is.
    let again = guest.dial().await.expect("dialled");
    if let Ok(mut again) = again.link(2).await {
        again.end().await;
    }
    journal::wait_event(&host, Kind::RolledBack, &["101"]).expect("the operator is told");
    second.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_identity_is_refused_and_a_link_does_not_outlive_its_own() {
    let host = Host::prepare(&HostOptions::default()).expect("a host's files");
    let clock = Arc::new(ManualClock::at(Timestamp::from_unix(1_900_000_000)));
    let config = Config::load(host.root()).expect("its configuration");
    let controller = Controller::start(config, clock.clone()).await.expect("a controller");
    let token = JoinToken::parse(&host.token("101").expect("a token")).expect("a token");
    let rogue = Rogue::join_with(&token, clock.clone()).await;
    // Past its two thirds an honest agent would renew, and dial again until it is let in.
    clock.set(rogue.identity.not_after);
    let linked = until_async("a link in the identity's last second", PATIENCE, async || rogue.try_link().await).await;
    let mut link = linked.expect("it is good until then");
    clock.advance(Duration::from_secs(1));
    link.end().await;
    clock.advance(DAY);
    // The controller's own identity was renewed on the way.
    until_async("the refusal", PATIENCE, async || match rogue.try_link().await {
        Err(told) if told.to_lowercase().contains("expired") => Ok(()),
        Err(told) => Err(told),
        Ok(_) => Err("linked".to_owned()),
    })
    .await
    .expect("refused because it has expired");
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_cannot_stand_in_for_the_controller() {
    let host = Host::start(&HostOptions::default()).expect("a host");
    let (rogue, victim) = (Rogue::join(&host, "101").await, Rogue::join(&host, "102").await);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let cell = rogue.identity.cell().expect("a pair");
    let server = tls::server_config(cell, &rogue.identity.root, clock.clone()).expect("a configuration");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let serving = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a caller");
        tokio_rustls::TlsAcceptor::from(Arc::new(server)).accept(stream).await.map(drop)
    });
    let cell = victim.identity.cell().expect("a pair");
    let config = tls::client_config(Some(cell), &victim.identity.root, clock).expect("a configuration");
    let error = dial::dial(&[address], Arc::new(config)).await.err().expect("not the controller");
    assert!(matches!(error, dial::DialError::Tls { .. }), "{error}");
    serving.await.expect("no panic").expect_err("no handshake");
}
