//! A service as its placements share it: whose turn it is there, and what it was notified of.
//!
//! Invariants: two placements of one service never exchange files or check them at the same time; a service is notified
//! once for all whose files were in place before.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use pinion_proto::{id::CertificateName, lock::lock};
use tokio::{
    sync::{OwnedMutexGuard, OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock, watch},
    time::{Instant, sleep_until},
};

use crate::{recipe::ReloadAction, reload::Dockerd};

/// Every service that some placement knows.
#[derive(Debug, Default)]
pub(super) struct Services {
    by_name: Mutex<BTreeMap<String, Arc<Service>>>,
    /// Locked for reading while dockerd acts on a container or Swarm service, and for writing while dockerd is restarted.
    dockerd: Arc<RwLock<()>>,
}

/// dockerd stays as it is for as long as this is held, or is for this one to restart.
#[derive(Debug)]
pub(super) enum DockerdTurn {
    Apart,
    Used { _held: OwnedRwLockReadGuard<()> },
    Restarted { _held: OwnedRwLockWriteGuard<()> },
}

/// One service.
#[derive(Debug, Default)]
pub(super) struct Service {
    notified: Arc<tokio::sync::Mutex<Notified>>,
    expected: watch::Sender<BTreeMap<CertificateName, Expected>>,
}

/// What a service was notified of, in the hands of the placement whose turn it is.
#[derive(Debug, Default)]
pub(super) struct Notified {
    /// How many exchanges of files there were.
    exchanges: u64,
    /// Who was notified, of how many of them, and how: one service, or those of a program that makes a store.
    covered: BTreeMap<Box<str>, (u64, ReloadAction)>,
}

/// A placement's turns at its services; nobody else's where there is no service.
#[derive(Debug, Default)]
pub(super) struct Turns(BTreeMap<Box<str>, OwnedMutexGuard<Notified>>);

/// By service, the number of an exchange of files.
pub(super) type Exchanges = BTreeMap<Box<str>, u64>;

/// A certificate on its way to the service.
#[derive(Debug, Clone, Copy)]
struct Expected {
    generation: u64,
    until: Instant,
}

impl Services {
    /// The service of this name.
    pub(super) fn of(&self, name: &str) -> Arc<Service> {
        let mut services = lock(&self.by_name);
        if let Some(service) = services.get(name) {
            return Arc::clone(service);
        }
        Arc::clone(services.entry(name.to_owned()).or_default())
    }

    /// Waits until this action may do with dockerd what it does. A dockerd that goes while it restarts a container leaves it
    /// stopped, for good.
    pub(super) async fn dockerd(&self, action: &ReloadAction) -> DockerdTurn {
        let dockerd = Arc::clone(&self.dockerd);
        match Dockerd::of(action) {
            Dockerd::Apart => DockerdTurn::Apart,
            Dockerd::Used => DockerdTurn::Used { _held: dockerd.read_owned().await },
            Dockerd::Restarted => DockerdTurn::Restarted { _held: dockerd.write_owned().await },
        }
    }
}

impl Service {
    /// Waits for a placement's turn.
    pub(super) async fn turn(&self) -> OwnedMutexGuard<Notified> {
        Arc::clone(&self.notified).lock_owned().await
    }

    /// A certificate was ordered for the service, and is waited for so long.
    pub(super) fn expect(&self, placement: &CertificateName, generation: u64, patience: Duration) {
        self.expected.send_if_modified(|expected| {
            if expected.get(placement).is_some_and(|known| known.generation == generation) {
                return false;
            }
            expected.insert(placement.clone(), Expected { generation, until: Instant::now() + patience });
            true
        });
    }

    /// It is in place, or will not be.
    pub(super) fn no_longer_expect(&self, placement: &CertificateName) {
        self.expected.send_if_modified(|expected| expected.remove(placement).is_some());
    }

    /// Whether a certificate of another placement is on its way.
    pub(super) fn expects_others(&self, placement: &CertificateName) -> bool {
        latest(&self.expected.borrow(), placement).is_some()
    }

