//! The decision for one placement.
//!
//! In this order: is a new generation needed at all; is one being installed already; can the guest be
//! reached; is a delivery on its way; may the issuer be asked again; and then whose turn
//! it is, the guest's or the controller's.

use std::time::Duration;

use pinion_proto::{
    clock::Timestamp,
    content::Content,
    id::Guest,
    report::{Held, Incoming, PlacementReport, Progress},
    stage::{Halt, Stage, Trouble},
};

use super::{
    decision::{Decision, Order, Step, Why},
    misfit::misfit,
    presence::{Absence, absence},
    renewal,
    trust::{self, Change, Trust},
};
use crate::{
    inventory::Inventory,
    manifest::{Certificate, LeafPolicy, PlacedLeaf, Placement},
    reports::{Link, PlacementEntry, SharedKey},
};

/// How long a guest may take to say that a delivery has come. It is one message on an open stream; when it
/// takes longer, something is wrong with the agent, and another certificate is ordered.
pub(super) const DELIVERY_PATIENCE: Duration = Duration::from_secs(2 * 60);

/// How long a delivery that the guest refused stays refused when it does not say when to try again. The
/// backoff's longest: each try costs the issuer a certificate.
pub(super) const REFUSED_PATIENCE: Duration = Duration::from_secs(60 * 60);

/// How long a guest may take over installing, at most: two thirds of step-ca's default life. After that the
/// certificate that waits there may itself be at its end, and a person who then removes what blocked it
/// should not find it expired.
pub(super) const INSTALL_PATIENCE: Duration = Duration::from_secs(16 * 60 * 60);

/// How long a second request in a row that does not fit the manifest is left alone. The first is a change of
/// the manifest; more are an agent that cannot do better, and must not be asked again at once.
pub(super) const MISFIT_PATIENCE: Duration = Duration::from_secs(30);

/// A placement and everything known about it.
pub(super) struct Subject<'s> {
    pub(super) certificate: &'s Certificate,
    pub(super) placement: &'s Placement,
    pub(super) guest: Guest,
    pub(super) inventory: &'s Inventory,
    pub(super) link: Link,
    /// What keeps the hypervisor from bringing an agent into the guest.
    pub(super) enrolment: Option<&'s Trouble>,
    pub(super) entry: Option<&'s PlacementEntry>,
    pub(super) shared_key: Option<&'s SharedKey>,
    /// The certificate is shared, and its placements hold different keys of their own.
    pub(super) keys_differ: bool,
    /// What is to be trusted of its issuer, where that is known.
    pub(super) trust: Option<&'s Trust>,
}

/// The decision, and what else the plan says about the placement.
pub(super) struct Verdict {
    pub(super) decision: Decision,
    pub(super) renew_at: Option<Timestamp>,
    pub(super) ordered: Option<u64>,
    /// When to look again if nothing happens; the past means now.
    pub(super) wake_at: Option<Timestamp>,
}

/// The decision for one placement.
pub(super) fn decide(subject: &Subject<'_>, now: Timestamp) -> Verdict {
    if subject.placement.purge {
        return purge(subject);
    }
    match subject.certificate.content_at(subject.placement) {
        Content::Leaf(leaf) => certificate(subject, leaf, now),
        Content::Roots => Verdict { decision: roots(subject), renew_at: None, ordered: None, wake_at: None },
    }
}

