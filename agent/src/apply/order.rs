//! Key and request for a generation that the controller orders.
//!
//! Invariant: a request is written down, with its key, before anybody hears of it; the same order gets the same
//! request until what is ordered changes.

use pinion_proto::{
    key::{KeyAlgorithm, Rotation},
    private_key::PrivateKey,
    spec::PlacementSpec,
};

use super::{
    hold::Hold,
    placement::{Interrupt, Placement},
};
use crate::{bundle::Bundle, ledger::Order, recipe::Job};

impl Placement<'_> {
    /// Makes key and request for what the controller orders, once.
    pub(super) async fn order(&mut self, job: &Job) -> Result<(), Interrupt> {
        let Some(spec) = &self.ledger.spec else { return Ok(()) };
        let Some(generation) = spec.ordered else { return Ok(()) };
        let outdated = match &self.ledger.order {
            Some(order) if order.generation == generation => !answers(order, spec),
            _ => generation > self.ledger.last_generation,
        };
        if !outdated {
            self.expect(job);
            return Ok(());
        }
        let order = self.make_order(spec.clone(), generation).await?;
        let before = (self.ledger.order.replace(order), self.ledger.last_generation);
        self.ledger.last_generation = generation;
        // Written down before anybody hears of it: a request that is certified must find its key after a crash.
        if let Err(e) = self.blocking(|desk, ledger| desk.save(ledger)).await? {
            (self.ledger.order, self.ledger.last_generation) = before;
            return Err(Hold::ledger(&e).into());
        }
        self.saved();
        self.forget_refusal();
        tracing::info!(certificate = %self.name, generation, "Made a certificate request");
        self.expect(job);
        self.publish();
        Ok(())
    }

    /// Tells the service's other placements what is on its way, before anybody can answer it.
    fn expect(&self, job: &Job) {
        if let (Some(order), Some(service)) = (&self.ledger.order, self.service(job)) {
            service.expect(self.name, order.generation, self.shared.context.config.gather);
        }
    }

    async fn make_order(&self, spec: PlacementSpec, generation: u64) -> Result<Order, Interrupt> {
        let PlacementSpec { common_name, names, key: policy, shared, .. } = spec;
        let (key, request) = if shared {
            (None, Vec::new())
        } else {
            let old = self.ledger.next.as_ref().or(self.ledger.held.as_ref().map(|held| &held.bundle));
            let kept = old
                .filter(|_| policy.rotation == Rotation::Never)
                .and_then(Bundle::credential)
                .filter(|old| old.chain.leaf().key_algorithm() == Some(policy.algorithm))
                .map(|old| old.key.clone());
            let (common_name, names) = (common_name.clone(), names.clone());
            let make = move || {
                let key = match kept {
                    Some(key) => key,
                    None => PrivateKey::generate(policy.algorithm)?,
                };
                let request = key.request(&common_name, &names)?;
                Ok((key, request))
            };
            let made = self
                .unless_stopped(async {
                    let _one_at_a_time = match policy.algorithm {
                        KeyAlgorithm::EcdsaP256 | KeyAlgorithm::EcdsaP384 | KeyAlgorithm::Ed25519 => None,
                        KeyAlgorithm::Rsa2048 | KeyAlgorithm::Rsa3072 | KeyAlgorithm::Rsa4096 => {
                            self.shared.rsa_makers.acquire().await.ok()
                        }
                    };
                    tokio::task::spawn_blocking(make).await
                })
                .await?;
            let (key, request) = made.map_err(|_| Interrupt::Stopped)?.map_err(|e| Hold::key(&e))?;
            (Some(key), request)
        };
        Ok(Order { generation, common_name, names, algorithm: policy.algorithm, key, request })
    }
}

/// Whether an order is still what the spec asks for.
fn answers(order: &Order, spec: &PlacementSpec) -> bool {
    order.common_name == spec.common_name
        && order.names == spec.names
        && order.algorithm == spec.key.algorithm
        && order.key.is_none() == spec.shared
}
