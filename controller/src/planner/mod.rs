//! What is to be done now, and why: a pure function of the manifest, the inventory, the reports and the time.
//!
//! Invariant: total and synchronous; no task, file or clock is touched here, and the same arguments give the
//! same plan. Level-triggered: nothing is remembered between two plans, so a plan that was not carried out
//! is simply made again.

mod adoption;
pub mod backoff;
mod case;
mod decision;
mod keys;
mod leaf_case;
mod misfit;
mod planned;
mod policies;
mod presence;
pub mod renewal;
pub mod rollover;
mod shared;
mod spec;
#[cfg(test)]
mod tests;
mod turn;
mod turns;

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use pinion_proto::{
    bundle::RootCertificate,
    clock::Timestamp,
    id::{CertificateName, Guest, PlacementId},
    spec::{Opening, PlainName},
    stage::{Halt, Trouble},
};
use serde::Serialize;

pub use decision::{Adopt, Decision, Order, Step, Why};
pub use misfit::{Misfit, misfit};
pub use planned::{Planned, label};
pub use shared::needs_new_shared_key;
pub use spec::spec;
pub use turn::Turn;

use crate::{
    freeze::Freeze,
    inventory::Inventory,
    manifest::{Certificate, GuestRef, Manifest, Placement},
    world::{PlacementEntry, Reports},
};
use case::{Case, Verdict};
use keys::KeyPlaces;
use policies::Decided;
use presence::Reach;
use rollover::Trust;

/// What is to be done now.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan<'m> {
    /// Every placement of the manifest, in its order.
    pub placements: Vec<Planned<'m>>,
    /// What guests hold that the manifest does not ask for (any more), sorted. Nothing is removed without
    /// a person's word.
    pub retired: Vec<PlacementId>,
    /// What is to be trusted, by issuer; none of an issuer whose roots are not known.
    pub trust: BTreeMap<PlainName, Trust>,
    /// When the plan changes next if nothing else happens: the earliest moment at which something is due.
    pub wake_at: Option<Timestamp>,
}

impl<'m> Plan<'m> {
    /// The orders, the most urgent first: nothing held, then the soonest to expire.
    #[must_use]
    pub fn orders(&self) -> Vec<(&Planned<'m>, &Order)> {
        let mut orders: Vec<_> = self
            .placements
            .iter()
            .filter_map(|planned| match &planned.decision {
                Decision::Order(order) => Some((planned, order)),
                _ => None,
            })
            .collect();
        // Stable, so equals stay in the manifest's order; and none is less than any moment.
        orders.sort_by_key(|(_, order)| order.expires);
        orders
    }
}

/// Why nobody can say how a placement is now, whether or not something is to be done for it: its guest is stopped,
/// elsewhere, or not linked. In the words of what `attempt` is about.
#[must_use]
pub fn absent(planned: &Planned<'_>, inventory: &Inventory, reports: &Reports, attempt: String) -> Option<Trouble> {
    let guest = planned.guest?;
    let (link, enrolment) = reports.guest(guest).map(|known| (known.link(), known.enrolment())).unwrap_or_default();
    Reach { guest, inventory, link, enrolment }.unreachable(attempt).map(|unreachable| unreachable.trouble)
}

/// What is to be done now.
#[must_use]
pub fn plan<'m>(manifest: &'m Manifest, inventory: &Inventory, reports: &Reports, now: Timestamp) -> Plan<'m> {
    let mut placements = Vec::with_capacity(manifest.placement_count());
    let mut wake_at: Option<Timestamp> = None;
    // How many of the guests' reports the manifest asks for: if all, the search for the others is spared.
    let mut asked_for = 0_usize;
    let mut twice = Twice::default();
    let all_trust = rollover::trust(manifest, inventory, reports, now);
    let no_roots: Arc<[RootCertificate]> = Arc::default();
    let keys = KeyPlaces::of(reports);
    for certificate in &manifest.certificates {
        twice.start(certificate);
        let keys_differ = shared::keys_differ(certificate, inventory, reports);
        let trust = certificate.issuer.as_ref().and_then(|issuer| all_trust.get(issuer));
        for placement in &certificate.placements {
            let guest = match inventory.resolve(&placement.guest) {
                Ok(guest) => guest,
                Err(unresolved) => {
                    placements.push(unplaced(certificate, placement, None, unresolved.trouble()));
                    continue;
                }
            };
            if twice.is_second(guest) {
                placements.push(unplaced(certificate, placement, Some(guest), twice_trouble(certificate, guest)));
                continue;
            }
            let (link, enrolment, entry) = match reports.guest(guest) {
                Some(known) => (known.link(), known.enrolment(), known.placement(&certificate.name)),
                None => Default::default(),
            };
            asked_for += usize::from(entry.is_some_and(|entry| entry.report().is_some()));
            let shared_key = reports.shared_key(&certificate.name);
            let reach = Reach { guest, inventory, link, enrolment };
            let case = Case { certificate, placement, reach, entry, shared_key, keys_differ, keys: &keys, trust, now };
            let Decided { verdict, renew_at, adoption } = policies::decide(&case);
            // Of a guest that is not called so any more nothing is asked, until a person says which one is meant.
            let renamed = inventory.renamed(&placement.guest);
            let Verdict { decision, ordered, wake_at: wake } =
                renamed.map_or(verdict, |trouble| Verdict::of(Decision::Block(trouble)));
            let waits_for_root = trust.is_some_and(|trust| trust.waits(case.held(), renew_at, now).is_some());
            // A moment that has come already is no reason to wake: what it brings is in this plan.
            if let Some(wake) = wake.filter(|wake| *wake > now) {
                wake_at = Some(wake_at.map_or(wake, |earliest| earliest.min(wake)));
            }
            let freeze = reports.freezes().of(
                || label(certificate, placement, Some(guest)),
                certificate.name.as_str(),
                Some(guest),
            );
            let window = window(placement, entry, freeze, now);
            let (guest, roots) = (Some(guest), trust.map_or(&no_roots, |trust| &trust.roots).clone());
            placements.push(Planned {
                certificate,
                placement,
                guest,
                decision,
                renew_at,
                ordered,
                adoption,
                window,
                roots,
                waits_for_root,
                disruptive: turns::is_disruptive(placement, entry),
                turn: Turn::None,
            });
        }
    }
    turns::stagger(&mut placements);
    for opening in placements.iter().filter_map(|planned| planned.window.as_ref()?.first()) {
        // Those that follow are sent when this one is over.
        wake_at = Some(wake_at.map_or(opening.closes, |earliest| earliest.min(opening.closes)));
    }
    let turn_at = turns::give(&mut placements, reports, now);
    let wake_at = wake_at.into_iter().chain(turn_at).min();
    let retired = retired(&placements, reports, asked_for);
    Plan { placements, retired, trust: all_trust, wake_at }
}

