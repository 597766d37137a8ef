//! Key and request for a generation that the controller orders, and the certificate that comes for it.
//!
//! Invariants: a request is written down, with its key, before anybody hears of it; the same order gets the same
//! request until what is ordered changes; a certificate that was not ordered, or is not what was ordered, is not taken.

use pinion_proto::{
    bundle::Leaf,
    causes::chain,
    content::LeafSpec,
    key::{KeyAlgorithm, Rotation},
    message::Delivery,
    private_key::PrivateKey,
    spec::Usage,
    stage::Trouble,
};

use super::{
    failure::{Failure, Interrupt},
    switch::FileSwitch,
};
use crate::{
    bundle::Bundle,
    ledger::PendingRequest,
    recipe::Job,
    verify::{Expected, verify},
};

/// What became of the request; the request itself is in the ledger.
#[derive(Debug, Default)]
pub(super) struct Request {
    /// Why the last delivery was refused; stays until a better one comes.
    refusal: Option<Trouble>,
}

impl Request {
    /// Why the last delivery was refused.
    pub(super) fn refusal(&self) -> Option<&Trouble> {
        self.refusal.as_ref()
    }

    /// Nothing is asked for any more.
    pub(super) fn cancel(&mut self, switch: &mut FileSwitch) {
        switch.cancel_order();
        self.refusal = None;
    }

    /// Makes key and request for what the controller orders, once; true when they are new.
    pub(super) async fn order(
        &mut self,
        switch: &mut FileSwitch,
        job: &Job,
        leaf: &LeafSpec,
    ) -> Result<bool, Interrupt> {
        let Some(generation) = switch.ledger.spec.as_ref().and_then(|spec| spec.ordered) else { return Ok(false) };
        let outdated = is_outdated(switch.ledger.order.as_ref(), switch.ledger.last_generation, leaf, generation);
        if !outdated {
            expect(switch, job);
            return Ok(false);
        }
        let order = make_order(switch, leaf.clone(), generation).await?;
        let before = (switch.ledger.order.replace(order), switch.ledger.last_generation);
        switch.ledger.last_generation = generation;
        // Written down before anybody hears of it: a request that is certified must find its key after a crash.
        if let Err(e) = switch.save().await? {
            (switch.ledger.order, switch.ledger.last_generation) = before;
            return Err(Failure::ledger(&e).into());
        }
        // A new order makes the refusal of the one before pointless.
        self.refusal = None;
        tracing::info!(certificate = %switch.name, generation, "Made a certificate request");
        expect(switch, job);
        Ok(true)
    }

    /// Takes a certificate, if it is what was ordered, for a service of this usage; true when it is.
    pub(super) fn take(&mut self, switch: &mut FileSwitch, delivery: Delivery, usage: Option<Usage>) -> bool {
        let (name, generation) = (&switch.name, delivery.generation);
        let Some(order) = switch.ledger.order.as_ref().filter(|order| order.generation == generation) else {
            tracing::info!(certificate = %name, generation, "Ignored a delivery for a generation that is not awaited");
            return false;
        };
        let expected = Expected {
            generation,
            common_name: &order.common_name,
            names: &order.names,
            algorithm: order.algorithm,
            key: order.key.as_ref(),
            // Without a job, what the manifest says still holds.
            usage: usage.or(switch.ledger.spec.as_ref().and_then(|spec| spec.usage)),
        };
        match verify(delivery, expected, switch.now()) {
            Ok(bundle) => {
                tracing::info!(certificate = %name, generation, serial = bundle.leaf().map(Leaf::serial), "Verified");
                switch.answer(bundle);
                self.refusal = None;
                true
            }
            Err(error) => {
                tracing::error!(certificate = %name, generation, error = chain(&error), "Refused a delivery");
                self.refusal = Some(Failure::refusal(&error).trouble(None));
                false
            }
        }
    }
}

/// Announces to the service's other placements what is on its way, before anybody can answer it.
fn expect(switch: &FileSwitch, job: &Job) {
    let Some(order) = &switch.ledger.order else { return };
    for service in job.turns() {
        switch.shared.services.of(service).expect(&switch.name, order.generation, switch.config().gather);
    }
}