/// A placement of a certificate.
fn certificate(subject: &Subject<'_>, leaf: PlacedLeaf<'_>, now: Timestamp) -> Verdict {
    let held = subject.held();
    let renew_at =
        held.map(|held| renewal::renew_at(&subject.certificate.name, leaf.policy, subject.guest, &held.leaf));
    let verdict = |decision, ordered, wake_at| Verdict { decision, renew_at, ordered, wake_at };

    let Some(why) = subject.why(leaf, held, renew_at, now) else {
        return verdict(Decision::Keep, None, renew_at);
    };
    if let Some((generation, until)) = subject.installing(leaf, held)
        && now < until
    {
        return verdict(Decision::Keep, Some(generation), Some(until));
    }
    // A request that is good stays with the guest whatever holds it up here, so that it makes no new key.
    let usable = subject.usable(leaf, held);
    if let Some(unreachable) = subject.unreachable() {
        let Unreachable { trouble, lets_go } = unreachable;
        return verdict(held_up(trouble), usable.filter(|_| !lets_go), None);
    }
    let mut lost = false;
    if let Some(delivery) = subject.entry.and_then(PlacementEntry::delivery) {
        let (decision, until) = match &delivery.refused {
            None => (Decision::Keep, delivery.sent + DELIVERY_PATIENCE),
            Some(trouble) => {
                let until = trouble.retry_at.unwrap_or(delivery.sent + REFUSED_PATIENCE);
                let until = until.max(delivery.sent + DELIVERY_PATIENCE);
                (halted(trouble.clone(), until), until)
            }
        };
        if now < until {
            return verdict(decision, Some(delivery.generation), Some(until));
        }
        // The guest may have got it after all: the same generation must not come with another content.
        lost = Some(delivery.generation) == usable;
    }
    // A later one is needed, and the guest may have got this one by a clock that was set back since.
    let above = subject.entry.and_then(PlacementEntry::renew_above);
    lost |= usable.is_some_and(|generation| above.is_some_and(|above| generation <= above));
    if let Some(attempt) = subject.entry.and_then(PlacementEntry::attempt)
        && now < attempt.not_before
    {
        return verdict(halted(attempt.trouble.clone(), attempt.not_before), usable, Some(attempt.not_before));
    }
    if let Some(trust) = subject.trust
        && let Some(until) = trust.waits(subject, renew_at, now)
    {
        return verdict(Decision::Wait(trust.trouble(subject, until)), usable, until.0);
    }
    let expires = held.map(|held| held.leaf.not_after());
    let order = |generation, step| {
        let order = Order { generation, step, why, expires };
        verdict(Decision::Order(order), Some(generation), None)
    };
    if let Some(generation) = usable.filter(|_| !lost) {
        return order(generation, Step::Sign);
    }
    if let Some(until) = subject.misfit_until()
        && now < until
    {
        return verdict(Decision::Wait(subject.misfit(until)), None, Some(until));
    }
    match subject.entry.map_or(0, PlacementEntry::highest).checked_add(1) {
        Some(generation) => order(generation, Step::Ask),
        None => verdict(Decision::Block(subject.out_of_generations()), None, None),
    }
}

/// A placement of roots: nothing is ordered, it is told which.
fn roots(subject: &Subject<'_>) -> Decision {
    let Some(trust) = subject.trust else { return Decision::Wait(trust::unknown(subject.certificate, subject.guest)) };
    match (Change::between(subject.report(), trust), subject.unreachable()) {
        (None, _) => Decision::Keep,
        (Some(_), Some(unreachable)) => held_up(unreachable.trouble),
        (Some(change), None) => Decision::Trust(change),
    }
}

/// A placement whose files are to be removed.
fn purge(subject: &Subject<'_>) -> Verdict {
    let verdict = |decision| Verdict { decision, renew_at: None, ordered: None, wake_at: None };
    let nothing_there = subject.report().is_none_or(|report| {
        let none = report.held.is_none() && report.incoming.is_none();
        none && report.left_behind.is_empty() && report.stage < Stage::Installed
    });
    match subject.unreachable() {
        None if nothing_there => verdict(Decision::Keep),
        None => verdict(Decision::Purge),
        // Nobody knows what lies in a guest that has never been seen; but in one that does not exist lies nothing.
        Some(_) if nothing_there && (subject.link != Link::NeverSeen || subject.is_no_guest()) => {
            verdict(Decision::Keep)
        }
        Some(unreachable) => verdict(held_up(unreachable.trouble)),
    }
}

/// Why the guest takes nothing now.
struct Unreachable {
    trouble: Trouble,
    /// Whether it is not to be told to keep anything ready either.
    lets_go: bool,
}

