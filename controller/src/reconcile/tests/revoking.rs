//! A certificate that was replaced is revoked, and that is recorded.

use std::sync::Mutex;

use super::*;
use crate::issuer::{
    BoxFuture, IssuerCheck, IssuerError, Revocation, Revocations, Roots, Serial, Signed, SigningRequest,
};

/// The embedded issuer, as if it could revoke.
#[derive(Debug)]
struct Revoking {
    embedded: Embedded,
    revoked: Arc<Mutex<Vec<String>>>,
}

impl Issuer for Revoking {
    fn sign<'a>(&'a self, request: &'a SigningRequest) -> BoxFuture<'a, Result<Signed, IssuerError>> {
        self.embedded.sign(request)
    }

    fn check(&self) -> BoxFuture<'_, Result<IssuerCheck, IssuerError>> {
        self.embedded.check()
    }

    fn roots(&self) -> Option<&dyn Roots> {
        self.embedded.roots()
    }

    fn revocation(&self) -> Option<&dyn Revocations> {
        Some(self)
    }
}

impl Revocations for Revoking {
    fn of_replaced(&self) -> bool {
        true
    }

    fn revoke<'a>(&'a self, serial: &'a Serial, _: Revocation) -> BoxFuture<'a, Result<(), IssuerError>> {
        self.revoked.lock().expect("no panic").push(serial.to_string());
        Box::pin(async { Ok(()) })
    }
}

#[tokio::test]
async fn a_certificate_is_revoked_when_its_guest_serves_the_next() {
    let revoked = Arc::new(Mutex::new(Vec::new()));
    let disk = Disk::with(|embedded| Box::new(Revoking { embedded, revoked: revoked.clone() }));
    let controller = Running::start(&disk, WEB);
    let mut agent = controller.link("101", 1, vec![nothing("web")], 8).await;
    let revision = agent.desired().await[0].revision();
    controller.report(&agent, requested(1, &GuestKey::new())).await;
    let first = agent.delivery().await;
    controller.report(&agent, served(&first, revision)).await;
    let ensure = Ensure { selection: Selection::default(), renew: true, now: false, until: Stage::Served, wait: false };
    let _answers = controller.ask(Question::Waits(Waits::Ensure(ensure))).await;
    while agent.desired().await[0].ordered != Some(2) {}
    let asking = testing::incoming(served(&first, revision), 2, GuestKey::new().request());
    controller.report(&agent, asking).await;
    let second = agent.delivery().await;
    assert!(revoked.lock().expect("no panic").is_empty(), "it is served yet");
    controller.report(&agent, served(&second, revision)).await;
    let serial = first.chain.leaf().serial();
    until("it is recorded", || disk.says(&format!("embedded revoked {serial}"))).await;
    assert_eq!(*revoked.lock().expect("no panic"), [serial]);
    controller.stop().await;
}
