//! What the placements' tasks share: the context, what is published, their services, who owns a path.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, atomic::AtomicU64},
};

use pinion_proto::{
    id::CertificateName,
    lock::lock,
    message::Purged,
    report::PlacementReport,
    spec::{GuestPath, PlacementSpec},
};
use tokio::sync::{Semaphore, broadcast, watch};

use super::{context::Context, gate::Gate, inspection::Inspection, rhythm::Rhythm, service::Services};
use crate::{
    facts,
    ledger::{Ledger, LedgerError, Ledgers},
    restarts::Restarts,
};

/// The reports of every placement that the guest knows of, the retired ones too.
pub type Reports = Arc<BTreeMap<CertificateName, PlacementReport>>;

/// What was asked for last, by certificate.
pub type Specs = Arc<BTreeMap<CertificateName, PlacementSpec>>;

/// Answers that a link may be behind with.
const MAX_ANSWERS: usize = 64;

pub(super) struct Shared {
    pub(super) context: Arc<Context>,
    pub(super) ledgers: Ledgers,
    pub(super) restarts: Restarts,
    pub(super) reports: watch::Sender<Reports>,
    pub(super) specs: watch::Sender<Specs>,
    /// How many looks somebody in the guest has asked for.
    pub(super) looks: AtomicU64,
    /// The newest of them that is done, by placement.
    pub(super) looked: watch::Sender<BTreeMap<CertificateName, u64>>,
    /// Making an RSA key takes a core for seconds; more than this at once would starve the guest's own work.
    pub(super) rsa_makers: Semaphore,
    stopping: watch::Sender<bool>,
    pub(super) services: Services,
    /// Looks at files.
    pub(super) inspection: Arc<Inspection>,
    /// How many make keys and exchange files at once.
    pub(super) exchanges: Gate,
    /// How many services are looked at at once.
    pub(super) handshakes: Gate,
    /// When everything is looked at again.
    pub(super) rhythm: Rhythm,
    claims: Mutex<BTreeMap<GuestPath, CertificateName>>,
    /// What came of purges after which nothing is left, and the controller has not heard of yet.
    purged: Mutex<BTreeMap<CertificateName, Purged>>,
    /// What came of purges of placements that are still there.
    pub(super) answers: broadcast::Sender<Purged>,
}

impl Shared {
    pub(super) fn new(context: Arc<Context>, ledgers: Ledgers, restarts: Restarts) -> Self {
        let config = &context.config;
        let rhythm = Rhythm::new(&facts::machine_id(config), config.check_every);
        let inspection = Arc::new(Inspection::new(Arc::clone(&context.files)));
        Self {
            context,
            ledgers,
            restarts,
            reports: watch::Sender::default(),
            specs: watch::Sender::default(),
            looks: AtomicU64::new(0),
            looked: watch::Sender::default(),
            rsa_makers: Semaphore::new(1),
            stopping: watch::Sender::new(false),
            services: Services::default(),
            inspection,
            exchanges: Gate::for_as_many_as(4),
            handshakes: Gate::for_as_many_as(4),
            rhythm,
            claims: Mutex::default(),
            purged: Mutex::default(),
            answers: broadcast::Sender::new(MAX_ANSWERS),
        }
    }

    /// Publishes what an earlier run wrote down, and keeps its paths for it.
    pub(super) fn remember(&self, name: &CertificateName, ledger: &Result<Ledger, LedgerError>) {
        if let Ok(ledger) = ledger {
            let mut claims = lock(&self.claims);
            for file in ledger.held.iter().filter(|_| !ledger.retired).flat_map(|held| &held.files) {
                claims.entry(file.path.clone()).or_insert_with(|| name.clone());
            }
            drop(claims);
            self.publish(ledger.report(name));
        }
    }

    /// Replaces a placement's report; waking nobody when it says the same.
    pub(super) fn publish(&self, report: PlacementReport) {
        self.reports.send_if_modified(|reports| {
            if reports.get(&report.certificate) == Some(&report) {
                return false;
            }
            Arc::make_mut(reports).insert(report.certificate.clone(), report);
            true
        });
    }

    /// Takes a placement of which nothing is left out of the reports and out of the way of others.
    pub(super) fn unpublish(&self, name: &CertificateName) {
        self.keep_claims(name, &[]);
        self.reports.send_if_modified(|reports| Arc::make_mut(reports).remove(name).is_some());
        self.looked.send_if_modified(|looked| looked.remove(name).is_some());
    }

    /// Tells those who wait in the guest that a look is done.
    pub(super) fn has_looked(&self, name: &CertificateName, number: u64) {
        self.looked.send_if_modified(|looked| number > 0 && looked.insert(name.clone(), number) != Some(number));
    }

    /// Notes what came of a purge after which nothing is left, until the placement is no longer in the reports.
    pub(super) fn purged(&self, purged: Purged) {
        lock(&self.purged).insert(purged.certificate.clone(), purged);
    }

    /// Answers a purge without which all reports stay as they are.
    pub(super) fn answer(&self, purged: Purged) {
        // Without a link nobody listens, and the controller asks again.
        self.answers.send(purged).ok();
    }

    /// What came of the purge of a placement that is gone, once.
    pub(super) fn take_purged(&self, name: &CertificateName) -> Purged {
        lock(&self.purged).remove(name).unwrap_or_else(|| Purged::all(name.clone()))
    }

    /// The files that placements wrote, but for this one; a ledger that cannot be read names none.
    pub(super) fn files_of_others(&self, name: Option<&CertificateName>) -> Result<BTreeSet<GuestPath>, LedgerError> {
        let others = self.ledgers.read_all()?;
        let others = others.iter().filter(|(other, _)| Some(*other) != name);
        let files = others.filter_map(|(_, ledger)| ledger.as_ref().ok()).flat_map(Ledger::files);
        let mut files: BTreeSet<_> = files.map(|file| file.path.clone()).collect();
        if let Some(name) = name {
            // Of another that is about to write them.
            files.extend(lock(&self.claims).iter().filter(|(_, owner)| *owner != name).map(|(path, _)| path.clone()));
        }
        Ok(files)
    }

    /// Asks every task to end.
    pub(super) fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Returns once the tasks are to end.
    pub(super) async fn stopped(&self) {
        let mut stopping = self.stopping.subscribe();
        // The sender lives as long as `self`, so waiting cannot fail.
        drop(stopping.wait_for(|stopping| *stopping).await);
    }

    /// Claims paths for a placement; the first that another one has, and whose it is.
    pub(super) fn claim<'a>(
        &self,
        name: &CertificateName,
        paths: impl Iterator<Item = &'a GuestPath> + Clone,
    ) -> Result<(), (GuestPath, CertificateName)> {
        let mut claims = lock(&self.claims);
        for path in paths.clone() {
            match claims.get(path) {
                Some(owner) if owner != name => return Err((path.clone(), owner.clone())),
                _ => {}
            }
        }
        claims.extend(paths.map(|path| (path.clone(), name.clone())));
        Ok(())
    }

    /// Gives up every claim of a placement's except these.
    pub(super) fn keep_claims(&self, name: &CertificateName, paths: &[&GuestPath]) {
        lock(&self.claims).retain(|path, owner| owner != name || paths.contains(&path));
    }
}