impl Subject<'_> {
    fn report(&self) -> Option<&PlacementReport> {
        self.entry.and_then(PlacementEntry::report)
    }

    pub(super) fn held(&self) -> Option<&Held> {
        self.report()?.held.as_ref()
    }

    /// What is on its way, unless it is older than what is held.
    fn incoming(&self, held: Option<&Held>) -> Option<&Incoming> {
        let incoming = self.report()?.incoming.as_ref()?;
        held.is_none_or(|held| incoming.generation > held.generation).then_some(incoming)
    }

    /// Why a new generation is needed, if it is.
    fn why(
        &self,
        leaf: PlacedLeaf<'_>,
        held: Option<&Held>,
        renew_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Option<Why> {
        let Some(held) = held else { return Some(Why::Missing) };
        if self.entry.and_then(PlacementEntry::renew_above).is_some_and(|above| held.generation <= above) {
            return Some(Why::Requested);
        }
        if self.entry.and_then(PlacementEntry::holds) != Some(leaf.gist)
            && let Some(changed) = changed(leaf, held)
        {
            return Some(changed);
        }
        if self.sharing_changed(leaf.policy, held) {
            return Some(Why::KeySharingChanged { shared: leaf.policy.shared });
        }
        if let Some(had) = self.entry.map(PlacementEntry::reached).filter(|had| *had > held.generation) {
            return Some(Why::TakenBack { held: held.generation, had });
        }
        renew_at.filter(|at| *at <= now).map(|since| Why::Due { since })
    }

    fn sharing_changed(&self, policy: &LeafPolicy, held: &Held) -> bool {
        use pinion_proto::key::Rotation;
        let has_shared_key = self.shared_key.map(|key| key.fingerprint == held.leaf.key());
        if policy.shared {
            self.keys_differ || has_shared_key == Some(false)
        } else {
            // A key that is never to change stays, even if it was shared once.
            has_shared_key == Some(true) && policy.key.rotation == Rotation::Always
        }
    }

    /// The generation that the guest is installing, and until when it is left to it.
    fn installing(&self, leaf: PlacedLeaf<'_>, held: Option<&Held>) -> Option<(u64, Timestamp)> {
        let incoming = self.incoming(held).filter(|incoming| incoming.progress == Progress::Delivered)?;
        let entry = self.entry?;
        // Asking for a renewal is also the way out of an installation that is stuck.
        let troubled = self.report().is_some_and(|report| report.trouble.is_some());
        if troubled && entry.renew_above().is_some_and(|above| incoming.generation <= above) {
            return None;
        }
        let two_thirds = Duration::from_secs(leaf.policy.duration.as_secs() / 3 * 2);
        Some((incoming.generation, entry.incoming_since()? + two_thirds.min(INSTALL_PATIENCE)))
    }

    /// The generation whose request can be signed as the manifest is now.
    fn usable(&self, leaf: PlacedLeaf<'_>, held: Option<&Held>) -> Option<u64> {
        let incoming = self.incoming(held)?;
        let Progress::Requested(der) = &incoming.progress else { return None };
        let fits = match (leaf.policy.shared, self.entry?.request()) {
            (true, None) => der.is_empty(),
            (false, Some(Ok(request))) => misfit(request, leaf).is_none(),
            _ => false,
        };
        fits.then_some(incoming.generation)
    }

    /// Until when a guest whose requests do not fit is left alone; none when it may be asked at once.
    fn misfit_until(&self) -> Option<Timestamp> {
        let entry = self.entry.filter(|entry| entry.undelivered() > 0)?;
        Some(entry.incoming_since()? + MISFIT_PATIENCE)
    }

    fn is_no_guest(&self) -> bool {
        absence(self.inventory, self.guest, self.link) == Some(Absence::NoSuchGuest)
    }

    /// Why the guest cannot be reached.
    pub(super) fn absent(&self) -> Option<Trouble> {
        self.unreachable().map(|unreachable| unreachable.trouble)
    }

    fn unreachable(&self) -> Option<Unreachable> {
        if let Guest::Vmid(vmid) = self.guest
            && let Some(absence) = absence(self.inventory, self.guest, self.link)
        {
            return Some(Unreachable { trouble: absence.trouble(self.renewing(), vmid), lets_go: absence.lets_go() });
        }
        let unlinked = self.unlinked()?;
        let trouble = match self.enrolment {
            Some(enrolment) => Trouble { attempt: unlinked.attempt, ..enrolment.clone() },
            None => unlinked,
        };
        Some(Unreachable { trouble, lets_go: false })
    }
}

/// What the manifest has otherwise than what is held, as it was ordered or as the certificate itself says.
fn changed(leaf: PlacedLeaf<'_>, held: &Held) -> Option<Why> {
    let PlacedLeaf { policy, issuer, names: wanted, .. } = leaf;
    if held.leaf.names() != wanted {
        return Some(Why::NamesChanged {
            added: wanted.missing_from(held.leaf.names()).cloned().collect(),
            removed: held.leaf.names().missing_from(wanted).cloned().collect(),
        });
    }
    // What was ordered is compared, never what the certificate says: a CA that puts another common name, or none,
    // would be asked for ever.
    if let Some(ordered) = held.common_name.as_ref().filter(|ordered| **ordered != policy.common_name) {
        return Some(Why::CommonNameChanged { held: ordered.clone(), wanted: policy.common_name.clone() });
    }
    if held.leaf.key_algorithm() != Some(policy.key.algorithm) {
        let wanted = policy.key.algorithm;
        return Some(Why::KeyAlgorithmChanged { held: held.leaf.key_algorithm(), wanted });
    }
    if held.issuer != *issuer {
        return Some(Why::IssuerChanged { held: held.issuer.clone(), wanted: issuer.clone() });
    }
    None
}

/// A trouble as a decision, with the moment of the next try.
fn halted(mut trouble: Trouble, retry_at: Timestamp) -> Decision {
    trouble.retry_at = Some(retry_at);
    held_up(trouble)
}

/// A trouble as a decision.
fn held_up(trouble: Trouble) -> Decision {
    match trouble.halt {
        Halt::Waiting => Decision::Wait(trouble),
        Halt::Blocked => Decision::Block(trouble),
    }
}