fn unplaced<'m>(
    certificate: &'m Certificate,
    placement: &'m Placement,
    guest: Option<Guest>,
    trouble: Trouble,
) -> Planned<'m> {
    let decision = Decision::Block(trouble);
    Planned {
        certificate,
        placement,
        guest,
        decision,
        renew_at: None,
        ordered: None,
        adoption: None,
        window: None,
        roots: Arc::default(),
        waits_for_root: false,
        disruptive: false,
        turn: Turn::None,
    }
}

/// When the placement's service may be disturbed; who asks for a renewal by hand means now, unless it is frozen.
fn window(
    placement: &Placement,
    entry: Option<&PlacementEntry>,
    freeze: Option<&Freeze>,
    now: Timestamp,
) -> Option<Vec<Opening>> {
    if let Some(freeze) = freeze {
        let report = entry.and_then(PlacementEntry::report);
        return Some(freeze.openings(report, now, |from| Some(placement.window.as_ref()?.openings(from, OPENINGS))));
    }
    let window = placement.window.as_ref()?;
    if entry.is_some_and(PlacementEntry::is_hurried) {
        return None;
    }
    Some(window.openings(now, OPENINGS))
}

/// So many openings are sent: with one a week, enough for two months without a controller.
const OPENINGS: usize = 8;

/// What guests report and the manifest does not ask for.
fn retired(placements: &[Planned<'_>], reports: &Reports, asked_for: usize) -> Vec<PlacementId> {
    let reported = || {
        reports.guests().flat_map(|(guest, entry)| {
            entry
                .placements()
                .filter(|(_, placement)| placement.report().is_some())
                .map(move |(certificate, _)| (certificate, guest))
        })
    };
    if reports.guests().map(|(_, entry)| entry.reported()).sum::<usize>() == asked_for {
        return Vec::new();
    }
    let wanted: HashSet<(&CertificateName, Guest)> =
        placements.iter().filter_map(|planned| Some((&planned.certificate.name, planned.guest?))).collect();
    let mut retired: Vec<_> = reported()
        .filter(|reported| !wanted.contains(reported))
        .map(|(certificate, guest)| PlacementId { certificate: certificate.clone(), guest })
        .collect();
    retired.sort_unstable();
    retired
}

/// Finds a guest that has one certificate twice because the manifest names it in two ways: by number and
/// by name. (The same way twice is a mistake that the manifest's reader finds.)
#[derive(Default)]
struct Twice {
    look: bool,
    seen: HashSet<Guest>,
}

impl Twice {
    fn start(&mut self, certificate: &Certificate) {
        self.seen.clear();
        let by_name = |placement: &Placement| matches!(placement.guest, GuestRef::Name(_));
        self.look = certificate.placements.iter().any(by_name);
    }

    fn is_second(&mut self, guest: Guest) -> bool {
        self.look && !self.seen.insert(guest)
    }
}

fn twice_trouble(certificate: &Certificate, guest: Guest) -> Trouble {
    Trouble {
        halt: Halt::Blocked,
        attempt: format!("install {} in guest {guest}", certificate.name),
        cause: "another placement of this certificate is in this guest, under another name of the guest".to_owned(),
        remedy: "remove one of the two from the manifest".to_owned(),
        retry_at: None,
    }
}