async fn make_order(switch: &FileSwitch, leaf: LeafSpec, generation: u64) -> Result<PendingRequest, Interrupt> {
    let LeafSpec { common_name, names, key: policy, shared } = leaf;
    let (key, request) = if shared {
        (None, Vec::new())
    } else {
        let ledger = &switch.ledger;
        let old = ledger.next.as_ref().or(ledger.held.as_ref().map(|held| &held.bundle));
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
        let made = switch
            .unless_stopped(async {
                let _one_at_a_time = match policy.algorithm {
                    KeyAlgorithm::EcdsaP256 | KeyAlgorithm::EcdsaP384 | KeyAlgorithm::Ed25519 => None,
                    KeyAlgorithm::Rsa2048 | KeyAlgorithm::Rsa3072 | KeyAlgorithm::Rsa4096 => {
                        switch.shared.rsa_makers.acquire().await.ok()
                    }
                };
                let _place = switch.shared.exchanges.enter().await;
                tokio::task::spawn_blocking(make).await
            })
            .await?;
        let (key, request) = made.map_err(|_| Interrupt::Stopped)?.map_err(|e| Failure::key(&e))?;
        (Some(key), request)
    };
    Ok(PendingRequest { generation, common_name, names, algorithm: policy.algorithm, key, request })
}

/// Whether what is ordered needs another request than the one that there is.
fn is_outdated(order: Option<&PendingRequest>, last_generation: u64, leaf: &LeafSpec, generation: u64) -> bool {
    match order {
        Some(order) if order.generation == generation => !answers(order, leaf),
        _ => generation > last_generation,
    }
}

/// Whether an order is still what the spec asks for.
fn answers(order: &PendingRequest, leaf: &LeafSpec) -> bool {
    order.common_name == leaf.common_name
        && order.names == leaf.names
        && order.algorithm == leaf.key.algorithm
        && order.key.is_none() == leaf.shared
}

#[cfg(test)]
mod tests {
    use pinion_proto::key::KeyPolicy;

    use super::{super::tests::guest, *};

    fn order(leaf: &LeafSpec, generation: u64) -> PendingRequest {
        PendingRequest {
            generation,
            common_name: leaf.common_name.clone(),
            names: leaf.names.clone(),
            algorithm: leaf.key.algorithm,
            key: (!leaf.shared).then(|| PrivateKey::generate(KeyAlgorithm::EcdsaP256).expect("a key")),
            request: Vec::new(),
        }
    }

    #[test]
    fn a_request_is_made_anew_when_what_is_ordered_changes_and_never_for_an_old_generation() {
        let [spec, other] = ["web", "other"].map(|name| guest::leaf(&guest::spec(name, "web")).clone());
        let (same, shared) = (order(&spec, 3), LeafSpec { shared: true, ..spec.clone() });
        let algorithm = KeyPolicy { algorithm: KeyAlgorithm::Ed25519, ..KeyPolicy::default() };
        for (what, known, last, wanted, generation, outdated) in [
            ("nothing was ordered before", None, 0, &spec, 1, true),
            ("it was ordered and has come", None, 3, &spec, 3, false),
            ("a later one came meanwhile", None, 3, &spec, 2, false),
            ("it is on its way", Some(&same), 3, &spec, 3, false),
            ("the next one", Some(&same), 3, &spec, 4, true),
            ("the one before", Some(&same), 3, &spec, 2, false),
            (
                "another name",
                Some(&same),
                3,
                &LeafSpec { common_name: other.common_name.clone(), ..spec.clone() },
                3,
                true,
            ),
            ("other names", Some(&same), 3, &LeafSpec { names: other.names.clone(), ..spec.clone() }, 3, true),
            ("another kind of key", Some(&same), 3, &LeafSpec { key: algorithm, ..spec.clone() }, 3, true),
            ("a shared key", Some(&same), 3, &shared, 3, true),
            ("its own key again", Some(&order(&shared, 3)), 3, &spec, 3, true),
            ("still a shared key", Some(&order(&shared, 3)), 3, &shared, 3, false),
        ] {
            assert_eq!(is_outdated(known, last, wanted, generation), outdated, "{what}");
        }
    }
}
