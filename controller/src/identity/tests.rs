//! What a user relies on: one token, one join; one guest, one agent; and never the controller's name for a guest.

use std::sync::{
    Mutex,
    atomic::{AtomicI64, Ordering},
};
use std::time::Duration;

use pinion_proto::{hwaddr::HwAddr, message::JoinSecret, report::GuestFacts, tls};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::CertificateDer;
use tempfile::TempDir;
use zeroize::Zeroizing;

use super::*;
use crate::test_clock::Hands;

struct Fixture {
    directory: TempDir,
    clock: Arc<Hands>,
    identities: Identities,
}

mod borders;
mod copies;
mod handover;
mod joining;
mod state;
mod takeover;

use state::copy;

impl Fixture {
    fn new() -> Self {
        let directory = TempDir::new().expect("a directory");
        let clock = Arc::new(Hands(AtomicI64::new(1_800_000_000)));
        let identities = open(&directory, clock.clone(), None).expect("identities");
        Self { directory, clock, identities }
    }

    fn restarted(self) -> Self {
        let Self { directory, clock, identities } = self;
        drop(identities);
        let identities = open(&directory, clock.clone(), None).expect("identities");
        Self { directory, clock, identities }
    }

    fn token(&self, guest: &str) -> JoinToken {
        self.identities.create_token(name(guest), vec!["127.0.0.1:7443".parse().expect("an address")]).expect("a token")
    }

    fn join(&self, guest: &str, secret: &JoinSecret) -> Result<IssuedIdentity, JoinRefused> {
        let facts = GuestFacts { hostname: "docker".into(), ..GuestFacts::default() };
        let request = JoinRequest { guest: name(guest), secret: secret.clone(), csr: csr(), facts };
        self.identities.join(&request, self.clock.now())
    }

    fn joined(&self, guest: &str) -> Peer {
        peer(&self.join(guest, &self.token(guest).secret).expect("joined"))
    }

    fn renewed(&self, guest: &str, shown: &Peer) -> Peer {
        peer(&self.identities.renew(name(guest), shown, &csr()).expect("renewed"))
    }

    fn admit(&self, guest: &str, shown: &Peer) -> Result<(), Refused> {
        let facts = GuestFacts::default();
        let caller = LinkCaller { facts: &facts, from: "127.0.0.1:1".parse().expect("an address") };
        self.identities.admit(name(guest), shown, caller)
    }

    /// What the shared area has now, as a backup.
    fn backup(&self) -> TempDir {
        let backup = TempDir::new().expect("a directory");
        copy(&self.directory.path().join("shared"), &backup.path().join("shared"));
        backup
    }

    /// The shared area as the backup has it.
    fn restored(self, backup: &TempDir) -> Self {
        let shared = self.directory.path().join("shared");
        std::fs::remove_dir_all(&shared).expect("removed");
        copy(&backup.path().join("shared"), &shared);
        self.restarted()
    }

    fn later(&self, by: Duration) {
        self.clock.0.fetch_add(i64::try_from(by.as_secs()).expect("a while"), Ordering::SeqCst);
    }
}

fn open(directory: &TempDir, clock: Arc<Hands>, domain: Option<&TrustDomain>) -> Result<Identities, IdentityError> {
    let store = Store::open(&directory.path().join("local"), &directory.path().join("shared")).expect("a store");
    Identities::open(&Arc::new(store), clock, domain, Arc::new(NoMachines))
}

fn name(guest: &str) -> Guest {
    guest.parse().expect("a guest")
}

fn csr() -> Vec<u8> {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new([tls::CONTROLLER_NAME.to_owned()]).expect("params");
    params.serialize_request(&key).expect("a request").der().to_vec()
}

fn peer(identity: &IssuedIdentity) -> Peer {
    tls::peer(&[CertificateDer::from(identity.chain[0].as_slice())]).expect("an identity")
}

/// Identities on files that are as pmxcfs.
fn on_pmxcfs(machines: Arc<dyn Machines>) -> (Fixture, Arc<crate::store::pmxcfs::Pmxcfs>) {
    let directory = TempDir::new().expect("a directory");
    let clock = Arc::new(Hands(AtomicI64::new(1_800_000_000)));
    let files = Arc::new(crate::store::pmxcfs::Pmxcfs::default());
    let paths = (directory.path().join("local"), directory.path().join("shared"));
    let store = Store::open_on(&paths.0, &paths.1, files.clone()).expect("a store");
    let identities = Identities::open(&Arc::new(store), clock.clone(), None, machines).expect("identities");
    (Fixture { directory, clock, identities }, files)
}

/// The hypervisor gave each guest the network card with its number.
#[derive(Debug, Clone, Default)]
struct Cards {
    /// Guest 101's.
    vmgenid: Arc<Mutex<Option<String>>>,
    /// What it says of everyone, instead of by their cards.
    whose: Arc<Mutex<Option<Whose>>>,
}

impl Machines for Cards {
    fn whose(&self, claimed: Guest, facts: &GuestFacts) -> Whose {
        if let Some(whose) = *self.whose.lock().expect("unpoisoned") {
            return whose;
        }
        let hwaddrs = &facts.hwaddrs;
        let of = |guest: Guest| card(&guest.to_string());
        if hwaddrs.contains(&of(claimed)) {
            return Whose::Its;
        }
        match ["101", "102"].map(name).into_iter().find(|guest| hwaddrs.contains(&of(*guest))) {
            Some(Guest::Vmid(vmid)) => Whose::Anothers(vmid),
            _ if hwaddrs.contains(&of(name("999"))) => Whose::Strange,
            _ => Whose::Nobodys,
        }
    }

    fn vmgenid(&self, guest: Guest) -> Option<String> {
        self.vmgenid.lock().expect("unpoisoned").clone().filter(|_| guest == name("101"))
    }
}

fn card(guest: &str) -> HwAddr {
    HwAddr::parse(&format!("bc:24:11:00:0{}:{}", &guest[..1], &guest[1..])).expect("an address")
}

fn machine(cards: &[&str], boot: &str) -> GuestFacts {
    GuestFacts {
        hostname: "gateway".into(),
        boot_id: boot.into(),
        hwaddrs: cards.iter().map(|guest| card(guest)).collect(),
        ..GuestFacts::default()
    }
}

impl Fixture {
    fn with_cards() -> Self {
        Self::with_machines(Cards::default())
    }

    fn with_machines(cards: Cards) -> Self {
        let Self { directory, clock, identities } = Self::new();
        drop(identities);
        let store = Store::open(&directory.path().join("local"), &directory.path().join("shared")).expect("a store");
        let identities = Identities::open(&Arc::new(store), clock.clone(), None, Arc::new(cards)).expect("identities");
        Self { directory, clock, identities }
    }

    fn links(&self, guest: &str, shown: &Peer, facts: &GuestFacts) -> Result<(), Refused> {
        let caller = LinkCaller { facts, from: "10.0.0.101:40000".parse().expect("an address") };
        self.identities.admit(name(guest), shown, caller)
    }

    fn lock(&self, guest: &str) -> Option<String> {
        self.identities.guest(name(guest)).expect("readable").expect("known").locked
    }
}
