//! Which roots the CA has and had, as it said while it was proven.
//!
//! Answers: which roots may its certificate end at, and which may those that it signed?
//! Invariants: a root is believed when a CA that was proven says that it has it (`GET /roots`), and only as long as the
//! configured fingerprint stays the same; one that it says no longer is for guests to know, and proves nothing.

use std::sync::{Arc, Mutex, MutexGuard};

use pinion_proto::{
    bundle::{Fingerprint, RootCertificate},
    causes::chain,
    clock::Timestamp,
    lock::lock,
    spec::MAX_ROOTS,
};
use serde::{Deserialize, Serialize};

use super::{
    http::{Answer, Http},
    settings::{Settings, call_failed, json},
};
use crate::{
    issuer::{IssuerError, IssuerRoots},
    store::{Area, Store, StoreError},
};

/// What is remembered, in the shared area.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    /// Under which configured fingerprint the CA said so.
    fingerprint: Option<Fingerprint>,
    current: Vec<RootCertificate>,
    former: Vec<RootCertificate>,
    signing: Option<Fingerprint>,
    /// Shared state could not be written when this was learned.
    #[serde(skip)]
    unwritten: bool,
}

/// What the CA said last, kept in a document.
#[derive(Debug)]
pub(super) struct Memory {
    store: Arc<Store>,
    document: String,
    pin: Fingerprint,
    known: Mutex<Known>,
}

impl Memory {
    /// What was said to the controller that ran here before. A document that cannot be read is as good as none: the CA
    /// is asked, and what it had is then not known any more.
    pub(super) fn new(store: Arc<Store>, settings: &Settings) -> Self {
        let document = format!("issuer-roots/{}", settings.name);
        let mut known: Known = store.read(Area::Shared, &document).map_or_else(
            |error| {
                tracing::error!(issuer = %settings.name, error = chain(&error), "Cannot read which roots the CA had");
                Known::default()
            },
            Option::unwrap_or_default,
        );
        if known.fingerprint != Some(settings.fingerprint) {
            // Somebody has said that another CA answers there, or the same with another root.
            let given_up = std::mem::take(&mut known.current);
            add(&mut known.former, given_up);
            (known.fingerprint, known.signing) = (Some(settings.fingerprint), None);
        }
        Self { store, document, pin: settings.fingerprint, known: Mutex::new(known) }
    }

    /// The roots beside the configured one that the CA has said that it has.
    pub(super) fn successors(&self) -> Vec<RootCertificate> {
        self.lock().current.iter().filter(|root| root.fingerprint() != self.pin).cloned().collect()
    }

    /// What is known; none before the CA has said anything.
    pub(super) fn last_said(&self) -> Option<IssuerRoots> {
        let Known { current, former, signing, .. } = self.lock().clone();
        Some(IssuerRoots { current, former, signing: signing? })
    }