    /// Waits until the others that are on their way are in place, or have taken too long.
    pub(super) async fn gathered(&self, placement: &CertificateName) {
        let mut expected = self.expected.subscribe();
        loop {
            let Some(until) = latest(&expected.borrow_and_update(), placement) else { return };
            tokio::select! {
                // The sender lives as long as `self`.
                _ = expected.changed() => {}
                () = sleep_until(until) => {}
            }
        }
    }
}

impl Notified {
    /// Files were exchanged: the number of that exchange.
    pub(super) fn exchanged(&mut self) -> u64 {
        self.exchanges += 1;
        self.exchanges
    }

    /// The service was notified.
    pub(super) fn notified(&mut self, how: &ReloadAction) {
        self.covered.insert(how.service().into(), (self.exchanges, how.clone()));
    }

    /// Whether it was notified of an exchange already, in a way that is as good. A hook and Swarm secrets are about one
    /// certificate's files.
    pub(super) fn covers(&self, exchange: u64, how: &ReloadAction) -> bool {
        let as_good = |last: &ReloadAction| match how {
            ReloadAction::Hook(_) | ReloadAction::Swarm(_) => false,
            ReloadAction::Restart(_) | ReloadAction::RestartContainer(_) => last == how,
            ReloadAction::Reload(_) | ReloadAction::Signal(_) | ReloadAction::Touch(_) => {
                last == how || matches!(last, ReloadAction::Restart(_) | ReloadAction::RestartContainer(_))
            }
        };
        self.covered.get(how.service()).is_some_and(|(covered, last)| exchange <= *covered && as_good(last))
    }
}

impl Turns {
    /// One more turn.
    pub(super) fn add(&mut self, service: &str, turn: OwnedMutexGuard<Notified>) {
        self.0.insert(service.into(), turn);
    }

    /// Files were exchanged: the number of that exchange at each service.
    pub(super) fn exchanged(&mut self) -> Exchanges {
        self.0.iter_mut().map(|(service, notified)| (service.clone(), notified.exchanged())).collect()
    }

    /// A service was notified at its turn.
    pub(super) fn notified(&mut self, turn: &str, how: &ReloadAction) {
        if let Some(notified) = self.0.get_mut(turn) {
            notified.notified(how);
        }
    }

    /// Whether a service was notified already of what was exchanged then.
    pub(super) fn covers(&self, turn: &str, exchanges: &Exchanges, how: &ReloadAction) -> bool {
        let exchange = exchanges.get(turn).copied();
        self.0.get(turn).zip(exchange).is_some_and(|(notified, exchange)| notified.covers(exchange, how))
    }
}

/// Until when others are waited for.
fn latest(expected: &BTreeMap<CertificateName, Expected>, but: &CertificateName) -> Option<Instant> {
    let others = expected.iter().filter(|(placement, _)| *placement != but).map(|(_, expected)| expected.until);
    others.max().filter(|until| *until > Instant::now())
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn dockerd_is_restarted_while_nobody_has_it_do_something() {
        let services = Services::default();
        let at_once = async |action: &ReloadAction| timeout(Duration::ZERO, services.dockerd(action)).await;
        let container = |name: &str| ReloadAction::RestartContainer(name.parse().expect("a container"));
        let restart = ReloadAction::Restart("docker.service".parse().expect("a unit"));
        let (web, ui) = (services.dockerd(&container("web")).await, services.dockerd(&container("ui")).await);
        assert!(at_once(&restart).await.is_err(), "two containers are being restarted");
        let nginx = ReloadAction::Restart("nginx.service".parse().expect("a unit"));
        assert!(at_once(&nginx).await.is_ok(), "which is nothing to nginx");
        drop((web, ui));
        let alone = at_once(&restart).await.expect("nobody uses it");
        assert!(at_once(&container("web")).await.is_err(), "it is being restarted");
        drop(alone);
        assert!(at_once(&container("web")).await.is_ok());
    }
}