    /// The CA says that it has these, and that the next certificate ends at that one. While shared state cannot be
    /// written, that is known all the same, and written when the CA is asked next.
    pub(super) fn learn(
        &self,
        current: Vec<RootCertificate>,
        signing: Fingerprint,
        now: Timestamp,
    ) -> Result<(), String> {
        let mut known = self.lock();
        let mut next = Known { current, signing: Some(signing), ..known.clone() };
        add(&mut next.former, known.current.clone());
        next.former.retain(|root| !next.current.contains(root) && now <= root.not_after());
        next.former.truncate(MAX_ROOTS - next.current.len().min(MAX_ROOTS));
        if *known != next || known.unwritten {
            next.unwritten = match self.store.write(Area::Shared, &self.document, &next) {
                Ok(()) => false,
                Err(error @ StoreError::ReadOnly { .. }) => {
                    tracing::warn!(document = %self.document, error = chain(&error), "Cannot store the CA's roots yet");
                    true
                }
                Err(error) => return Err(chain(&error)),
            };
            *known = next;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // Every change under the lock is whole in itself.
        lock(&self.known)
    }
}

fn add(roots: &mut Vec<RootCertificate>, more: Vec<RootCertificate>) {
    for root in more {
        if !roots.contains(&root) {
            // The newest first: it is the one that certificates still end at.
            roots.insert(0, root);
        }
    }
}

/// Asks a CA that is proven which roots it has and under which it signs: `GET /roots` and `GET /intermediates`, of which
/// the first signs (smallstep/certificates `authority/root.go`). A CA without the latter signs under its first root
/// as far as anybody can tell before it has.
pub(super) async fn ask(settings: &Settings, http: &Http) -> Result<(Vec<RootCertificate>, Fingerprint), IssuerError> {
    #[derive(Deserialize)]
    struct Certificates {
        crts: Vec<String>,
    }
    const DOING: &str = "ask for its roots";
    let answer = http.get("/roots").await.map_err(|e| call_failed(settings, DOING, &e))?;
    let Certificates { crts } = json(settings, DOING, &answer)?;
    let count = crts.len();
    let roots: Result<Vec<_>, _> = crts.iter().take(MAX_ROOTS).map(|pem| RootCertificate::from_pem(pem)).collect();
    let roots = roots.map_err(|e| settings.unavailable(DOING, e))?;
    let first = match roots.first() {
        Some(first) if count <= MAX_ROOTS => first.fingerprint(),
        _ => {
            return Err(settings.unavailable(DOING, format!("it has {count} of them; Pinion accepts 1 to {MAX_ROOTS}")));
        }
    };
    let answer = http.get("/intermediates").await.map_err(|e| call_failed(settings, DOING, &e))?;
    if !answer.status.is_success() {
        return Ok((roots, first));
    }
    let Certificates { crts } = json(settings, DOING, &answer)?;
    // An intermediate is read as a root is: both are certificates of authorities.
    let chain: Result<Vec<_>, _> = crts.iter().take(MAX_ROOTS).map(|pem| RootCertificate::from_pem(pem)).collect();
    let chain = chain.map_err(|e| settings.unavailable(DOING, e))?;
    let signing = chain.first().and_then(|issuing| end(issuing, &chain, &roots)).unwrap_or(first);
    Ok((roots, signing))
}

/// The first roots in an answer to `GET /roots`, which is not verified here; empty if the answer lists none.
pub(super) fn listed(answer: &Answer) -> Vec<RootCertificate> {
    #[derive(Deserialize)]
    struct Roots {
        crts: Vec<String>,
    }
    let roots = Some(answer).filter(|answer| answer.status.is_success());
    let roots = roots.and_then(|answer| serde_json::from_slice::<Roots>(&answer.body).ok());
    let pems = roots.map(|roots| roots.crts).unwrap_or_default();
    pems.iter().take(MAX_LISTED).filter_map(|pem| RootCertificate::from_pem(pem).ok()).collect()
}

/// More roots than anybody compares.
const MAX_LISTED: usize = 4;

/// The root that a chain from this intermediate ends at.
fn end(first: &RootCertificate, intermediates: &[RootCertificate], roots: &[RootCertificate]) -> Option<Fingerprint> {
    let mut at = first;
    for _ in 0..=intermediates.len() {
        if let Some(root) = roots.iter().find(|root| root.has_signed(at.der())) {
            return Some(root.fingerprint());
        }
        at = intermediates.iter().find(|above| *above != at && above.has_signed(at.der()))?;
    }
    None
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

    use super::*;
    use crate::issuer::IssuerConfig;

    fn root() -> RootCertificate {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let made = parameters.self_signed(&KeyPair::generate().expect("a key")).expect("a root");
        RootCertificate::parse(made.der()).expect("a root")
    }

    fn memory(store: &Arc<Store>, pin: &RootCertificate) -> Memory {
        let config = format!(
            "type = 'step-ca'\nurl = 'https://10.0.0.3:9000'\nfingerprint = '{}'\nprovisioner = 'admin'\npassword_file = '/p'",
            pin.fingerprint()
        );
        let Ok(IssuerConfig::StepCa(config)) = IssuerConfig::from_toml(&config) else { panic!("a step-ca") };
        let settings = Settings::new("step-ca".parse().expect("a name"), &config, Path::new("/"));
        Memory::new(store.clone(), &settings)
    }

    fn store() -> (tempfile::TempDir, Arc<Store>) {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Store::open(&directory.path().join("local"), &directory.path().join("shared")).expect("a store");
        (directory, Arc::new(store))
    }

    #[test]
    fn what_a_proven_ca_said_outlives_the_controller_and_not_the_fingerprint() {
        let (_kept, store) = store();
        let (old, new) = (root(), root());
        let now = Timestamp::from_unix(1_800_000_000);
        let first = memory(&store, &old);
        assert!(first.last_said().is_none() && first.successors().is_empty());
        first.learn(vec![old.clone(), new.clone()], old.fingerprint(), now).expect("written");

        let second = memory(&store, &old);
        assert_eq!(second.last_said(), first.last_said());
        assert_eq!(second.successors(), std::slice::from_ref(&new), "its certificate may end at that one too");
        second.learn(vec![new.clone()], new.fingerprint(), now).expect("written");
        let said = second.last_said().expect("roots");
        assert_eq!((said.former, said.signing), (vec![old.clone()], new.fingerprint()));

        // Somebody has written down another fingerprint: nothing that was said before proves anything now.
        let third = memory(&store, &new);
        assert!(third.successors().is_empty());
        third.learn(vec![new.clone()], new.fingerprint(), now).expect("written");
        assert_eq!(third.last_said().expect("roots").former, std::slice::from_ref(&old), "and guests still know it");
        let over = old.not_after() + std::time::Duration::from_secs(1);
        third.learn(vec![new.clone()], new.fingerprint(), over).expect("written");
        assert!(third.last_said().expect("roots").former.is_empty(), "a root that has expired is no use to anybody");
    }

    #[test]
    fn the_root_that_is_signed_under_is_found_through_intermediates() {
        let (first, second) = (root(), root());
        assert_eq!(end(&first, &[], std::slice::from_ref(&first)), Some(first.fingerprint()));
        assert_eq!(end(&first, &[first.clone(), second.clone()], &[]), None);
        assert_eq!(end(&first, std::slice::from_ref(&second), std::slice::from_ref(&second)), None);
    }
}
